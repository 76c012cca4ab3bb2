"""What is annotated: any source of samples, or a plain folder of pictures, read from any place on."""

import logging
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path

from ..data.formats import open_source
from ..data.formats.pictures import SUFFIXES
from ..data.stream import Indexed, Sharded, Source
from ..types import Sample

log = logging.getLogger(__name__)

Record = Callable[[], Sample]
OTHERS = (".avif", ".bmp", ".gif", ".heic", ".tif", ".tiff")
"""Pictures that no format of ours holds."""


@dataclass(frozen=True)
class Folder:
    """The pictures of a folder and of all folders in it, by name, with their captions where there are some.

    `cat.txt` beside `cat.jpg` says what it shows: the first line is its caption, further lines are its long caption.

    A sample's id is the picture's path below the folder. Names are kept in memory as bytes; hidden files and
    folders are passed over.

    Attributes:
        path: The folder.
    """

    path: Path

    def __len__(self) -> int:
        return len(self._names[1]) - 1

    def __iter__(self) -> Iterator[Sample]:
        """The samples by name."""
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Sample:
        """One picture and its captions, if there are any.

        Raises:
            ValueError: If they are no UTF-8.
        """
        names, starts = self._names
        name = os.fsdecode(bytes(names[starts[index] : starts[index + 1]]))
        image = self.path / name
        text = image.with_suffix(".txt")
        try:
            caption, _, more = (text.read_text(encoding="utf-8").strip() if text.is_file() else "").partition("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{text}: not UTF-8: {error}.") from error
        return Sample(name, image, (caption.strip(),) if caption else (), " ".join(more.split()))

    @cached_property
    def _names(self) -> tuple[bytearray, "array[int]"]:
        """All names behind one another, and where each begins."""
        names, starts, others = bytearray(), array("q", [0]), 0
        for folder, folders, files in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  # many files: no object for each
                others += suffix in OTHERS
                if suffix in SUFFIXES and not name.startswith("."):
                    names += os.fsencode(os.path.relpath(os.path.join(folder, name), self.path))  # noqa: PTH118
                    starts.append(len(names))
        if others:
            log.warning("%s: %d pictures are not JPEG, PNG or WebP and are left out.", self.path, others)
        return names, starts


def open_input(spec: str, otherwise: Callable[[str], Iterable[Sample]] = open_source) -> Source:
    """The source that a name stands for: a folder of pictures, or anything `otherwise` opens.

    Raises:
        ValueError: If it is of no known kind, has no samples, or has no end.
    """
    path = Path(spec)
    shards = ("*.tar", "*.parquet", "*.json")
    plain = path.is_dir() and not any(any(path.glob(pattern)) for pattern in shards)
    source = Folder(path) if plain else otherwise(spec)
    if not isinstance(source, Indexed | Sharded):
        raise ValueError(  # noqa: TRY004  # a user's mistake
            f"'{spec}' can only be read from its beginning. Convert it to JSON Lines or WebDataset first."
        )
    if size(source) == 0:
        what = "pictures (JPEG, PNG or WebP)" if plain else "samples"
        raise ValueError(f"'{spec}' holds no {what}.")
    return source


def size(source: Source) -> int | None:
    """How many samples a source has. None: that takes reading it.

    Raises:
        ValueError: If it has no end.
    """
    return len(source) if isinstance(source, Sized) else None


def numbered(source: Source, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
    """Samples by number, from one on; calling what is yielded gives the sample or says what is wrong with it.

    Args:
        source: Its samples are numbered from 0.
        start: The first wanted. Those before are not parsed.
        stop: The first not wanted any more. None: all are.
    """
    if isinstance(source, Indexed):
        first, count = getattr(source, "first", 0), size(source)
        last = count if stop is None or count is None else min(stop, count)
        return ((number, partial(source.sample, first + number)) for number in range(start, last or 0))
    records = chain.from_iterable(shard.records() for shard in source.shards())
    return enumerate(islice(records, start, stop), start)
