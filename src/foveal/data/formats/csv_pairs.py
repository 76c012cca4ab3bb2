"""CSV, and tables like it: a picture and its texts a row. Holds one caption and a long caption."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from ...types import Sample
from ...writing import replacing
from ..kinds import SUFFIXES
from .fields import BY_NAME, Columns
from .paths import refuse_utf16
from .pictures import place
from .row_file import RowFile
from .rows import refuse_loss

SEPARATORS = (",", "\t", ";", "|")
VERBATIM = ("\t", "|")
"""Separators of tables that mostly know no quotation marks: one that does not close belongs to its text."""
LONGEST = 1 << 20
"""Bytes of a row of several lines at most. A mark without an end would draw the rest of the file into its row."""


@dataclass(frozen=True)
class CsvPairs(RowFile):
    """Samples of a table with a header, one picture a row. Paths start from the file's own folder.

    A cell in quotation marks may span lines; a mark that does not close costs its own row at most. Several captions
    may stand in rows of one picture, in numbered columns, or in a cell as a JSON list.

    Attributes:
        path: The file.
        columns: Names of the columns of pictures and captions, where they are none of `SPELLINGS`.
        separator: Between cells. None: the one of `SEPARATORS` that the header has; for writing a comma, or a tab for
            *.tsv.
    """

    path: Path
    columns: Columns = BY_NAME
    separator: str | None = None
    holds: ClassVar[tuple[str, ...]] = ("captions", "long_caption")

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples, and pictures that are bytes to `images/` beside the file. Returns their number.

        Raises:
            ValueError: If a sample has more than one caption.
        """
        written = 0
        separator = self.separator or ("\t" if self.path.suffix.lower() == ".tsv" else ",")
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=separator)
            writer.writerow(["id", self.columns.image or "path", self.columns.caption or "caption", "long_caption"])
            for number, sample in zip(count(), samples, strict=False):
                image = place(sample, self.path.parent, f"images/{self.path.stem}/{number:08d}")
                writer.writerow([sample.id, image, self._caption(sample), sample.long_caption])
                written += 1
        return written

    def names(self) -> tuple[str, ...]:
        """Return the header."""
        return self._header.names

    def scan(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield where each row begins, the number of its first line, and the row. Blank lines do not count."""
        header = self._header
        return self._rows(header.end, header.lines + 1)

    def read(self, start: int, place: int) -> bytes:
        """Return the lines of a row."""
        return next(self._rows(start, place))[2]

    def parse(self, content: bytes) -> Mapping[str, Any]:
        """Return the cells of a row by the names of their columns.

        Raises:
            ValueError: If there are too many or too few, or they are no UTF-8.
        """
        if b"\0" in content:
            raise ValueError("there is a zero byte in it")
        names, cells = self._header.names, self._header.cells(content)
        if len(cells) != len(names):
            raise ValueError(f"{len(cells)} cells for {len(names)} columns")
        return dict(zip(names, map(_value, cells), strict=True))

    def name(self, start: int, place: int) -> str:  # noqa: ARG002
        """Return the number of the row's first line."""
        return f":{place}"

    @property
    def root(self) -> Path:
        """The file's own folder."""
        return self.path.parent

    def _caption(self, sample: Sample) -> str:
        """Return the one caption of a sample that a row can hold."""
        refuse_loss(sample, self.holds, "CSV")
        if len(sample.captions) > 1:
            raise ValueError(f"CSV holds one caption; sample '{sample.id}' has {len(sample.captions)}.")
        return "".join(sample.captions)

    def _rows(self, start: int, number: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield the rows, beginning with a given one."""
        with self.path.open("rb") as file:
            file.seek(start)
            while line := file.readline():
                content = line if line.isspace() else self._header.whole(line, file)
                if not line.isspace():
                    yield start, number, content
                start, number = start + len(content), number + max(1, content.count(b"\n"))
                file.seek(start)

    @cached_property
    def _header(self) -> "_Header":
        """The header.

        Raises:
            ValueError: If there is none, or it cannot be read.
        """
        refuse_utf16(self.path)
        end = lines = 0
        with self.path.open("rb") as file:
            for line in file:
                end, lines = end + len(line), lines + 1
                if line.strip(b"\xef\xbb\xbf \t\r\n"):
                    break
            else:
                raise ValueError(f"{self.path} is empty. The first row of a table names its columns.")
        if b"\r" in line.rstrip(b"\r\n"):
            raise ValueError(f"{self.path} has the line ends of old Macs. Convert them: tr '\\r' '\\n'")
        try:
            text = line.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}: the header is not UTF-8: {error}. Save the table as UTF-8.") from error
        separator = self.separator or _separator(text, self.columns, self.path.suffix.lower() == ".tsv")
        return _Header(separator, _split(text, separator), self.columns, end, lines)


class _Header:
    """The columns of a table, and the way to read its rows."""

    def __init__(self, separator: str, cells: list[str], columns: Columns, end: int, lines: int) -> None:
        """Read a header.

        Args:
            separator: Between cells.
            cells: As they stand in the file.
            columns: Names that a user gave.
            end: The byte past it.
            lines: How many lines it and the blank ones before it take.
        """
        self.separator, self.end, self.lines = separator, end, lines
        self.spaced = len(cells) > 1 and all(cell.startswith(" ") for cell in cells[1:])
        self.names = _unlike(cell.strip() for cell in cells)
        image = columns.column(self.names, "image")
        self.image = self.names.index(image) if image in self.names else None

    def whole(self, line: bytes, file: BinaryIO) -> bytes:
        """Return a row from its first line on, with those that a cell in quotation marks goes on in."""
        if b'"' not in line:
            return line
        lines, named = [line], any(map(_is_picture, line.split(self.separator.encode())))

        def text() -> Iterator[str]:
            yield line.decode("latin-1")  # never fails, and leaves CSV's own signs as they are
            while sum(map(len, lines)) < LONGEST and (more := file.readline()):
                if named and self._begins(more):
                    break
                lines.append(more)
                yield more.decode("latin-1")

        try:
            next(self._reader(text()))
        except csv.Error:
            return line
        return b"".join(lines)

    def cells(self, content: bytes) -> list[str]:
        """Return the cells of a row.

        Raises:
            ValueError: If a quotation mark does not close, or closes within a cell; or a cell is no UTF-8.
        """
        text = content.decode("latin-1")
        try:
            cells = next(self._reader([text]))
        except csv.Error as error:
            if self.separator not in VERBATIM:
                raise ValueError(f"a quotation mark is not closed, or closed too early ({error})") from error
            cells = text.rstrip("\r\n").split(self.separator)
            cells = [cell.lstrip(" ") for cell in cells] if self.spaced else cells
        try:
            return [cell if cell.isascii() else cell.encode("latin-1").decode() for cell in cells]
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8: {error}; save the table as UTF-8") from error

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.separator, skipinitialspace=self.spaced, strict=True)

    def _begins(self, line: bytes) -> bool:
        """True if a line has a picture where rows have it: the mark in the row before never closed."""
        cells = line.split(self.separator.encode())
        if self.image is None or len(cells) < len(self.names):
            return False
        return _is_picture(cells[self.image])


def _is_picture(cell: bytes) -> bool:
    """True if a cell ends as the names of pictures do."""
    return cell.strip(b'" \r\n').lower().endswith(tuple(map(str.encode, SUFFIXES)))


def _separator(header: str, columns: Columns, is_tsv: bool) -> str:
    """Return the separator by which a header names most of what we look for, and else most columns."""
    candidates = sorted(SEPARATORS, key=lambda separator: separator != "\t") if is_tsv else SEPARATORS

    def fit(separator: str) -> tuple[int, int]:
        names = _unlike(cell.strip() for cell in _split(header, separator))
        return columns.count_fields(names), len(names)

    return max(candidates, key=fit)


def _split(header: str, separator: str) -> list[str]:
    return next(csv.reader([header], delimiter=separator), [])


def _unlike(names: Iterable[str]) -> tuple[str, ...]:
    """Return names, each that was there before with a number behind it."""
    unlike: dict[str, None] = {}
    for name in names:
        number, free = 1, name
        while free in unlike:
            number += 1
            free = f"{name}.{number}"
        unlike[free] = None
    return tuple(unlike)


def _value(cell: str) -> str | list[str]:
    """Return what a cell holds: a text, or several as a JSON list."""
    if cell.startswith('["') and cell.endswith('"]'):
        try:
            texts = json.loads(cell)
        except ValueError:
            return cell
        if all(isinstance(text, str) for text in texts):
            return list(texts)
    return cell
