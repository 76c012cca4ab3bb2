"""One-line reasons why an index cannot be read or written: LanceDB's errors are long, and name its source files."""

import os
import re
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS
from pathlib import Path

_FULL, _FORBIDDEN = (ENOSPC, EDQUOT, EFBIG), (EACCES, EPERM, EROFS)


def reason_of(error: OSError | RuntimeError, index: str | Path) -> str:
    """Return why an index could not be read or written; empty if the error is not about files.

    Args:
        error: Of the system, or of LanceDB, which raises RuntimeError with the system's number in its text.
        index: Its folder or URI.
    """
    text = " ".join(str(error).split())
    numbers = re.findall(r"(?:os error|Errno) (\d+)", text)
    number = getattr(error, "errno", None) or (int(numbers[-1]) if numbers else 0)
    if number in _FULL:
        return f"The disk of '{index}' is full: {os.strerror(number)}."
    if number in _FORBIDDEN:
        return f"'{index}' cannot be written to: {os.strerror(number)}."
    if isinstance(error, OSError) or "lance" in text:
        message = re.sub(r", /\S+\.rs:\d+:\d+|^lance error: ", "", text)[:200]  # where in its source it was raised
        message = str(getattr(error, "strerror", None) or message).rstrip(".")
        return f"'{index}' cannot be read or written: {message}."
    return ""
