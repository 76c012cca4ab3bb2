"""Tensors from files of every kind that models are published in, and nothing but tensors: no file is executed.

safetensors, whole or in shards, hold numbers only. PyTorch's files are read by foveal's own interpreter, see `pickled`.
"""

import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..outside import read_json, shown
from .pickled import UnknownNameError, read_pytorch

_LARGEST_HEADER = 8 << 20  # bytes of a safetensors file's table of contents, room for some 80,000 tensors
# Whatever the readers raise on files that are cut off, changed or made to do harm.
_BROKEN = (
    *(SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, LookupError, ValueError),
    *(TypeError, AttributeError, OSError, RecursionError, MemoryError, ArithmeticError, NotImplementedError),
    *(struct.error, zlib.error),
)
_INDEX = ".index.json"
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # trainers keep weights under
# What is before every name: DistributedDataParallel's, torch.compile's, and that of a class around the model.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_MOST_SHARED = 4  # a tied weight is two names of the same numbers


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, on the CPU, as they are stored.

    What trainers wrap around a state dictionary is taken off, and so is what they put before every one of its names.

    Args:
        path: `.safetensors`, an index of shards (`.safetensors.index.json`, `.bin.index.json`), or a file of PyTorch.

    Raises:
        ValueError: If the file is missing or broken, or holds anything that would have to be executed.
    """
    if not path.is_file():
        raise ValueError(f"There is no {path}. Name a folder that holds a model.")
    return _without_prefixes(_read_shards(path) if path.name.endswith(_INDEX) else _read_file(path))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as a file of safetensors, which others may read as they may read any new file."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(mode)  # safetensors lets nobody but the owner read


def shards(index: Path) -> list[str]:
    """Return the names of the files that an index of shards names, all beside it.

    Raises:
        ValueError: If it is no such index, or names a file elsewhere.
    """
    files = sorted(set(_places(index).values()))
    for name in files:
        if Path(name).name != name or not name.endswith(_SUFFIXES):
            raise ValueError(f"{index} names {shown(name)}, which lies outside its folder or is no file of tensors.")
    return files


def _read_shards(index: Path) -> dict[str, Tensor]:
    tensors = {name: tensor for file in shards(index) for name, tensor in _read_file(index.parent / file).items()}
    if missing := sorted(_places(index).keys() - tensors.keys()):
        raise ValueError(
            f"{len(missing)} tensors of {index} are in no shard, the first is {shown(missing[0])[1:-1]}. Copy it again."
        )
    return tensors


def _places(index: Path) -> dict[str, str]:
    """Return in which file each tensor lies."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise ValueError(f"{index} is no index of shards: it has no weight_map. Copy it again.")
    return places


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"There is no {path}. Copy it again, with all that belongs to it.")
    kind = "safetensors file" if path.suffix == ".safetensors" else "whole file of tensors"
    try:
        return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
    except UnknownNameError as error:
        raise ValueError(
            f"{path} would run {shown(str(error))[1:-1]} if it were opened, so it was not. Get these weights as"
            " safetensors."
        ) from error
    except _ContentError:
        raise
    except _BROKEN as error:
        reason = str(error).strip().partition("\n")[0][:200] or repr(error)
        raise ValueError(f"{path} is no {kind} ({reason}). Copy it again.") from error


class _ContentError(ValueError):
    """A whole file holds something else than named tensors."""


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _LARGEST_HEADER:
        raise ValueError(f"its table of contents claims {header:,} bytes")
    return load_file(path)  # which refuses tables with holes, overlaps, and lengths that are not those of the shapes


def _read_pytorch(path: Path) -> dict[str, Tensor]:
    state = _state_dictionary(path, read_pytorch(path))
    size, total = path.stat().st_size, sum(tensor.numel() * tensor.itemsize for tensor in state.values())
    if total > _MOST_SHARED * size:
        raise ValueError(f"its tensors share numbers: they have {total:,} bytes, and it has {size:,}")
    return state


def _state_dictionary(path: Path, content: Any) -> dict[str, Tensor]:
    """Return the named tensors of a file, without the dictionaries that trainers wrap around them."""
    for _ in _WRAPPERS:
        inner = [content[name] for name in _WRAPPERS if isinstance(content, dict) and name in content]
        content = next((value for value in inner if isinstance(value, dict)), content)
    if not isinstance(content, Mapping) or not content:
        raise _ContentError(f"{path} holds {type(content).__name__}, no named tensors. Save the model's state_dict.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _ContentError(
                f"{path} holds {type(value).__name__} under {shown(name)}, no tensor. Save the state_dict alone."
            )
    return dict(content)


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the prefixes that all of their names share."""
    shared = [word for word in _PREFIXES if state and all(name.startswith(word) for name in state)]
    if not shared:
        return state
    return _without_prefixes({name.removeprefix(shared[0]): tensor for name, tensor in state.items()})
