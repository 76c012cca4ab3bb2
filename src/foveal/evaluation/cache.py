"""Encodings on disk, so that pictures and texts are not encoded again by another call, or after one that was killed.

A folder holds one folder per model and preparation, and in it files of rows: 16 bytes that name what was encoded, and
its embedding. A file is written whole or not at all, and never changed; the one that was not used for longest goes
first when there is no more room.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from ..encoder import Encoder
from ..types import Box, Kind
from ..version import __version__
from ..writing import replacing

log = logging.getLogger(__name__)

BYTES = 16 * 2**30  # of all files; five million embeddings of 768 numbers
_ENDING = ".safetensors"
PART = 512  # pictures or texts
_KEY = 16  # bytes
T = TypeVar("T")
Rows = Float[Tensor, "_n E"]


class Cache:
    """Embeddings of one model by what was encoded."""

    def __init__(self, folder: Path, model: str, most: int = BYTES) -> None:
        """Look at what is there.

        Args:
            folder: Of all models' encodings. Made when something is put into it.
            model: Name of all that an embedding hangs on beside the picture or text, see `identity`.
            most: Bytes of all files. Those used longest ago are removed.

        Raises:
            ValueError: If `folder` is a file.
        """
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"Encodings cannot be kept in {folder}, which is a file. Name a folder.")
        self._all, self._folder, self._most = folder, folder / model, most
        self._place: dict[bytes, tuple[Path, int]] = {}
        for path in sorted(self._folder.glob(f"*{_ENDING}")):
            self._index(path)

    @classmethod
    def open(cls, folder: Path, encoder: Encoder, most: int = BYTES) -> "Cache":
        """Return the cache of a model as it prepares pictures and texts now.

        Args:
            folder: Of all models' encodings.
            encoder: With the model, its precision and its preparation.
            most: Bytes of all files.
        """
        return cls(folder, identity(encoder), most)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Tensor]:
        """Return the embeddings that are there, by key."""
        places: dict[Path, list[tuple[bytes, int]]] = {}
        for key in keys:
            if key in self._place:
                path, row = self._place[key]
                places.setdefault(path, []).append((key, row))
        rows: dict[bytes, Tensor] = {}
        for path, wanted in places.items():
            stored = _read(path, "rows")
            if stored is not None:
                with suppress(FileNotFoundError):  # another call made room
                    os.utime(path)  # used now
                rows |= {key: stored[row] for key, row in wanted}
        return rows

    def put(self, rows: Mapping[bytes, Tensor]) -> None:
        """Keep embeddings, all of them in one file."""
        if not rows:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        keys = b"".join(rows)
        path = self._folder / f"{digest(keys).hex()}{_ENDING}"
        keys_of_rows = torch.from_numpy(np.frombuffer(keys, dtype=np.uint8).reshape(-1, _KEY).copy())
        with replacing(path, shared=True) as partial:
            save_file({"keys": keys_of_rows, "rows": torch.stack(list(rows.values()))}, partial)
        self._place |= {key: (path, row) for row, key in enumerate(rows)}
        self._make_room()

    def filled(
        self, items: Sequence[T], keys: Callable[[T], Sequence[bytes]], encode: Callable[[Sequence[T]], Sequence[Rows]]
    ) -> Iterator[tuple[T, Rows]]:
        """Yield items with their embeddings: those that are here, and the others encoded, a part at a time, and kept.

        A killed call loses one part at most.

        Args:
            items: Any number, all different.
            keys: Of each embedding of an item.
            encode: Gives the embeddings of items.
        """
        for start in tqdm(range(0, len(items), PART), "parts", disable=None, leave=False):
            part = items[start : start + PART]
            wanted = list(map(keys, part))
            rows = self.get(key for of_item in wanted for key in of_item)
            new = [number for number, of_item in enumerate(wanted) if not all(key in rows for key in of_item)]
            embeddings = encode([part[number] for number in new]) if new else ()
            pairs = zip(new, embeddings, strict=True)
            fresh = {key: row for number, of_item in pairs for key, row in zip(wanted[number], of_item, strict=True)}
            self.put(fresh)
            rows |= fresh
            yield from (
                (item, torch.stack([rows[key] for key in of_item])) for item, of_item in zip(part, wanted, strict=True)
            )

    def _index(self, path: Path) -> None:
        stored = _read(path, "keys")
        if stored is not None:
            self._place |= {key.tobytes(): (path, row) for row, key in enumerate(stored.numpy())}

    def _make_room(self) -> None:
        """Remove the files that were used longest ago, of any model, until the others have room."""
        files = []
        for file in self._all.glob(f"*/*{_ENDING}"):
            with suppress(FileNotFoundError):  # another call made room
                status = file.stat()
                files.append((status.st_mtime_ns, status.st_size, file))
        files.sort()
        surplus = sum(size for _, size, _ in files) - self._most
        for _, size, file in files[:-1]:
            if surplus <= 0:
                return
            file.unlink(missing_ok=True)
            surplus -= size


def identity(encoder: Encoder) -> str:
    """Return the name of all that an embedding hangs on beside what is encoded.

    That is every weight, the model's settings, how pictures and texts are prepared, the precision, the kind of device,
    and the version of this package.

    Args:
        encoder: With the model, its precision and its preparation.
    """
    tokenizer = encoder.tokenizer
    settings = {
        "foveal": __version__,
        "config": repr(encoder.model.config),
        "transform": asdict(encoder.transform),
        "tokenizer": {**asdict(tokenizer), "path": None},
        "dtype": str(encoder.dtype),
        "device": encoder.device.type,
        "overflow": encoder.overflow,
    }
    whole = blake2b(json.dumps(settings, default=str).encode(), digest_size=_KEY)
    whole.update(tokenizer.path.read_bytes() if tokenizer.path else b"")
    for name, tensor in sorted(encoder.model.state_dict().items()):
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def digest(content: bytes) -> bytes:
    """Return 16 bytes that name a content."""
    return blake2b(content, digest_size=_KEY).digest()


def picture_keys(picture: Path | bytes, way: str, boxes: Sequence[Box] = ()) -> list[bytes]:
    """Return the key of a picture, by its content, and those of boxes in it.

    Args:
        picture: A file, or its bytes.
        way: How it is seen, such as "whole".
        boxes: In fractions.
    """
    content = digest(picture if isinstance(picture, bytes) else picture.read_bytes()) + way.encode()
    return [digest(content), *(digest(content + np.array(box, dtype="<f8").tobytes()) for box in boxes)]


def text_key(text: str, kind: Kind) -> bytes:
    """Return the key of a text as a kind of text."""
    return digest(f"{kind}\n{text}".encode("utf-8", "surrogatepass"))


def _read(path: Path, name: str) -> Tensor | None:
    """A tensor of a file. None if the file is gone; a damaged one is removed, as its content can be made again."""
    try:
        with safe_open(path, "pt") as file:
            stored: Tensor = file.get_tensor(name)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        log.warning("%s is damaged (%s) and was removed; what it held is encoded again.", path, error)
        path.unlink(missing_ok=True)
        return None
    return stored
