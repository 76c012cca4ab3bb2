"""The files that a pattern names, and atomic writing of one."""

import os
import re
from pathlib import Path

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""How tars end, in lower case: plain ones and those that the standard library unpacks."""

_SUFFIX = re.compile(r"(?:\.tar)?\.[a-z0-9_+~-]{1,12}", re.ASCII)
_DOUBLE = tuple(kind for kind in TARS if kind.count(".") == 2)


def suffix_of(name: str) -> str:
    """Return how a file's name ends: ".jpg" of "a/B.JPG", ".tar.gz" of "a.tar.gz", "other suffixes" of what is none."""
    lower = name.lower()
    ending = next((kind for kind in _DOUBLE if lower.endswith(kind)), None) or os.path.splitext(lower)[1]  # noqa: PTH122
    return ending if not ending or _SUFFIX.fullmatch(ending) else "other suffixes"


def expand(pattern: str | Path) -> tuple[Path, ...]:
    """Return the files a pattern names, in order: braces as a shell reads them, then `*`, `?` and `[...]`.

    Args:
        pattern: For example "shard-{000000..000009}.tar", "{a,b}.parquet" or "shards/*.tar".

    Returns:
        The files. One file for a plain name.

    Raises:
        ValueError: If a named file is not there, or nothing fits.
    """
    files: list[Path] = []
    for name in _braces(str(pattern)):
        path = Path(name)
        fits = sorted(path.parent.glob(path.name)) if re.search(r"[*?\[]", path.name) else [path]
        missing = next((path for path in fits if not path.is_file()), None)
        if missing or not fits:
            raise ValueError(f"No such file: '{missing or name}'. Check the name and the numbers in its braces.")
        files.extend(fits)
    return tuple(files)


def _braces(text: str) -> list[str]:
    """Return the texts that a text with braces stands for."""
    group = re.search(r"\{([^{}]*)\}", text)
    if not group:
        return [text]
    span = re.fullmatch(r"(\d+)\.\.(\d+)", group[1])
    if span:
        width = len(span[1]) if span[1].startswith("0") else 0
        choices = [f"{number:0{width}d}" for number in range(int(span[1]), int(span[2]) + 1)]
        if not choices:
            raise ValueError(f"'{group[0]}' counts downwards. Write the smaller number first.")
    else:
        choices = group[1].split(",")
    return [text[: group.start()] + choice + rest for choice in choices for rest in _braces(text[group.end() :])]


def refuse_utf16(path: Path) -> None:
    """Refuse a text file that some editors and spreadsheets write: two bytes a letter.

    Raises:
        ValueError: If it is one.
    """
    with path.open("rb") as file:
        start = file.read(64)
    halves = (any(start[::2]), any(start[1::2]))
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(start) > 1 and halves in ((True, False), (False, True))):
        raise ValueError(f"{path} is UTF-16. Save it as UTF-8: iconv -f UTF-16 -t UTF-8 '{path}'")
