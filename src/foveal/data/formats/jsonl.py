"""JSON Lines: one sample a line, pictures as files beside it. Holds every field of a sample."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from ...types import Sample
from .paths import replacing
from .pictures import place
from .rows import row_from_sample, sample_from_row, text


@dataclass(frozen=True)
class Jsonl:
    """Samples of a JSON Lines file, one by one or by number. Image paths start from the file's own folder.

    Only where each line begins is kept in memory, 16 bytes a sample.

    Attributes:
        path: The file. A line is {"id", "image", "captions", "long_caption", "regions", "caption_negatives",
            "long_caption_negatives"}; blank lines do not count.
    """

    path: Path
    holds: ClassVar[tuple[str, ...]] = (
        "captions",
        "long_caption",
        "regions",
        "negatives",
        "caption_negatives",
        "long_caption_negatives",
    )

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If a line is no sample. The message names file and line.
        """
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Sample:
        """The sample of a line, blank ones not counted.

        Raises:
            ValueError: If the line is no sample. The message names file and line.
        """
        start, number = self._lines[index].tolist()
        with self.path.open("rb") as file:
            file.seek(start)
            line = file.readline()
        try:
            row = json.loads(line)
            return sample_from_row(row, self.path.parent / text(row, "image"))
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path}:{number}: not a sample: {error}") from error

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

    @cached_property
    def _lines(self) -> Int[np.ndarray, "n 2"]:
        """Where each line begins, and its number."""
        found, start = [], 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    found.append((start, number))
                start += len(line)
        return np.array(found, dtype=np.int64).reshape(-1, 2)
