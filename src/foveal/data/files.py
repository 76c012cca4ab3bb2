"""Safe reading of files from outside: regular ones, of bounded size, in the folder where they should lie."""

import os
import stat
from pathlib import Path

MOST_BYTES = 512 * 2**20
"""Largest file of a picture that is read, unless a caller allows more."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class OutsideError(ValueError):
    """A path leads out of the folder that it must lie in."""


def read_file(path: Path, most: int = MOST_BYTES, inside: Path | None = None) -> bytes:
    """Return what a regular file holds. Never waits for a pipe or a device, and never reads without bound.

    The kind and the size are those of the opened file, whatever its name stands for a moment later.

    Args:
        path: The file.
        most: Bytes that it may have.
        inside: A folder that the file must lie in once all links are followed. None: any place will do.

    Raises:
        OutsideError: If the file lies elsewhere.
        ValueError: If it is no regular file, is too large, or grows while it is read.
        OSError: If it cannot be read.
    """
    refusal = unfit(os.stat(path), most)  # opening a device may already do something  # noqa: PTH116
    if refusal:
        raise ValueError(refusal)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    if inside is not None:
        path = real(path)
        if not path.is_relative_to(real(inside)):
            raise OutsideError(f"It leads out of '{inside}'.")
        flags |= os.O_NOFOLLOW
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  # a descriptor
        status = os.fstat(file.fileno())
        refusal = unfit(status, most)
        if refusal:
            raise ValueError(refusal)
        content = file.read(status.st_size)
        if file.read(1):
            raise ValueError(f"It has grown beyond {status.st_size} bytes while it was read.")
    return content


def unfit(status: os.stat_result, most: int) -> str:
    """Return why a file is not read, by its kind and its size. Empty if it may be."""
    if not stat.S_ISREG(status.st_mode):
        return f"It is {_KINDS.get(stat.S_IFMT(status.st_mode), 'of an unknown kind')}, no regular file."
    if status.st_size > most:
        return f"It has {status.st_size} bytes, more than {most}."
    return ""


def real(path: Path) -> Path:
    """Return where a path leads once all links are followed; a loop of links leads nowhere, and raises nothing."""
    return Path(os.path.realpath(path))
