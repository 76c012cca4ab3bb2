"""Sources to index: pictures of a folder, or samples of shards, each with a name that lasts."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ..data.files import MOST_BYTES, OutsideError, read_file, real
from ..data.formats import Coco, Parquet, open_source
from ..data.formats.folder import OUTSIDE, Content, Listed, content_of, list_folder, read_text
from ..data.formats.paths import TARS
from ..data.formats.pictures import encoded
from ..data.formats.row_file import RowFile
from ..data.formats.webdataset import WebDataset
from ..types import Sample


class Encoded(NamedTuple):
    """A picture that was read.

    Attributes:
        data: The encoded picture.
        caption: Its source's text about it, or "".
        notes: What was left out of the text and why.
    """

    data: bytes
    caption: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of a source, not read yet.

    Attributes:
        path: Of a file, from the folder; of a sample, its id in its source.
        read: Gives the encoded picture and what its source says about it. OSError or ValueError if it is broken.
        bytes: Size of a file; -1 where only reading tells.
        modified: When a file was changed, in nanoseconds; 0 where nothing tells.
    """

    path: str
    read: Callable[[], Encoded]
    bytes: int = -1
    modified: int = 0

    @property
    def id(self) -> str:
        """Id of 24 letters and digits that stand for the path, in URLs and filters alike."""
        return id_of(self.path)


@dataclass
class Listing:
    """A pass through a source that records what was wrong on the way.

    Attributes:
        source: A folder of pictures, or anything `open_source` knows: tar or Parquet shards, JSON lines, ...
        outside: Links and relative paths that lead out of the source are followed.
        most: Largest file of a picture that is read, in bytes.
        progress: Show a bar on standard error while a folder is listed.
        broken: Path and reason of what could not be read so far.
        passed_over: Files and members of tars that are no pictures, by suffix or by what they are.
        whole: False once a shard was cut off, so that what it held cannot be told from what is gone.
        withheld: Pictures outside the source, by absolute paths of its table. Their originals are not given out.
    """

    source: str
    outside: bool = False
    most: int = MOST_BYTES
    progress: bool = False
    broken: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    whole: bool = True
    withheld: int = 0

    def __iter__(self) -> Iterator[Entry]:
        """Yield the pictures, in an order that stays.

        Raises:
            ValueError: If there is no such source.
        """
        return self._samples() if self.folder is None else self._files(self.folder)

    @cached_property
    def content(self) -> Content:
        """Kind of content of a folder, as `content_of` names it; empty for other sources."""
        path = place_of(self.source)
        return content_of(path) if path.is_dir() else ""

    @cached_property
    def folder(self) -> Listed | None:
        """All pictures of a folder; None of other sources. A folder of nothing is one of no pictures."""
        path = place_of(self.source)
        if not path.is_dir() or self.content not in ("pictures", ""):
            return None
        listed = list_folder(path, outside=self.outside, most=self.most, progress=self.progress)
        self.broken.update(listed.broken)
        self.passed_over.update(listed.passed_over)
        self.whole = self.whole and listed.whole
        return listed

    def _files(self, listed: Listed) -> Iterator[Entry]:
        root = place_of(self.source)
        for index in range(len(listed)):
            name = listed.name(index)
            reader = _Reader(root, name, listed.text(index), self.outside, self.most)
            yield Entry(name, reader, listed.sizes[index], listed.stamps[index])

    def _samples(self) -> Iterator[Entry]:
        source = open_source(self.source)
        self._count_others()
        self.passed_over.update(source.passed_over if isinstance(source, Coco) else {})
        root = _root(source)
        for records in _pieces(source, self.passed_over):
            try:
                for place, record in records:
                    try:
                        sample = record()
                        sample.id.encode()
                        yield self._entry(sample, root)
                    except OutsideError as error:
                        self.broken[place] = str(error)
                    except (OSError, ValueError) as error:
                        self.broken[place] = str(error)
                        self.whole = False
            except (OSError, ValueError) as error:  # the shard itself is damaged; the next one may be whole
                self.broken[f"shard {len(self.broken)}"] = str(error)
                self.whole = False

    def _entry(self, sample: Sample, root: Path) -> Entry:
        """Return the entry of a sample.

        Raises:
            OutsideError: If the path of its picture leads out of the source, by links or dots.
        """
        inside = None if self.outside else root
        if inside and leads_out(sample, inside):
            assert isinstance(sample.image, Path)
            if sample.image.absolute().is_relative_to(inside.absolute()):
                raise OutsideError(OUTSIDE)
            self.withheld += 1
            inside = None
        return Entry(sample.id, _Sampled(sample, inside, self.most))

    def _count_others(self) -> None:
        """Count what lies beside the shards of a folder."""
        used = {".tar": TARS, ".parquet": (".parquet",), ".json": (".json",)}.get(self.content, ())
        if used:
            beside = list_folder(place_of(self.source), outside=self.outside).passed_over
            self.passed_over.update({kind: count for kind, count in beside.items() if kind not in used})


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reader of a picture of a folder and the text beside it, in any process."""

    root: Path
    name: str
    text: str
    outside: bool
    most: int

    def __call__(self) -> Encoded:
        inside = None if self.outside else self.root
        data = read_file(self.root / self.name, self.most, inside)
        if not self.text:
            return Encoded(data, "")
        try:
            captions, long_caption = read_text(self.root / self.text, inside)
        except ValueError as error:
            return Encoded(data, "", (f"text beside a picture: {error}",))
        return Encoded(data, long_caption or "".join(captions))


@dataclass(frozen=True, slots=True)
class _Sampled:
    """Reader of a sample's picture and its longest text."""

    sample: Sample
    inside: Path | None
    most: int

    def __call__(self) -> Encoded:
        sample = self.sample
        data = encoded(sample) if isinstance(sample.image, bytes) else read_file(sample.image, self.most, self.inside)
        return Encoded(data, sample.long_caption or (sample.captions[0] if sample.captions else ""), sample.notes)


def id_of(path: str) -> str:
    """Return the id of a path: 96 bits, so that a billion pictures share none."""
    return blake2b(path.encode(), digest_size=12).hexdigest()


def check_source(source: str) -> None:
    """Refuse a source that is none, before anything is made.

    Raises:
        ValueError: If there is no such source, it is of no known kind, or none of its columns is known to hold images.
    """
    if place_of(source).is_dir():
        return
    opened = open_source(source)
    if isinstance(opened, RowFile):
        opened.check()
    elif isinstance(opened, Parquet):
        opened.shards()


def original(source: str, path: str, *, outside: bool = False) -> Path | bytes:
    """Return a picture of a source: its file, or its bytes in a shard, which is searched from the front.

    Args:
        source: As it was indexed.
        path: Of the picture, as the index has it.
        outside: Pictures outside the source are given out, too.

    Raises:
        ValueError: If it is gone, or lies outside the source.
    """
    root = place_of(source)
    if root.is_dir() and (file := real(root / path)).is_file():  # in shards no sample has the name of a file
        if outside or file.is_relative_to(real(root)):
            return file
    elif root.exists():
        for entry in Listing(source, outside=outside):
            if entry.path == path and isinstance(entry.read, _Sampled):
                if entry.read.inside is None and not outside:
                    raise ValueError(
                        f"Picture '{path}' lies outside '{source}'. To give it out: foveal index --outside"
                    )
                return entry.read().data
    raise ValueError(f"Picture '{path}' is gone from '{source}'. Run foveal index again.")


def place_of(source: str) -> Path:
    """Return the file or folder of a source, without what may stand behind "::"."""
    return Path(source.partition("::")[0])


def leads_out(sample: Sample, root: Path) -> bool:
    """True if a sample's picture is a file outside a folder."""
    return isinstance(sample.image, Path) and not real(sample.image).is_relative_to(real(root))


def _root(source: object) -> Path:
    """Return the folder that a source's pictures lie in."""
    root = getattr(source, "root", None)
    if isinstance(root, Path):
        return root
    path = getattr(source, "path", Path())
    assert isinstance(path, Path)
    return path if path.is_dir() else path.parent


def _pieces(source: object, passed_over: Counter[str]) -> Iterator[Iterator[tuple[str, Callable[[], Sample]]]]:
    """Yield a source as records that can be read one after another though some are broken."""
    if hasattr(source, "shards"):
        for shard in source.shards():
            name = getattr(shard, "path", "shard")
            records = shard.records(passed_over) if isinstance(shard, WebDataset) else shard.records()
            yield ((f"{name}, record {number}", record) for number, record in enumerate(records))
    else:
        assert hasattr(source, "sample") and hasattr(source, "__len__")
        yield ((f"sample {n}", partial(source.sample, n)) for n in range(len(source)))
