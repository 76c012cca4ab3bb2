"""Writing of files and folders that are whole or not there at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree


@contextmanager
def replacing(path: Path, *, durable: bool = False, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside `path`, for a file or a folder. It becomes `path` when all went well, else it goes.

    A file takes the place of another one, a folder that of an empty one or none.

    Args:
        path: The folder in which it lies is made if it is not there.
        durable: Wait until all is on the disk: after a loss of power there is the old one or the new one.
        shared: Other processes may write it at the same time; the temporary name is then this process's own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{f'{os.getpid()}.' if shared else ''}partial")
    _remove(partial)  # of a process that was killed
    try:
        yield partial
        if durable:
            for file in sorted(partial.rglob("*")) if partial.is_dir() else ():
                flush(file)
            flush(partial)
        partial.replace(path)
        if durable:
            flush(path.parent)
    finally:
        _remove(partial)


@contextmanager
def new_place(path: Path) -> Iterator[Path]:
    """Yield a temporary name as `replacing` does, for a file or a folder that takes nothing's place; it is durable.

    Args:
        path: A file or folder that is not there, or an empty folder.

    Raises:
        ValueError: If it is in use.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise ValueError(f"{path} is in use. Choose another name.")
    with replacing(path, durable=True) as partial:
        yield partial


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        rmtree(path)
    else:
        path.unlink(missing_ok=True)
