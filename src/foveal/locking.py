"""Locks of open files, which go with the process that holds them. The one place that knows how systems differ."""

import sys
from typing import IO, Any

if sys.platform == "win32":
    import msvcrt

    _FAR = 2**30  # a byte past the end: Windows lets nobody read what is locked

    def _lock(file: IO[Any], shared: bool) -> None:
        place = file.tell()
        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            if shared:  # Windows has none: taken for a moment, to see whether anybody holds it
                file.seek(_FAR)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        finally:
            file.seek(place)

else:
    import fcntl

    def _lock(file: IO[Any], shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Take the lock of an open file. It is given back when the file is closed or the process ends, however that ends.

    Args:
        file: Open for writing, or for reading if shared.
        shared: Others may hold it likewise; nobody may hold it alone.

    Returns:
        False if another process, or another opening of the file, holds it.
    """
    try:
        _lock(file, shared)
    except (BlockingIOError, PermissionError):
        return False
    return True
