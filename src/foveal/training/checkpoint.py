"""Checkpoints: whole or not there at all, free of pickle, and enough to go on bit for bit.

A checkpoint is a folder `step-000123` with the model as any model folder has it (`model.safetensors`,
`config.json`), and all else that a training carries as tensors (`training.safetensors`) and the tree they hang
in (`training.json`). It is written beside its place and renamed when everything is on the disk.
"""

import base64
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..encoder.protocol import FILE as PROTOCOL
from ..models import weights
from ..models.dual_encoder import DualEncoder

NAME = re.compile(r"step-\d{6,}")
UNFINISHED = ".unfinished"
BESIDE = (PROTOCOL, "tokenizer.json", "tokenizer_config.json")  # of the folder of results, for every model in it


def save(folder: Path, step: int, model: DualEncoder, state: Any, *, keep: int = 2) -> Path:
    """Write a checkpoint and remove old ones. One that is there already is left as it is.

    Args:
        folder: Where the checkpoints lie, in the folder of results.
        step: Updates done.
        model: The model.
        state: All else: a tree of dictionaries, lists, tuples, tensors, numbers, strings and bytes.
        keep: How many checkpoints are left.

    Returns:
        The checkpoint's folder.

    Raises:
        ValueError: If it can't be written, most often because the disk is full. Older ones stay whole.
    """
    place = folder / f"step-{step:06d}"
    if place.is_dir():
        return place
    clean(folder)
    written = place.with_name(place.name + UNFINISHED)
    try:
        written.mkdir(parents=True)
        weights.save(model, written)
        _write_tree(written, state)
        for name in BESIDE:
            if (folder.parent / name).is_file():
                shutil.copyfile(folder.parent / name, written / name)
        for file in written.iterdir():
            _sync(file)
        written.rename(place)
        _sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(written, ignore_errors=True)
        last = latest(folder)
        older = f"{last.name} is whole: free space and resume" if last else "There is no older one"
        raise ValueError(f"Checkpoint {place} can't be written: {error}. {older}.") from error
    for old in _whole(folder)[:-keep]:
        shutil.rmtree(old)
    return place


def load(checkpoint: Path) -> tuple[dict[str, Tensor], Any]:
    """The weights and the rest of a checkpoint, on the CPU."""
    tensors = load_file(checkpoint / "training.safetensors")
    tree = json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))
    return load_file(checkpoint / weights.WEIGHTS), _hang(tree, tensors)


def latest(folder: Path) -> Path | None:
    """The last whole checkpoint of a folder."""
    return max(_whole(folder), default=None, key=_step)


def clean(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for unfinished in folder.glob(f"step-*{UNFINISHED}"):
        shutil.rmtree(unfinished)


def save_model(model: DualEncoder, folder: Path) -> None:
    """Write a model's config and weights into a folder that may hold other things.

    Raises:
        ValueError: If they can't be written. What was there before is whole.
    """
    try:
        weights.save(model, folder)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"The model can't be written to {folder}: {error}. Free space and resume.") from error


def write_text(path: Path, text: str) -> None:
    """Write a file that is whole or not there at all."""
    written = path.with_name(path.name + UNFINISHED)
    written.write_text(text, encoding="utf-8")
    _sync(written)
    written.replace(path)


def _whole(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*") if NAME.fullmatch(path.name)), key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _write_tree(folder: Path, state: Any) -> None:
    tensors: dict[str, Tensor] = {}
    tree = _take_down(state, "", tensors)
    save_file(tensors, folder / "training.safetensors")
    (folder / "training.json").write_text(json.dumps(tree), encoding="utf-8")


def _take_down(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A tree as JSON, its tensors put aside. What JSON does not know becomes {"kind of thing": content}."""
    if isinstance(node, bool | int | float | str | None):
        return node
    if isinstance(node, Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()  # clone: safetensors refuses shared memory
        return {"tensor": path}
    if isinstance(node, bytes):
        return {"bytes": base64.b64encode(node).decode()}
    if isinstance(node, list | tuple):
        members = [_take_down(member, f"{path}/{number}", tensors) for number, member in enumerate(node)]
        return members if isinstance(node, list) else {"tuple": members}
    if isinstance(node, dict):
        return {"dict": [[key, _take_down(member, f"{path}/{key}", tensors)] for key, member in node.items()]}
    raise TypeError(f"A checkpoint can't hold the {type(node).__name__} at {path}.")


def _hang(node: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree as it was."""
    if isinstance(node, list):
        return [_hang(member, tensors) for member in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "tuple":
        return tuple(_hang(member, tensors) for member in content)
    return {key: _hang(member, tensors) for key, member in content}


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
