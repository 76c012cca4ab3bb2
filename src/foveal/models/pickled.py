"""PyTorch's files read without PyTorch: plain values and tensors, and nothing that a file could ask for.

A pickle is a program. The interpreter here follows the few instructions that PyTorch writes, and refuses, by name,
whatever a file names beyond a short list of types. Modules of TorchScript (OpenAI's CLIP) become empty shells that only
hold tensors; the code they bring is not even opened. Numbers lie in the file as they are: a
storage that is compressed, or has another size than its tensors need, is refused before anything is made of it, and
members may not overlap. So what is made is never much larger than the file.
"""

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..outside import shown

# Several times what the largest checkpoints have, optimizers and all.
_LARGEST_DIRECTORY = 16 << 20  # bytes of an archive's table of contents
_LARGEST_PICKLE = 32 << 20  # bytes
_MOST_INSTRUCTIONS = 2_000_000
_MOST_MODULES = 10_000
_LONGEST_NAME = 10_000
_MOST_DIMENSIONS = 16

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # begins the files that PyTorch wrote before 1.6
_LEGACY_VERSION = 1001

# What trainers keep beside weights. Nothing is made of it.
_INERT = frozenset(
    (
        *("torch.Size", "torch.device", "argparse.Namespace", "collections.Counter", "collections.defaultdict"),
        *("_codecs.encode", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *(
            f"{module}.{name}"
            for module in ("builtins", "__builtin__")
            for name in ("int", "float", "complex", "bytearray", "tuple", "list", "set", "dict")
        ),
    )
)


class UnknownNameError(ValueError):
    """A file names something that would have to be run. Its text is the name."""


@dataclass(eq=False)
class Shell:
    """Stands for a module of TorchScript."""

    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Name:
    """A class or function that a file names, by what foveal does with it."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """Numbers in a file, one behind another."""

    numbers: torch.UntypedStorage
    dtype: torch.dtype


class _Placeholder:
    """Stands for a value that no weight depends on."""


_Stream = io.BytesIO | io.BufferedReader
# Gives the storage that a pickle's persistent id stands for.
Loader = Callable[[tuple[Any, ...]], _Storage]


def read_pytorch(path: Path) -> Any:
    """Return the content of a file of `torch.save` or `torch.jit.save`, its tensors on the CPU.

    Modules of TorchScript come as named tensors, as a state dictionary has them.

    Raises:
        UnknownNameError: If the file names what would have to be run.
        ValueError: If it is not whole, or claims more than it holds. Broken files raise other exceptions too.
    """
    with _Cautious(path) as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return _Archive(archive, path).read()
    with path.open("rb") as legacy:
        return _read_legacy(legacy, path.stat().st_size)


class _Cautious(io.FileIO):
    """A file whose table of contents is of moderate size, as `zipfile` reads and unfolds it whole."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            raise ValueError(f"its table of contents claims {size:,} bytes")
        return super().read(size)


class _Archive:
    """An archive of PyTorch, its members known to lie one behind another in the file."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self._size = path.stat().st_size
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        if len({member.filename for member in members}) < len(members):
            raise ValueError("it names a member twice")
        ends = [member.header_offset for member in members[1:]] + [self._size]
        for member, end in zip(members, ends, strict=True):
            if member.header_offset + member.compress_size > end:
                raise ValueError(f"its member {shown(member.filename)} lies in another one or is cut off")
        self._ends = {member.filename: end for member, end in zip(members, ends, strict=True)}
        self._root = archive.namelist()[0].partition("/")[0]

    def read(self) -> Any:
        """Return the value that its pickle describes."""
        if self._has("byteorder") and self._content("byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        bytes_of_file = torch.from_file(str(self._path), False, self._size, dtype=torch.uint8).untyped_storage()
        content = io.BytesIO(self._content("data.pkl"))
        value = _run(content, lambda pid: self._storage(pid, bytes_of_file))
        return _tensors_of(value) if self._has("constants.pkl") else value

    def _has(self, name: str) -> bool:
        return f"{self._root}/{name}" in self._ends

    def _content(self, name: str) -> bytes:
        """Return a small member whole."""
        member = self._archive.getinfo(f"{self._root}/{name}")
        if member.file_size > _LARGEST_PICKLE:
            raise ValueError(f"its {name} claims {member.file_size:,} bytes")
        return self._archive.read(member)

    def _storage(self, pid: tuple[Any, ...], bytes_of_file: torch.UntypedStorage) -> _Storage:
        dtype, key, count = _described(pid)
        member = self._archive.getinfo(f"{self._root}/data/{key}")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(
                f"its numbers data/{shown(key)} are compressed, {member.compress_size:,} bytes for {member.file_size:,}"
            )
        if member.file_size != count * dtype.itemsize:
            raise ValueError(f"its numbers data/{shown(key)} have {member.file_size:,} bytes, not those of {count:,}")
        start = self._start(member)
        if start + member.file_size > self._ends[member.filename]:
            raise ValueError(f"its numbers data/{shown(key)} lie in another member")
        return _Storage(bytes_of_file[start : start + member.file_size], dtype)

    def _start(self, member: zipfile.ZipInfo) -> int:
        """Return where a member's bytes begin, behind its header and that header's own name and extras."""
        with self._path.open("rb") as file:
            file.seek(member.header_offset)
            signature, name, extra = struct.unpack("<4s22xHH", file.read(30))
        if signature != b"PK\x03\x04":
            raise ValueError(f"its member {shown(member.filename)} is not where its table of contents says")
        return int(member.header_offset + 30 + name + extra)


def _read_legacy(file: _Stream, size: int) -> Any:
    """Read a file from before archives: its values as a pickle, then its numbers, storage by storage."""
    storages: dict[str, _Storage] = {}
    claimed = 0

    def claim(pid: tuple[Any, ...]) -> _Storage:
        nonlocal claimed
        dtype, key, count = _described(pid)
        if key not in storages:
            claimed += count * dtype.itemsize
            if claimed > size:
                raise ValueError(f"its tensors claim {claimed:,} bytes of its {size:,}")
            storages[key] = _Storage(torch.UntypedStorage(count * dtype.itemsize), dtype)
        return storages[key]

    if _run(file, _no_storage) != _LEGACY_MAGIC or _run(file, _no_storage) != _LEGACY_VERSION:
        raise ValueError("it does not begin as files of PyTorch do")
    if not _run(file, _no_storage).get("little_endian"):
        raise ValueError("its numbers are big-endian")
    value = _run(file, claim)
    for key in _run(file, _no_storage):
        numbers, dtype = storages[key].numbers, storages[key].dtype
        count = int.from_bytes(file.read(8), "little")
        target: Any = torch.empty(0, dtype=torch.uint8).set_(numbers).numpy()
        if count * dtype.itemsize != len(target) or file.readinto(target) != len(target):
            raise ValueError(f"its numbers {shown(key)} are cut off")
        del storages[key]
    if storages:
        raise ValueError(f"its numbers {shown(min(storages))} are missing")
    return value


def _no_storage(pid: tuple[Any, ...]) -> _Storage:
    raise ValueError(f"it names the numbers {shown(pid)} before there are any")


def _described(pid: tuple[Any, ...]) -> tuple[torch.dtype, str, int]:
    """Return type, key and count of the numbers that a persistent id stands for."""
    _, kind, key, _, count, *view = pid
    if not (isinstance(kind, torch.dtype) and type(key) is str and type(count) is int and count >= 0):
        raise ValueError(f"its numbers {shown(key)} are of no known type")
    if any(part is not None for part in view):
        raise ValueError(f"its numbers {shown(key)} are a part of others")
    return kind, key, count


def _tensors_of(root: Any) -> dict[str, Tensor]:
    """Return every tensor of a tree of shells, under the name that a state dictionary gives it."""
    if not isinstance(root, Shell):
        raise ValueError("it holds no module")  # noqa: TRY004
    tensors: dict[str, Tensor] = {}
    modules = [("", root)]
    for prefix, module in modules:  # grows on the way
        if len(modules) > _MOST_MODULES or len(prefix) > _LONGEST_NAME:
            raise ValueError("it holds modules in modules without end")
        tensors |= {prefix + name: value for name, value in module.fields.items() if isinstance(value, Tensor)}
        modules += [(f"{prefix}{name}.", value) for name, value in module.fields.items() if isinstance(value, Shell)]
    return tensors


def _run(pickle: _Stream, load: Loader) -> Any:
    """Return the value that a pickle describes, and leave the file behind it."""
    machine = _Machine(load)
    for number, (instruction, argument, _) in enumerate(pickletools.genops(pickle)):
        if number > _MOST_INSTRUCTIONS:
            raise ValueError(f"its pickle has more than {_MOST_INSTRUCTIONS:,} instructions")
        machine.follow(instruction.name, argument)
    return machine.stack.pop()


class _Machine:
    """Follows the instructions of pickles, see the standard library's `pickletools`."""

    def __init__(self, load: Loader) -> None:
        self.stack: list[Any] = []
        self._load = load
        self._marked: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def follow(self, instruction: str, argument: Any) -> None:
        """Change the stack as one instruction says.

        Raises:
            UnknownNameError: If it names what would have to be run.
            ValueError: If it is none that PyTorch writes.
        """
        if instruction in _CONSTANTS:
            self.stack.append(_CONSTANTS[instruction])
        elif instruction in _VALUES:
            self.stack.append(argument)
        elif instruction in _EMPTY:
            self.stack.append(_EMPTY[instruction]())
        elif instruction in _HANDLERS:
            _HANDLERS[instruction](self, argument)
        elif instruction not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"its pickle has the instruction {instruction}")

    def mark(self, _: None) -> None:
        self._marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self._marked.pop()
        return values

    def remember(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self.stack[-1]

    def recall(self, place: int) -> None:
        self.stack.append(self._memo[place])

    def as_tuple(self, _: None) -> None:
        values = self.since_mark()
        self.stack.append(tuple(values))

    def tuple_of(self, count: int) -> None:
        values = [self.stack.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            return
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in _KEYS:  # the hash of tuples in tuples can take for ever
                raise ValueError(f"it has a dictionary whose keys are of type {type(key).__name__}")
            self.stack[-1][key] = value

    def look_up(self, written: str) -> None:
        module, _, name = written.partition(" ")
        self.stack.append(_named(module, name))

    def call(self, _: None) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_FUNCTIONS[function.name](*arguments) if isinstance(function, _Name) else _Placeholder())

    def new(self, _: None) -> None:
        self.stack.pop()
        self.stack.append(Shell() if self.stack.pop() is Shell else _Placeholder())

    def build(self, _: None) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Shell) and isinstance(state, dict):
            target.fields.update((name, value) for name, value in state.items() if type(name) is str)

    def load(self, _: None) -> None:
        self.stack.append(self._load(self.stack.pop()))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": _Placeholder,
}
_VALUES = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_KEYS = (str, int, float, bool, bytes, type(None))
_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "TUPLE": _Machine.as_tuple,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": _Machine.look_up,
    "STACK_GLOBAL": lambda machine, _: machine.look_up(" ".join([machine.stack.pop(), machine.stack.pop()][::-1])),
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.load,
}


def _named(module: str, name: str) -> Any:
    """Return the stand-in for a class or function that a file names.

    Raises:
        UnknownNameError: If nothing does.
    """
    full = f"{module}.{name}"
    if module.partition(".")[0] == "__torch__":
        return Shell
    if module in ("torch", "torch.cuda") and name in _DTYPES:
        return _DTYPES[name]
    if full in _FUNCTIONS:
        return _Name(full)
    # Of torch.jit._pickle come lists of numbers, tensors and the like; no weight is among them.
    inert = full in _INERT or module == "torch.jit._pickle"
    if inert or (module == "torch" and isinstance(vars(torch).get(name), torch.dtype)):
        return _Placeholder
    raise UnknownNameError(full)


def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """Return a tensor of numbers that lie in a storage, each in a place of its own."""
    plain = len(size) == len(stride) <= _MOST_DIMENSIONS
    if not plain or not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)):
        raise ValueError("it has a tensor of an impossible shape")
    available = storage.numbers.nbytes() // storage.dtype.itemsize
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = math.prod(size, start=1)
    if count > available or (count and last >= available):
        raise ValueError(f"it has a tensor of shape {size} in {available:,} numbers")
    return torch.empty(0, dtype=storage.dtype).set_(storage.numbers, offset, size, stride)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda pairs=(): {key: value for key, value in pairs if type(key) in _KEYS},
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
}
