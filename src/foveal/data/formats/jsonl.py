"""JSON Lines: one sample a line, pictures as files beside it. Holds every field of a sample."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...types import Sample
from ...writing import replacing
from .fields import BY_NAME, Columns
from .json_list import parsed_object
from .paths import refuse_utf16
from .pictures import place
from .row_file import RowFile
from .rows import row_from_sample


@dataclass(frozen=True)
class Jsonl(RowFile):
    """Samples of a JSON Lines file. Image paths start from the file's own folder.

    Attributes:
        path: The file. A line is {"image", "id", "captions", "long_caption", "regions", "caption_negatives",
            "long_caption_negatives"}, all but the first optional and under any of their `SPELLINGS`; blank lines do
            not count.
        columns: Names of the fields of image and captions, where they are none of those.
    """

    path: Path
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
        """Write samples, and pictures that are bytes to `images/` beside the file. Returns their number."""
        written = 0
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8") as file:
            for sample in samples:
                image = place(sample, self.path.parent, f"images/{self.path.stem}/{written:08d}")
                row = {**row_from_sample(sample), "image": image}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                written += 1
        return written

    def scan(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield where each line begins, its number, and the line.

        Raises:
            ValueError: If the file is UTF-16.
        """
        refuse_utf16(self.path)
        start = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    yield start, number, line
                start += len(line)

    def read(self, start: int, place: int) -> bytes:  # noqa: ARG002  # the other number is the line's
        """Return a line."""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.readline()

    def parse(self, content: bytes) -> Mapping[str, Any]:
        """Return the object of a line.

        Raises:
            ValueError: If it is none.
        """
        return parsed_object(content)

    def name(self, start: int, place: int) -> str:  # noqa: ARG002
        """Return the line's number."""
        return f":{place}"

    @property
    def root(self) -> Path:
        """The file's own folder."""
        return self.path.parent
