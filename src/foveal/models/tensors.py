"""Tensors from files of every kind that models are published in, and nothing but tensors: no file is executed.

safetensors, whole or in shards, hold numbers only. Pickles go through torch's loader for weights alone. Archives of
TorchScript (OpenAI's CLIP) are read without TorchScript: their modules become empty shells that only hold tensors,
and the code they bring is not even opened.
"""

import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
# Whatever the two readers of pickles raise on files that are cut off, changed or made to do harm.
_BROKEN = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, LookupError, ValueError, TypeError),
    *(AttributeError, OSError, RecursionError, MemoryError),
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU, as they are stored.

    Args:
        path: `.safetensors`, an index of shards (`.safetensors.index.json`, `.bin.index.json`), or a file of PyTorch.

    Raises:
        ValueError: If the file is missing or broken, or holds anything that would have to be executed.
    """
    if not path.is_file():
        raise ValueError(f"There is no {path}. Name a folder that holds a model.")
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}). Copy it again, or convert it.") from error


def shards(index: Path) -> list[str]:
    """The files that an index of shards names, all beside it.

    Raises:
        ValueError: If it is no such index, or names a file elsewhere.
    """
    files = sorted(set(_places(index).values()))
    if strange := [name for name in files if Path(name).name != name]:
        raise ValueError(f"{index} names {strange[0]!r}, which lies outside its folder. Copy it again.")
    return files


def _read_shards(index: Path) -> dict[str, Tensor]:
    tensors = {name: tensor for file in shards(index) for name, tensor in read_tensors(index.parent / file).items()}
    if missing := sorted(_places(index).keys() - tensors.keys()):
        raise ValueError(
            f"{len(missing)} tensors of {index} are in no shard, the first is {missing[0]}. Copy it again."
        )
    return tensors


def _places(index: Path) -> dict[str, str]:
    """In which file each tensor lies."""
    try:
        return {str(name): str(file) for name, file in json.loads(index.read_bytes())["weight_map"].items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is no index of shards ({error!r}). Copy it again.") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        archive = zipfile.is_zipfile(path)
        if archive and _is_torch_script(path):
            found: Any = _read_torch_script(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except _BROKEN as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise ValueError(
                f"{path} would run {asked[1]} if it were opened, so it was not. Get these weights as safetensors."
            ) from error
        reason = str(error).strip().partition("\n")[0][:200] or repr(error)
        raise ValueError(f"{path} is no whole file of tensors ({reason}). Copy it again.") from error
    return _only_tensors(path, found)


def _only_tensors(path: Path, found: Any) -> dict[str, Tensor]:
    """The state dictionary of a file, out of what trainers wrap around it."""
    for wrapper in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{path} holds {type(found).__name__}, no named tensors. Save the model's state_dict.")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(  # noqa: TRY004
                f"{path} holds {type(value).__name__} under {name!r}, no tensor. Save the state_dict alone."
            )
    if all(name.startswith("module.") for name in found):  # DistributedDataParallel's
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return dict(found)


def _is_torch_script(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in archive.namelist())


def _read_torch_script(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        with archive.open(f"{root}/data.pkl") as file:
            reader = _Shells(file, archive, root)
            tensors: dict[str, Tensor] = {}
            _collect(reader.load(), reader.shell, "", tensors)
    return tensors


def _collect(module: Any, shell: type, prefix: str, tensors: dict[str, Tensor]) -> None:
    """Every tensor of a tree of shells, under the name that a state dictionary gives it."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
        elif isinstance(value, shell):
            _collect(value, shell, f"{prefix}{name}.", tensors)


class _Shells(pickle.Unpickler):
    """Reads the pickled modules of an archive. Whatever they ask for, they get shells, lists or tensors, or nothing.

    All it hands out is made for this one reading, so no file can change what the next one finds.
    """

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self.shell = type("Shell", (), {})
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or function that the file names."""
        if module.partition(".")[0] == "__torch__":
            return self.shell
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: storage.as_strided(size, stride, offset)
        if module == "torch.jit._pickle":  # lists of numbers, tensors and the like; no weight is among them
            return lambda *_: None
        if (module, name) == ("collections", "OrderedDict"):
            return lambda *_: OrderedDict()
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers behind a tensor."""
        _, dtype, key, _, count = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(content, dtype=dtype, count=count)
        return self._storages[key]
