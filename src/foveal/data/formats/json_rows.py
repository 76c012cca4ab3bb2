"""JSON that is one list of objects: one sample an item, pictures as files beside it. Holds every field of a sample."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from ...types import Sample
from ...writing import replacing
from .fields import BY_NAME, Columns
from .json_list import parsed_object, read_item, scan_items, write_items
from .pictures import place
from .row_file import RowFile
from .rows import row_from_sample


class ItemFile(RowFile):
    """A file whose rows are the items of one JSON list."""

    def scan(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the first byte of each item, the byte past its last, and the item.

        Raises:
            ValueError: If it is no list, an item is no JSON or the list breaks off. The message names file and item.
        """
        return ((start, start + len(item), item) for start, item in scan_items(self.path))

    def read(self, start: int, place: int) -> bytes:
        """Return an item."""
        return read_item(self.path, start, place)

    def parse(self, content: bytes) -> Mapping[str, Any]:
        """Return the object of an item.

        Raises:
            ValueError: If it is none.
        """
        return parsed_object(content)

    def name(self, start: int, place: int) -> str:  # noqa: ARG002
        """Return the item's number, from 0."""
        return f": item {int((self._places.lines[:, 0] < start).sum())}"


@dataclass(frozen=True)
class JsonRows(ItemFile):
    """Samples of a JSON list of objects, whose fields are those of a line of `Jsonl`.

    Attributes:
        path: The file.
        images: The folder that image paths start from. None: the file's own.
        columns: Names of the fields of image and captions, where they are none of `SPELLINGS`.
    """

    path: Path
    images: Path | None = None
    columns: Columns = BY_NAME
    holds: ClassVar[tuple[str, ...]] = (
        "captions",
        "long_caption",
        "regions",
        "negatives",
        "caption_negatives",
        "long_caption_negatives",
    )

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples, and pictures that are bytes to the folder of images. Returns their number."""
        with replacing(self.path) as partial:
            return write_items(partial, map(self._item, count(), samples))

    @property
    def root(self) -> Path:
        """The folder that image paths start from."""
        return self.images or self.path.parent

    def _item(self, number: int, sample: Sample) -> dict[str, Any]:
        image = place(sample, self.root, f"images/{self.path.stem}/{number:08d}")
        return {**row_from_sample(sample), "image": image}
