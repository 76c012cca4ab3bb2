"""What there is to index: pictures of a folder, or samples of shards, each known by a name that lasts."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path

from ..data.formats import open_source
from ..data.formats.pictures import encoded
from ..types import Sample

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"})
SHARDS = ("*.tar", "*.parquet")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that is there, not read yet.

    Attributes:
        path: Of a file, from the folder; of a sample, its id in its source.
        read: Gives the encoded picture and what its source says about it. OSError or ValueError if it is broken.
        bytes: Size of a file; -1 where only reading tells.
        modified: When a file was changed, in nanoseconds; 0 where nothing tells.
    """

    path: str
    read: Callable[[], tuple[bytes, str]]
    bytes: int = -1
    modified: int = 0

    @property
    def id(self) -> str:
        """24 letters and digits that stand for the path, in URLs and filters alike."""
        return id_of(self.path)


@dataclass
class Listing:
    """Goes through a source, and keeps what was wrong on the way.

    Attributes:
        source: A folder of pictures, or anything `open_source` knows: tar or Parquet shards, JSON lines, ...
        broken: Path and reason of what could not be read so far.
        passed_over: Files of a folder that are no pictures.
        whole: False once a shard was cut off, so that what it held cannot be told from what is gone.
    """

    source: str
    broken: dict[str, str] = field(default_factory=dict)
    passed_over: int = 0
    whole: bool = True

    def __iter__(self) -> Iterator[Entry]:
        """Yield the pictures, in an order that stays.

        Raises:
            ValueError: If there is no such source.
        """
        return self._files(Path(self.source)) if is_folder_of_pictures(self.source) else self._samples()

    def _files(self, root: Path) -> Iterator[Entry]:
        for folder, folders, names in os.walk(root, onerror=self._unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".lance"))
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix.lower() not in SUFFIXES or name.startswith("."):
                    self.passed_over += 1
                    continue
                place = path.relative_to(root).as_posix()
                try:
                    place.encode()
                    found = path.stat()
                except UnicodeEncodeError:
                    self.broken[place.encode(errors="replace").decode()] = "Its name is no UTF-8. Rename it."
                    continue
                except OSError as error:
                    self.broken[place] = error.strerror or str(error)
                    continue
                yield Entry(place, _Reader(path), found.st_size, found.st_mtime_ns)

    def _unreadable(self, error: OSError) -> None:
        self.broken[str(error.filename)] = error.strerror or str(error)
        self.whole = False

    def _samples(self) -> Iterator[Entry]:
        source = open_source(self.source)
        for records in _pieces(source):
            try:
                for place, record in records:
                    try:
                        sample = record()
                    except (OSError, ValueError) as error:
                        self.broken[place] = str(error)
                        self.whole = False
                        continue
                    yield Entry(sample.id, _Sampled(sample))
            except (OSError, ValueError) as error:  # the shard itself is damaged; the next one may be whole
                self.broken[f"shard {len(self.broken)}"] = str(error)
                self.whole = False


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a file, in whatever process it is asked."""

    path: Path

    def __call__(self) -> tuple[bytes, str]:
        return self.path.read_bytes(), ""


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A sample's picture and its longest text."""

    sample: Sample

    def __call__(self) -> tuple[bytes, str]:
        sample = self.sample
        return encoded(sample), sample.long_caption or (sample.captions[0] if sample.captions else "")


def id_of(path: str) -> str:
    """The id of a path: 96 bits, so that a billion pictures share none."""
    return blake2b(path.encode(), digest_size=12).hexdigest()


def is_folder_of_pictures(source: str) -> bool:
    """True for a folder without shards in it."""
    path = Path(source)
    return path.is_dir() and not any(next(path.glob(shards), None) for shards in SHARDS)


def check_source(source: str) -> None:
    """Refuse a source that is none, before anything is made.

    Raises:
        ValueError: If there is no such source, or it is of no known kind.
    """
    if not is_folder_of_pictures(source):
        open_source(source)


def original(source: str, path: str) -> Path | bytes:
    """A picture of a source: its file, or its bytes in a shard, which is searched from the front.

    Raises:
        ValueError: If it is gone.
    """
    if is_folder_of_pictures(source):
        file = (Path(source) / path).resolve()
        if file.is_file() and file.is_relative_to(Path(source).resolve()):
            return file
    elif Path(source).exists():
        for entry in Listing(source):
            if entry.path == path:
                return entry.read()[0]
    raise ValueError(f"Picture '{path}' is gone from '{source}'. Run foveal index again.")


def _pieces(source: object) -> Iterator[Iterator[tuple[str, Callable[[], Sample]]]]:
    """A source as records that can be read one after another though some are broken."""
    if hasattr(source, "shards"):
        for shard in source.shards():
            name = getattr(shard, "path", "shard")
            yield ((f"{name}, record {number}", record) for number, record in enumerate(shard.records()))
    else:
        assert hasattr(source, "sample") and hasattr(source, "__len__")
        yield ((f"sample {n}", partial(source.sample, n)) for n in range(len(source)))
