"""A file of rows whose samples are read by number. Only the places of their rows are kept in memory."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ...types import Sample
from .fields import BY_NAME, MOST_LISTED, Columns
from .rows import identity_of, joined, picture_of, sample_from_row, unit_of


class RowFile(ABC):
    """Samples of a file of rows, one by one or by number. Image paths start from the folder of pictures.

    Rows of one image are one sample, with the captions and regions of all of them, in the order of first mention and
    by the first one's id. What a sample can hold only once keeps rows apart: a second, other long caption of an image
    begins a sample of its own, and so does a row with hard negatives of its caption. An id that an earlier sample has
    gets a number behind it ("7", "7#2").

    28 bytes are kept in memory: 16 a row and 12 a sample.
    """

    path: Path
    columns: Columns = BY_NAME

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples, in the order of first mention.

        Raises:
            ValueError: If a row is broken. The message names file and row.
        """
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Sample:
        """Return a sample by its number.

        Raises:
            ValueError: If its row is broken. The message names file and row.
        """
        sample = joined([self._sample(start, place) for start, place in self._places.rows(index)])
        earlier = int(self._places.namesakes[index])
        return replace(sample, id=f"{sample.id}#{earlier + 1}") if earlier else sample

    @property
    def rows(self) -> int:
        """The number of rows that the samples are made of; each row belongs to exactly one."""
        return len(self._places.lines)

    def check(self) -> None:
        """Look whether the columns are known, as far into the file as it takes: mostly to its first row.

        Raises:
            ValueError: If no row has an image, or a column that was named is nowhere.
        """
        names = dict.fromkeys(self.names())
        for _, _, content in () if names else self.scan():
            with suppress(ValueError):  # its sample says what is wrong with it
                names.update(dict.fromkeys(self.parse(content)))
            if self.columns.are_in(names):
                return
        if names:
            self.columns.check(names, self.path)

    def names(self) -> Iterable[str]:
        """Return the names of the columns where the file has a header."""
        return ()

    @abstractmethod
    def scan(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield of each row where it begins, a second number that helps to read and to name it, and its bytes."""

    @abstractmethod
    def read(self, start: int, place: int) -> bytes:
        """Return the bytes of a row."""

    @abstractmethod
    def parse(self, content: bytes) -> Mapping[str, Any]:
        """Return what a row says.

        Raises:
            ValueError: If it is broken.
        """

    @abstractmethod
    def name(self, start: int, place: int) -> str:
        """Return how messages name a row, behind the file's name."""

    @property
    @abstractmethod
    def root(self) -> Path:
        """The folder that paths of images start from."""

    def _sample(self, start: int, place: int) -> Sample:
        """Return the sample of one row alone."""
        try:
            row = self.parse(self.read(start, place))
            image = picture_of(row, self.columns)
            if isinstance(image, bytes):
                raise ValueError("'image' must be a path")  # noqa: TRY004  # a user's mistake
            return sample_from_row(row, self.root / image, self.columns, id=image)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path}{self.name(start, place)}: not a sample: {error}") from error

    @cached_property
    def _places(self) -> "Places":
        """The places of each sample's rows.

        Raises:
            ValueError: If no row has an image, or a column that was named is nowhere.
        """
        mentions = _Mentions()
        names = dict.fromkeys(self.names())
        for start, place, content in self.scan():
            try:
                row = self.parse(content)
            except ValueError:  # its sample says what is wrong with it
                row = {}
            mentions.add(start, place, row, self.columns)
            if len(names) < 50 * MOST_LISTED:
                names.update(dict.fromkeys(row))
        if names:
            self.columns.check(names, self.path)
        return mentions.places()


@dataclass(frozen=True)
class Places:
    """The places of each sample's rows.

    Attributes:
        lines: Of each row, where it begins and a second number; those of a sample behind one another.
        first: Of each sample its first row, and in the end the number of rows.
        namesakes: How many earlier samples have the same id.
    """

    lines: Int[np.ndarray, "rows 2"]
    first: Int[np.ndarray, " _"]
    namesakes: Int[np.ndarray, " samples"]

    def __len__(self) -> int:
        return len(self.namesakes)

    def rows(self, index: int) -> list[list[int]]:
        """Return the two numbers of each row of a sample.

        Raises:
            IndexError: If there is no such sample.
        """
        index = range(len(self))[index]
        rows: list[list[int]] = self.lines[self.first[index] : self.first[index + 1]].tolist()
        return rows


class _Mentions:
    """Notes on all rows of a file, taken in one pass: five numbers each."""

    def __init__(self) -> None:
        self.lines, self.images, self.longs, self.ids = array("q"), array("q"), array("q"), array("q")

    def add(self, start: int, place: int, row: Mapping[str, Any], columns: Columns) -> None:
        """Note a row. One that is broken, or cannot share its sample, gets an image of its own."""
        image: str | bytes | tuple[int] = (start,)
        identity, long = identity_of(row, columns), ""
        with suppress(ValueError):  # its sample says what is wrong with it
            identity = identity or str(picture_of(row, columns))
            image, long = unit_of(row, columns)
        self.lines.extend((start, place))
        self.images.append(hash(image))
        self.longs.append(hash(long) if long else 0)
        self.ids.append(hash(identity or (start,)))

    def places(self) -> Places:
        """Put the rows of each sample together."""
        images, longs, ids = (np.array(numbers, np.int64) for numbers in (self.images, self.longs, self.ids))
        units = images ^ np.where(longs == _first_of_each(images, longs), 0, longs)
        _, leads, sample = np.unique(units, return_index=True, return_inverse=True)
        number = np.empty(len(leads), np.int64)
        number[np.argsort(leads)] = np.arange(len(leads))  # in the order of first mention
        sample = number[sample]
        order = np.argsort(sample, kind="stable")
        first = np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=len(leads)))]).astype(np.int64)
        lines = np.array(self.lines, np.int64).reshape(-1, 2)[order]
        return Places(lines, first, _earlier(ids[order[first[:-1]]] if len(leads) else ids))


def _first_of_each(keys: Int[np.ndarray, " rows"], values: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Return for each row the first value but 0 among the rows with its key; 0 if there is none."""
    _, group = np.unique(keys, return_inverse=True)
    filled = np.flatnonzero(values)
    groups, place = np.unique(group[filled], return_index=True)
    first = np.zeros(len(keys), np.int64)
    first[groups] = values[filled[place]]
    return first[group]


def _earlier(keys: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Count for each value the earlier ones that are equal to it."""
    order = np.argsort(keys, kind="stable")
    runs = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] - 1))
    starts = np.repeat(runs, np.diff(np.append(runs, len(keys))))
    earlier = np.empty(len(keys), np.int32)
    earlier[order] = np.arange(len(keys)) - starts
    return earlier
