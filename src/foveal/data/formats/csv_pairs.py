"""CSV of path and caption. Holds one caption, or one long caption."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int

from ...types import Sample
from .paths import replacing
from .pictures import place
from .rows import refuse_loss


@dataclass(frozen=True)
class CsvPairs:
    """Samples of a table with a header, one picture and one text a row. Paths start from the file's own folder.

    Only where each row begins is kept in memory, 16 bytes a sample. A column "id" is used where there is one, else
    a sample goes by its path.

    Attributes:
        path: The file.
        image: The column of paths.
        caption: The column of texts. An empty cell is no caption.
        kind: What the texts are: short captions or long ones.
        separator: Between cells. A tab for files named .tsv.
    """

    path: Path
    image: str = "path"
    caption: str = "caption"
    kind: Literal["caption", "long_caption"] = "caption"
    separator: str = ","
    holds: ClassVar[tuple[str, ...]] = ("captions",)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If a row is no sample. The message names file and line.
        """
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Sample:
        """The sample of a row.

        Raises:
            ValueError: If the row is no sample. The message names file and line.
        """
        start, number = self._rows[index].tolist()
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                cells = next(self._reader(file))
            if len(cells) != len(self._columns):
                raise ValueError(f"{len(cells)} cells for {len(self._columns)} columns")
            row = dict(zip(self._columns, cells, strict=True))
            if not row[self.image]:
                raise ValueError(f"column '{self.image}' is empty")
            words = row[self.caption]
            return Sample(
                id=row.get("id") or row[self.image],
                image=self.path.parent / row[self.image],
                captions=(words,) if words and self.kind == "caption" else (),
                long_caption=words if self.kind == "long_caption" else "",
            )
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{self.path}:{number}: not a sample: {error}") from error

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples, and pictures that are bytes to `images/` beside the file. Returns their number.

        Raises:
            ValueError: If a sample has more than one text of this kind.
        """
        written = 0
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            writer.writerow(["id", self.image, self.caption])
            for number, sample in zip(count(), samples, strict=False):
                image = place(sample, self.path.parent, f"images/{self.path.stem}/{number:08d}")
                writer.writerow([sample.id, image, self._words(sample)])
                written += 1
        return written

    def _words(self, sample: Sample) -> str:
        """The one text of a sample that the file can hold."""
        refuse_loss(sample, ("captions" if self.kind == "caption" else "long_caption",), "CSV")
        if len(sample.captions) > 1:
            raise ValueError(f"CSV holds one caption; sample '{sample.id}' has {len(sample.captions)}.")
        return sample.long_caption or "".join(sample.captions)

    def _reader(self, lines: Iterable[bytes]) -> Iterator[list[str]]:
        return csv.reader((line.decode() for line in lines), delimiter=self.separator, strict=True)

    @cached_property
    def _columns(self) -> list[str]:
        """The header.

        Raises:
            ValueError: If a wanted column is absent.
        """
        with self.path.open("rb") as file:
            columns = next(self._reader(file), [])
        columns = [column.removeprefix("\ufeff") for column in columns]
        missing = {self.image, self.caption} - set(columns)
        if missing:
            raise ValueError(f"{self.path}: no column '{min(missing)}'. There are: {', '.join(columns)}.")
        return columns

    @cached_property
    def _rows(self) -> Int[np.ndarray, "n 2"]:
        """Where each row begins, and the number of its first line. A row may span lines."""
        found: list[tuple[int, int]] = []
        start = end = 0
        with self.path.open("rb") as file:

            def lines() -> Iterator[str]:
                nonlocal end
                for line in file:
                    end += len(line)
                    yield line.decode("latin-1")  # never fails, and leaves CSV's own signs as they are

            reader, number = csv.reader(lines(), delimiter=self.separator), 0
            try:
                for cells in reader:
                    if cells:
                        found.append((start, number + 1))
                    start, number = end, reader.line_num
            except csv.Error as error:
                raise ValueError(f"{self.path}:{number + 1}: not a row: {error}") from error
        return np.array(found[1:], dtype=np.int64).reshape(-1, 2)
