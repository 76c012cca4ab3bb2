"""The lock of an index in a folder: one process at a time may write."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..locking import try_lock


def is_remote(index: str | Path) -> bool:
    """True for the URI of an object store, such as "s3://bucket/index"."""
    return "://" in str(index)


@contextmanager
def alone(index: str | Path) -> Iterator[None]:
    """Hold the lock of an index's folder, which is made where there is none.

    The lock goes with its process, however that ends. An object store has none.

    Raises:
        ValueError: If another process holds it, or the folder was deleted while it was taken.
        OSError: If nothing can be written there.
    """
    if is_remote(index):
        yield
        return
    path = Path(index, ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        if not try_lock(lock):
            raise ValueError(f"Another foveal index is writing to '{index}'. Wait for it.")
        if not path.exists() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):  # another may lie there
            raise ValueError(f"'{index}' was deleted a moment ago. Run the same command again.")
        yield
