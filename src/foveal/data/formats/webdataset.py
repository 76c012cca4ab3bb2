"""WebDataset: tar files whose members share a name. Holds every field of a sample.

Read with the standard library: what is needed of the convention is a page, and `tarfile` alone takes a damaged
member for the end of a shard, which is caught here.
"""

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar

from ...types import Sample
from .paths import expand, replacing
from .pictures import SUFFIXES, encoded, suffix
from .rows import row_from_sample, sample_from_row


@dataclass(frozen=True)
class WebDataset:
    """Samples of tar shards, read from front to back.

    A sample is a run of members named `key.jpg` (or png, webp), `key.json` with the fields of a JSON line, and
    `key.txt` with one caption; the latter two may each be absent, not both. Other members are passed over.

    Attributes:
        path: A folder of `*.tar`, one tar, or a pattern such as "shard-{000000..000009}.tar".
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
        """The shards, each of one file."""
        files = expand(self.path / "*.tar" if self.path.is_dir() else self.path)
        return tuple(replace(self, path=file) for file in files)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If a sample is broken or a shard is cut off. The message names shard and member.
        """
        return (record() for record in self.records())

    def records(self) -> Iterator[Callable[[], Sample]]:
        """What each sample is made of, read but not yet parsed; calling it gives the sample."""
        for shard in self.shards():
            yield from _records(shard.path)

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples to numbered shards in the folder `path`, or to the one tar that `path` names.

        Each shard appears under its name once it is whole. Returns the number of samples.

        Raises:
            ValueError: If the folder holds shards already, or `path` is a pattern.
        """
        rest = iter(samples)
        if self.path.suffix == ".tar":
            if "{" in self.path.name or "*" in self.path.name:
                raise ValueError(f"'{self.path}' is a pattern. Write to a folder or to one .tar file.")
            return _write_shard(self.path, rest)
        if any(self.path.glob("*.tar")):
            raise ValueError(f"Folder '{self.path}' holds shards already. Write to another one.")
        written = 0
        for number in range(10**6):
            first = list(islice(rest, 1))
            if not first:
                break
            shard = chain(first, islice(rest, self.samples_per_shard - 1))
            written += _write_shard(self.path / f"shard-{number:06d}.tar", shard)
        return written


def _write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write one tar. Members carry no time, so the same samples give the same file."""
    written = 0
    with replacing(path) as unfinished, tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            image = encoded(sample)
            row = json.dumps(row_from_sample(sample), ensure_ascii=False).encode()
            for ending, data in ((suffix(image), image), (".json", row)):
                _add(tar, f"{written:08d}{ending}", data)
            written += 1
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """One more file of a tar. `addfile` does the same by way of a file object, in small pieces."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    block = member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    tar.fileobj.write(block)
    tar.offset += len(block)


def _records(path: Path) -> Iterator[Callable[[], Sample]]:
    """The runs of members with one key."""
    key, parts = "", dict[str, bytes]()
    for name, data in _members(path):
        folder, _, base = name.rpartition("/")
        stem, _, ending = base.partition(".")
        now = f"{folder}/{stem}" if folder else stem
        if parts and now != key:
            yield partial(_sample, path, key, parts)
            parts = {}
        key = now
        parts["." + ending.lower()] = data
    if parts:
        yield partial(_sample, path, key, parts)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of a tar's files."""
    last = "the beginning"
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would keep every header of the shard
                content = _content(tar, member)
                if content is not None:
                    yield member.name, content
                last = member.name
            _check_end(tar)
    except (tarfile.TarError, EOFError) as error:
        reason = str(error).partition(":\n")[0]  # what follows lists every compression that was tried
        raise ValueError(f"{path}: cut off or damaged after {last}: {reason}. Copy it again.") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    """What a file of a tar holds; None of what is no file."""
    if not member.isreg() or member.issparse():
        file = tar.extractfile(member)
        return None if file is None else file.read()
    # plain ones, without the two objects that `extractfile` would read them through
    tar.fileobj.seek(member.offset_data)
    content = tar.fileobj.read(member.size)
    if len(content) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _check_end(tar: tarfile.TarFile) -> None:
    """A tar ends in a block of zeros; tarfile takes a damaged header for an end, too."""
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark where the last member ends")


def _sample(path: Path, key: str, parts: dict[str, bytes]) -> Sample:
    """The sample of one run of members."""
    try:
        image = next((parts[ending] for ending in SUFFIXES if ending in parts), None)
        if image is None:
            raise ValueError(f"no picture ({', '.join(SUFFIXES)})")
        if not {".json", ".txt"} & set(parts):
            raise ValueError("neither .json nor .txt")
        known = {"id": key, "captions": [parts[".txt"].decode().strip()]} if ".txt" in parts else {"id": key}
        return sample_from_row(json.loads(parts.get(".json", b"{}")), image, **known)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {key}: not a sample: {error}") from error
