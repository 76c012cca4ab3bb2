"""A folder of pictures, with texts beside them: read alike for training, for an index and for annotation.

Pictures win: a folder is one of shards only where no picture lies in it, at any depth. Whatever else lies in it is
passed over and counted by suffix.
"""

import errno
import logging
import os
import stat
import zlib
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from tqdm.auto import tqdm

from ...types import Sample
from ..files import MOST_BYTES, read_file, real, unfit
from ..kinds import SUFFIXES, UNREAD, UNREAD_PHOTOS
from .paths import TARS, suffix_of

log = logging.getLogger(__name__)

OUTSIDE = "It leads out of the source."
"""Why a link is not followed."""
TEXTS = ("", ".txt", ".TXT", ".Txt")
"""How the text beside a picture ends, by the number that a listing has of it; 0 is no text."""
MOST_TEXT = 2**20
"""Largest file of a text, in bytes."""

_HIDDEN = "hidden files"
_HIDDEN_FOLDER = "hidden folders"
_TABLE = ".lance folders"
_LINKED = "links to what is listed in its place"
_SPECIAL = "pipes, sockets and devices"
_MOST_KINDS = 200  # suffixes that are counted by name; what comes later is counted together
_MORE = "other suffixes"
_MOST_LOGGED = 20  # broken files that are logged one by one
_STAMP = (1 << 30) - 1  # about a second, in nanoseconds


@dataclass
class Listed:
    """The pictures of a folder, in few bytes each, and a count of everything else.

    Attributes:
        names: Paths below the folder, one behind another, in UTF-8.
        ends: Where each ends.
        sizes: Of each picture, in bytes.
        stamps: When each was changed, in nanoseconds. With a text beside it, all below a second is a hash of the
            text's size and time instead, so that the stamp changes with either.
        texts: Which of `TEXTS` lies beside each.
        broken: Path and reason of what could not be read or must not be.
        passed_over: Other files, links and hidden folders by suffix, or by what they are.
        empty: Folders that nothing at all lies in.
        whole: False where a part could not be listed, so that what is gone cannot be told.
    """

    names: bytearray = field(default_factory=bytearray)
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    stamps: "array[int]" = field(default_factory=lambda: array("q"))
    texts: bytearray = field(default_factory=bytearray)
    broken: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    empty: set[str] = field(default_factory=set)
    whole: bool = True

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, index: int) -> str:
        """Return the path of a picture below the folder."""
        return self.names[self.ends[index - 1] if index else 0 : self.ends[index]].decode()

    def text(self, index: int) -> str:
        """Return the path of the text beside a picture. Empty where there is none."""
        suffix = TEXTS[self.texts[index]]
        return suffix and os.path.splitext(self.name(index))[0] + suffix  # noqa: PTH122  # no object for each

    def append(self, picture: "_Picture") -> None:
        """Add a picture."""
        self.names += picture.name.encode()
        self.ends.append(len(self.names))
        self.sizes.append(picture.status.st_size)
        self.stamps.append(_stamp(picture.status, picture.text_status))
        self.texts.append(picture.text)


@dataclass(frozen=True)
class Folder:
    """The pictures of a folder and of all folders in it, by name, with their captions where there are texts.

    `cat.txt` beside `cat.jpg` says what it shows: the first line is its caption, further lines are its long caption.
    A sample's id is the picture's path below the folder. Links are followed, each place once. Hidden files and
    folders are passed over and counted.

    Attributes:
        path: The folder.
    """

    path: Path

    def __len__(self) -> int:
        return len(self.listed)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples by name."""
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Sample:
        """Return one picture and its captions, if there are any.

        A text that cannot be read is left out, and the sample's notes say so.
        """
        name, text = self.listed.name(index), self.listed.text(index)
        if not text:
            return Sample(name, self.path / name)
        try:
            return Sample(name, self.path / name, *read_text(self.path / text))
        except ValueError as error:
            return Sample(name, self.path / name, notes=(f"text beside a picture: {error}",))

    @cached_property
    def listed(self) -> Listed:
        """The content of the folder. Whatever is left out is logged."""
        listed = list_folder(self.path, outside=True)
        broken = [f"{name} is left out: {reason}" for name, reason in listed.broken.items()]
        more = [f"{len(broken) - _MOST_LOGGED} more are left out."] if len(broken) > _MOST_LOGGED else []
        passed_over = [f"passed over: {counts(listed.passed_over)}."] if listed.passed_over else []
        lines = [*broken[:_MOST_LOGGED], *more, *passed_over, *unread(listed.passed_over)]
        for line in lines:
            log.warning("%s: %s", self.path, line)
        return listed


def list_folder(path: Path, *, outside: bool = False, most: int = MOST_BYTES, progress: bool = False) -> Listed:
    """Return the pictures of a folder and of all folders in it, in an order that stays.

    A picture is listed once: links to what lies in the folder anyhow are passed over, and of folders that can be
    reached in several ways, as by loops of links, the first way counts.

    Args:
        path: The folder.
        outside: Follow links that lead out of it.
        most: Largest file, in bytes; larger ones are broken.
        progress: Show a bar on standard error.
    """
    listed, walk = Listed(), _Walk(path, SUFFIXES, outside=outside, most=most)
    for picture in tqdm(walk, desc="listing", unit="", disable=not progress, leave=False):
        listed.append(picture)
    listed.broken, listed.passed_over, listed.empty, listed.whole = (
        walk.broken,
        walk.passed_over,
        walk.empty,
        walk.whole,
    )
    return listed


def files_below(path: Path, suffixes: Collection[str]) -> tuple[Path, ...]:
    """Return the files in a folder and below it that end in one of some suffixes, hidden ones left out.

    Raises:
        ValueError: If there is none, or one cannot be read.
    """
    walk = _Walk(path, suffixes, outside=True, most=2**63)
    names = [picture.name for picture in walk]
    if walk.broken:
        name, reason = next(iter(walk.broken.items()))
        raise ValueError(f"{path / name}: {reason}")
    if not names:
        raise ValueError(f"Folder '{path}' holds no {', '.join(f'*{suffix}' for suffix in suffixes)}.")
    return tuple(path / name for name in names)


Content = Literal["pictures", ".tar", ".parquet", ".json", ""]


def content_of(path: Path) -> Content:
    """Return what a folder holds: pictures, or the suffix of its shards. Empty if it holds neither.

    Pictures win over shards, and photos of a kind that is not read do, too. Tars win over Parquet, and that over
    JSON, which counts in the folder itself alone.
    """
    walk = _Walk(path, SUFFIXES, outside=True)
    if next(iter(walk), None) is not None or walk.pictures or UNREAD_PHOTOS & walk.passed_over.keys():
        return "pictures"
    if any(kind in walk.passed_over for kind in TARS):
        return ".tar"
    if ".parquet" in walk.passed_over:
        return ".parquet"
    return ".json" if any(path.glob("*.json")) else ""


def read_text(path: Path, inside: Path | None = None) -> tuple[tuple[str, ...], str]:
    """Return the caption (the first line, as one or none) and the long caption (the others) of a text.

    Args:
        path: In UTF-8, or in UTF-16 with its mark.
        inside: A folder that it must lie in. None: any place will do.

    Raises:
        ValueError: If it is no text.
    """
    try:
        content = read_file(path, MOST_TEXT, inside)
        utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff") and len(content) > 2
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}.") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    caption, _, more = text.strip().partition("\n")
    return ((caption.strip(),) if caption else ()), " ".join(more.split())


def unread(passed_over: Mapping[str, int]) -> list[str]:
    """Return a line for each way to deal with pictures and shards that are not read."""
    ways: dict[str, Counter[str]] = {}
    for kind in passed_over.keys() & UNREAD.keys():
        ways.setdefault(UNREAD[kind], Counter())[kind] = passed_over[kind]
    shards = {kind: passed_over[kind] for kind in passed_over if kind in (*TARS, ".parquet")}
    beside = f"{counts(shards)} are passed over for what lies beside them; to read them, name them: FOLDER/*"
    lines = [f"{counts(kinds)} are not read; {way}." for way, kinds in sorted(ways.items())]
    return [*lines, beside + min(shards, key=len)] if shards else lines


def leading_out(broken: Mapping[str, str]) -> list[str]:
    """Return a line about links and paths that are not followed, if there are any."""
    names = [name for name, reason in broken.items() if reason == OUTSIDE]
    line = f"{len(names)} links or paths lead out of the source and are not followed, {''.join(names[:1])} among them."
    return [line] if names else []


def counts(kinds: Mapping[str, int]) -> str:
    """Return "3 .txt, 1 .tar", the most frequent first."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


class _Picture(NamedTuple):
    """A picture of a folder, or another file of the kind that is sought."""

    name: str
    status: os.stat_result
    text: int
    text_status: os.stat_result | None


class _Names:
    """The names of one folder, sorted out."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.texts: set[str] = set()
        self.folders: list[str] = []
        self.links: list[str] = []


class _Walk:
    """One pass over a folder, which yields the files that are sought and counts the others."""

    def __init__(self, root: Path, suffixes: Collection[str], *, outside: bool, most: int = MOST_BYTES) -> None:
        self.root, self.suffixes, self.outside, self.most = os.fspath(root), frozenset(suffixes), outside, most
        self.real = os.fspath(real(root))
        self.visited: set[tuple[int, int]] = set()
        self.broken: dict[str, str] = {}
        self.passed_over: Counter[str] = Counter()
        self.empty: set[str] = set()
        self.pictures = 0
        self.whole = True

    def __iter__(self) -> Iterator[_Picture]:
        """Yield the files of each folder by name, then those of its folders."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            names = self._names(below)
            if names is None:
                continue
            for name in sorted(names.links):
                self._link(below, name, names)
            yield from self._files(below, names)
            waiting += (below + name + "/" for name in sorted(names.folders, reverse=True))

    def _names(self, below: str) -> _Names | None:
        """Return the names of one folder; None if it was there before, or cannot be read."""
        place = self._place(below)
        names = _Names()
        try:
            status = os.stat(place)  # noqa: PTH116  # many: no object for each
            if (status.st_dev, status.st_ino) in self.visited:
                self.passed_over[_LINKED] += 1
                return None
            self.visited.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                is_empty = True
                for entry in entries:
                    is_empty = False
                    self._sort_out(entry, names)
            if is_empty:
                self.empty.add(below.rstrip("/"))
        except OSError as error:
            self._unreadable(below.rstrip("/"), error)
            self.whole = False
            return None
        return names

    def _sort_out(self, entry: "os.DirEntry[str]", names: _Names) -> None:
        name = entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if name.startswith("."):
            self.passed_over[_HIDDEN_FOLDER if is_folder else _HIDDEN] += 1
        elif entry.is_symlink():
            names.links.append(name)
        elif is_folder and name.endswith(".lance"):
            self.passed_over[_TABLE] += 1
        elif is_folder:
            names.folders.append(name)
        else:
            self._file(name, names, is_regular=entry.is_file(follow_symlinks=False))

    def _file(self, name: str, names: _Names, *, is_regular: bool) -> None:
        kind = suffix_of(name)
        if kind in self.suffixes:
            self.pictures += 1
            names.files.append(name)
        elif not is_regular:
            self.passed_over[_SPECIAL] += 1
        elif kind == ".txt":
            names.texts.add(name)
        else:
            self._pass_over(kind)

    def _link(self, below: str, name: str, names: _Names) -> None:
        """Sort out a link by what it leads to."""
        place = self._place(below + name)
        try:
            status = os.stat(place)  # noqa: PTH116  # many: no object for each
        except OSError as error:
            self._unreadable(below + name, error)
            self.whole = self.whole and not self.outside  # a disk that is not mounted, perhaps
            return
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and suffix_of(name) not in {*self.suffixes, ".txt"}:
            self._file(name, names, is_regular=stat.S_ISREG(status.st_mode))
            return
        target = os.path.realpath(place)
        is_inside = target == self.real or target.startswith(os.path.join(self.real, ""))  # noqa: PTH118
        if is_inside and self._is_listed(target, is_folder=is_folder):
            self.passed_over[_LINKED] += 1
        elif not is_inside and not self.outside and (is_folder or stat.S_ISREG(status.st_mode)):
            self._break(below + name, OUTSIDE)
        elif is_folder:
            names.folders.append(name)
        else:
            self._file(name, names, is_regular=stat.S_ISREG(status.st_mode))

    def _is_listed(self, target: str, *, is_folder: bool) -> bool:
        """True if a place in the folder is come by anyhow, on no link."""
        parts = Path(target).relative_to(self.real).parts
        folders = parts if is_folder else parts[:-1]
        if any(part.startswith(".") for part in parts) or any(part.endswith(".lance") for part in folders):
            return False
        return is_folder or suffix_of(target) in self.suffixes

    def _files(self, below: str, names: _Names) -> Iterator[_Picture]:
        """Yield the files of one folder, and the texts beside them."""
        used: set[str] = set()
        for name in sorted(names.files):
            place = below + name
            status = self._status(place, self.most)
            if status is None:
                continue
            stem = os.path.splitext(name)[0]  # noqa: PTH122  # many: no object for each
            text = next((number for number, kind in enumerate(TEXTS) if number and stem + kind in names.texts), 0)
            text_status = self._text_status(below, stem + TEXTS[text], used) if text else None
            yield _Picture(place, status, text if text_status else 0, text_status)
        self._pass_over(".txt", len(names.texts - used))

    def _text_status(self, below: str, name: str, used: set[str]) -> os.stat_result | None:
        """Return the status of the text beside a picture; None if it cannot be read."""
        first = name not in used
        used.add(name)
        return self._status(below + name, MOST_TEXT) if first or below + name not in self.broken else None

    def _status(self, place: str, most: int) -> os.stat_result | None:
        """Return the status of a file; None if it must not be read."""
        try:
            place.encode()
            status = os.stat(self._place(place))  # noqa: PTH116  # many: no object for each
        except UnicodeEncodeError:
            self._break(place, "Its name is no UTF-8. Rename it.")
            return None
        except OSError as error:
            self._unreadable(place, error)
            self.whole = self.whole and error.errno == errno.ENOENT
            return None
        refusal = unfit(status, most)
        if refusal:
            self._break(place, refusal)
            return None
        return status

    def _place(self, below: str) -> str:
        return os.path.join(self.root, below)  # noqa: PTH118  # many: no object for each

    def _pass_over(self, kind: str, number: int = 1) -> None:
        """Count files that are not sought by suffix; of folders with a suffix for each file, not all by name."""
        kind = kind or "without suffix"
        if number:
            self.passed_over[kind if kind in self.passed_over or len(self.passed_over) < _MOST_KINDS else _MORE] += (
                number
            )

    def _unreadable(self, place: str, error: OSError) -> None:
        self._break(place or self.root, error.strerror or str(error))

    def _break(self, place: str, reason: str) -> None:
        self.broken[os.fsencode(place).decode(errors="backslashreplace")] = reason


def _stamp(picture: os.stat_result, text: os.stat_result | None) -> int:
    """Return the time a picture was changed; where a text lies beside it, one number that changes with either."""
    stamp = picture.st_mtime_ns
    if text is not None:
        state = zlib.crc32(f"{stamp} {text.st_mtime_ns} {text.st_size}".encode())
        stamp = stamp & ~_STAMP | state & _STAMP
    return min(max(stamp, -(2**63)), 2**63 - 1)
