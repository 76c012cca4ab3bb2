"""Frozen weights of a training: stored once beside its checkpoints, which refer to them by folder and SHA-256."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ..outside import read_object
from ..writing import replacing
from .tensors import write_tensors

REFERENCE = "frozen.json"
WEIGHTS = "frozen.safetensors"


@dataclass(frozen=True)
class FrozenWeights:
    """A file of weights that model folders refer to.

    Attributes:
        folder: In which `frozen.safetensors` lies.
        sha256: Of that file.
    """

    folder: Path
    sha256: str

    @classmethod
    def store(cls, tensors: Mapping[str, Tensor], folder: Path) -> "FrozenWeights":
        """Write weights into a folder, all or nothing."""
        with replacing(folder / WEIGHTS, durable=True) as partial:
            write_tensors(partial, tensors)
        return cls(folder, _sha256(folder / WEIGHTS))

    def refer(self, folder: Path, place: Path) -> None:
        """Write into a model folder that it needs these weights, by the way to them from its final place."""
        content = {"folder": os.path.relpath(self.folder, place), "sha256": self.sha256}
        (folder / REFERENCE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def reference(folder: Path) -> FrozenWeights | None:
    """Return the frozen weights that a model folder refers to. None: it holds all of its own.

    Raises:
        ValueError: If the reference is damaged.
    """
    path = folder / REFERENCE
    if not path.is_file():
        return None
    content = read_object(path)
    if not all(isinstance(content.get(name), str) for name in ("folder", "sha256")):
        raise ValueError(f"{path} is damaged: it must say 'folder' and 'sha256'. Take another checkpoint.")
    return FrozenWeights(folder / content["folder"], content["sha256"])


def read(folder: Path) -> dict[str, Tensor]:
    """Return the frozen weights that a model folder needs besides its own; none if it refers to none.

    Raises:
        ValueError: If they are not where they were, or are not what they were.
    """
    frozen = reference(folder)
    if frozen is None:
        return {}
    file = frozen.folder / WEIGHTS
    way = f"Copy the run's {WEIGHTS} to {frozen.folder.resolve()}"
    if not file.is_file():
        raise ValueError(f"{folder} lacks its frozen weights: {file.resolve()} is missing. {way}.")
    if _sha256(file) != frozen.sha256:
        raise ValueError(f"{folder} was trained on other frozen weights than those of {file.resolve()}. {way}.")
    return dict(load_file(file))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
