"""WebDataset: tar files whose members share a name. Holds every field of a sample.

Read with the standard library: what is needed of the convention is a page, and `tarfile` alone takes a damaged
member for the end of a shard, which is caught here.
"""

import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from lzma import LZMAError
from pathlib import Path
from typing import Any, ClassVar

from ...types import Sample
from ...writing import replacing
from ..files import MOST_BYTES
from ..kinds import SUFFIXES, suffix
from .folder import files_below
from .paths import TARS, expand, suffix_of
from .pictures import encoded
from .rows import row_from_sample, sample_from_row

NOTICE = "LICENSE"
"""A member that is no part of a sample. As its name has no dot, other readers of WebDataset pass over it, too."""
_CAPTIONS = (".txt", ".text", ".caption", ".caption.txt", ".text.txt")
_READ = (".json", *_CAPTIONS)
_PLAIN = frozenset((*SUFFIXES, ".json", ".txt"))  # suffixes of members that are read; those in capitals too, but slower
_BUFFER = 2**18  # bytes that are read at once
_MOST_PICTURES, _MOST_OF_RUN = 64, 2**26  # pictures and bytes under one key, beyond which samples are not held back


@dataclass(frozen=True)
class WebDataset:
    """Samples of tar shards, read from front to back.

    A sample is a run of members named `key.jpg` (or another suffix of a picture), `key.json` with the fields of a JSON
    line, and `key.txt` (or `key.text`, `key.caption`, `key.caption.txt`) with a caption; the latter may be absent. A
    key ends at the first dot of a name. Of several pictures `key.jpg`, `key.png` the first in the order of `SUFFIXES`
    counts; where all have further dots in their names, as `key.left.jpg`, each is a sample of its own, `key.left`.
    Other members, hidden ones (`._key.jpg`), folders and links are passed over.

    Attributes:
        path: A folder of tars, in folders of it too, one tar, packed or not, or a pattern such as
            "shard-{000000..000009}.tar".
        samples_per_shard: How many samples `write` puts into a shard.
    """

    path: Path
    samples_per_shard: int = 1000
    holds: ClassVar[tuple[str, ...]] = (
        "captions",
        "long_caption",
        "regions",
        "negatives",
        "caption_negatives",
        "long_caption_negatives",
    )

    def shards(self) -> tuple["WebDataset", ...]:
        """Return the shards, each of one file."""
        files = files_below(self.path, TARS) if self.path.is_dir() else expand(self.path)
        return tuple(replace(self, path=file) for file in files)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If a sample is broken or a shard is cut off. The message names shard and member.
        """
        return (record() for record in self.records())

    def records(self, passed_over: Counter[str] | None = None) -> Iterator[Callable[[], Sample]]:
        """Yield the parts of each sample, read but not yet parsed; calling it gives the sample.

        Args:
            passed_over: Counts the members that belong to no sample, by suffix or by what they are.
        """
        counter = Counter[str]() if passed_over is None else passed_over
        for shard in self.shards():
            yield from _records(shard.path, counter)

    def write(self, samples: Iterable[Sample], notice: str = "") -> int:
        """Write samples to numbered shards in the folder `path`, or to the one tar that `path` names.

        Each shard appears under its name once it is whole. Returns the number of samples.

        Args:
            samples: In the order wanted.
            notice: Of a license. It is the first member of each shard, which readers pass over.

        Raises:
            ValueError: If the folder holds shards already, or `path` is a pattern.
        """
        rest = iter(samples)
        if self.path.suffix == ".tar":
            if "{" in self.path.name or "*" in self.path.name:
                raise ValueError(f"'{self.path}' is a pattern. Write to a folder or to one .tar file.")
            return _write_shard(self.path, rest, notice)
        if any(self.path.glob("*.tar")):
            raise ValueError(f"Folder '{self.path}' holds shards already. Write to another one.")
        written = 0
        for number in range(10**6):
            first = list(islice(rest, 1))
            if not first:
                break
            shard = chain(first, islice(rest, self.samples_per_shard - 1))
            written += _write_shard(self.path / f"shard-{number:06d}.tar", shard, notice)
        return written


def _write_shard(path: Path, samples: Iterable[Sample], notice: str) -> int:
    """Write one tar. Members carry no time, so the same samples give the same file."""
    written = 0
    with replacing(path) as unfinished, tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
        if notice:
            _add(tar, NOTICE, notice.encode())
        for sample in samples:
            image = encoded(sample)
            row = json.dumps(row_from_sample(sample), ensure_ascii=False).encode()
            for ending, data in ((suffix(image), image), (".json", row)):
                _add(tar, f"{written:08d}{ending}", data)
            written += 1
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar as `addfile` would by way of a file object, but at once."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    block = member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    tar.fileobj.write(block)
    tar.offset += len(block)


def _records(path: Path, passed_over: Counter[str]) -> Iterator[Callable[[], Sample]]:
    """Yield the samples of a tar. If it breaks off, the last run of members counts if it is like the one before."""
    run, endings = _Run(""), set[str]()
    try:
        for name, data in _members(path, passed_over):
            key, ending = _split(name)
            if run.parts and (key != run.key or run.is_full(ending)):
                endings = set(run.parts)
                following = _Run(key, run.taken(ending) if key == run.key else {})
                yield from run.samples(path, passed_over)
                run = following
            run.key = key
            if ending in run.parts:
                passed_over["members that another of their name replaces"] += 1
            run.parts[ending] = data
    except ValueError:
        if set(run.parts) == endings:
            yield from run.samples(path, passed_over)
        raise
    yield from run.samples(path, passed_over)


def _split(name: str) -> tuple[str, str]:
    """Split a member's name into key and ending, as WebDataset does, at the first dot behind the folders."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    return folder + slash + stem, (dot + ending).lower()


def _last(ending: str) -> str:
    """Return the last suffix of an ending: ".jpg" of ".left.jpg"."""
    return "." + ending.rpartition(".")[2]


@dataclass
class _Run:
    """Members with one key: what each holds, by its ending; None of a picture that is too large."""

    key: str
    parts: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def pictures(self) -> list[str]:
        """The endings of pictures."""
        return [ending for ending in self.parts if _last(ending) in SUFFIXES]

    def is_full(self, ending: str) -> bool:
        """True if another picture is to begin a new run: names of photos may have dots, and all of them one key."""
        pictures = self.pictures if _last(ending) in SUFFIXES else []
        return bool(pictures) and (
            len(pictures) >= _MOST_PICTURES or sum(len(data or b"") for data in self.parts.values()) > _MOST_OF_RUN
        )

    def taken(self, ending: str) -> dict[str, bytes | None]:
        """Remove and return the members that belong to a picture that is yet to come."""
        stem = ending.rpartition(".")[0]
        endings = [part for part in self.parts if stem and part.rpartition(".")[0] == stem]
        return {part: self.parts.pop(part) for part in endings}

    def samples(self, path: Path, passed_over: Counter[str]) -> Iterator[Callable[[], Sample]]:
        """Yield the samples of the run."""
        pictures = self.pictures
        plain = min((picture for picture in pictures if picture in SUFFIXES), key=SUFFIXES.index, default=None)
        texts = {ending: data for ending, data in self.parts.items() if ending in _READ}
        if plain and len(texts) + 1 == len(self.parts):  # as nearly all are
            yield partial(_sample, path, self.key, plain, self.parts)
            return
        stems = [] if plain else [picture.rpartition(".")[0] for picture in pictures]
        used = {plain, *texts, *(pictures if stems else ()), *(stem + ending for stem in stems for ending in _READ)}
        passed_over.update(_last(ending) for ending in self.parts if ending not in used)
        if plain is not None or not pictures:
            if plain or texts:
                yield partial(
                    _sample, path, self.key, plain, {**texts, **({plain: self.parts[plain]} if plain else {})}
                )
            return
        for stem, picture in zip(stems, pictures, strict=True):
            nearer = {ending: self.parts[stem + ending] for ending in _READ if stem + ending in self.parts}
            parts = {**(nearer or texts), picture: self.parts[picture]}
            yield partial(_sample, path, self.key + stem, picture, parts)


def _members(path: Path, passed_over: Counter[str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield name and content of a tar's pictures and texts; None of a picture that is too large."""
    last = "the beginning"
    try:
        for member, content in _headers(path):
            reason = _passed_over(member)
            if reason:
                passed_over[reason] += 1
            else:
                yield member.name, content() if member.size <= MOST_BYTES else None
            last = member.name
    except (tarfile.TarError, EOFError, zlib.error, LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).partition(":\n")[0]  # what follows lists every compression that was tried
        raise ValueError(f"{path}: cut off or damaged after {last}: {reason}. Copy it again.") from error


def _headers(path: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """Yield the header of each member, and what reads its content.

    Plain files at the beginning of a tar that is not packed, all of it as a rule, are read here, in half of the time of
    `tarfile`, which goes on with the first member of another kind and judges the end.
    """
    with path.open("rb", buffering=_BUFFER) as file:
        place = 0
        while (member := _plain_header(file.read(tarfile.BLOCKSIZE))) is not None:
            yield member, partial(_read, file, member.size)
            place += tarfile.BLOCKSIZE + member.size + -member.size % tarfile.BLOCKSIZE
            file.seek(place)
        file.seek(place)
        with tarfile.open(fileobj=file) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would keep every header of the shard
                if member.size < 0:
                    raise tarfile.ReadError("a member of negative size")
                yield member, partial(_content, tar, member)
            _check_end(tar)


def _plain_header(block: bytes) -> tarfile.TarInfo | None:
    """Return the header of a plain file in POSIX's format of 1988. None of all else, or if its numbers don't add up."""
    if len(block) < tarfile.BLOCKSIZE or block[156:157] != tarfile.REGTYPE or block[257:263] != b"ustar\0":
        return None
    try:
        checksum = int(block[148:156].rstrip(b" \0"), 8)
        prefix, name = (block[start:stop].partition(b"\0")[0].decode() for start, stop in ((345, 500), (0, 100)))
        member = tarfile.TarInfo(f"{prefix}/{name}" if prefix else name)
        member.size = int(block[124:136].rstrip(b" \0"), 8)
    except ValueError:  # numbers in another notation, names in another encoding
        return None
    matches = checksum == sum(block) - sum(block[148:156]) + 8 * ord(" ")
    return member if matches and member.size >= 0 else None


def _passed_over(member: tarfile.TarInfo) -> str:
    """Return the kind of a member that belongs to no sample; empty for others."""
    folder, _, base = member.name.rpartition("/")
    if not member.isreg():
        if member.isdir():
            return "folders"
        return "links" if member.islnk() or member.issym() else "pipes, sockets and devices"
    if base.startswith(".") or (folder and _is_hidden(folder)):
        return "hidden files"
    if member.size <= MOST_BYTES and "." + base.rpartition(".")[2] in _PLAIN:
        return ""
    kind = suffix_of(base)
    if kind in SUFFIXES or (kind in _READ and member.size <= MOST_BYTES):
        return ""
    return kind or "without suffix"


def _is_hidden(folder: str) -> bool:
    return any(name == "__MACOSX" or name.startswith("PaxHeader") for name in folder.split("/"))


def _read(file: Any, size: int) -> bytes:
    """Return the next bytes of a file.

    Raises:
        tarfile.ReadError: If it has fewer.
    """
    content = file.read(size)
    if len(content) < size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the bytes of a file in a tar."""
    if member.issparse():
        file = tar.extractfile(member)
        assert file is not None
        return file.read()
    # plain ones, without the two objects that `extractfile` would read them through
    tar.fileobj.seek(member.offset_data)
    return _read(tar.fileobj, member.size)


def _check_end(tar: tarfile.TarFile) -> None:
    """Check that a tar ends in zeros, as tarfile takes a damaged header for an end, and stops at the first end."""
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark where the last member ends")
    if tar.fileobj.read(2**20).strip(b"\0"):
        raise tarfile.ReadError("more follows its end mark, as if tars had been joined by cat")


def _sample(path: Path, key: str, picture: str | None, parts: dict[str, bytes | None]) -> Sample:
    """Return the sample of one run of members."""
    try:
        if picture is None:
            raise ValueError("no picture beside it; the members of a sample must lie one behind another")
        image = parts[picture]
        if image is None:
            raise ValueError(f"its picture has more than {MOST_BYTES} bytes")
        key.encode()
        captions = [(parts[ending] or b"").decode().strip() for ending in _CAPTIONS if ending in parts]
        captions = list(dict.fromkeys(filter(None, captions)))
        return sample_from_row(json.loads(parts.get(".json") or b"{}"), image, id=key, captions=captions)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {key}: not a sample: {error}") from error
