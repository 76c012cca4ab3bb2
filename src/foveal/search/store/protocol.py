"""What an index asks of a vector store. LanceDB is one: see `lance`."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Table(Protocol):
    """One table. Rows come and go as pyarrow's; filters are SQL over the plain columns.

    A commit is whole or not there. What another process commits is seen after a few seconds at most.
    """

    @property
    def schema(self) -> Any:
        """The columns, and bytes by key that the table was made with."""

    @property
    def version(self) -> int:
        """Number of the last commit."""

    def count(self, where: str = "") -> int:
        """Return how many rows pass a filter."""

    def read(self, columns: Sequence[str] | None = None, where: str = "") -> Any:
        """Return columns (default: all) of the rows that pass a filter, in the order of the table."""

    def batches(self, columns: Sequence[str], size: int) -> Iterator[Any]:
        """Yield columns of all rows as record batches, never all in memory."""

    def numbered(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all rows, as bytes, and the number of each row."""

    def take(self, numbers: Sequence[int], columns: Sequence[str]) -> Any:
        """Return columns of rows by number, with the numbers as column "number", in any order. Reads nothing else."""

    def nearest(self, column: str, queries: np.ndarray, where: str, limit: int) -> Any:
        """Return columns "id" and, of several queries, "query_index": by cosine, best first, among what passes."""

    def add(self, rows: Any) -> None:
        """Add rows, a table or a reader of batches, in one commit."""

    def merge(self, key: str, rows: Any) -> None:
        """Add rows in one commit; one whose key is there replaces it."""

    def delete(self, where: str) -> None:
        """Delete rows in one commit."""

    def tidy(self, key: str = "", vectors: Sequence[str] = ()) -> None:
        """Bring indices of a key and of vectors up to date, and join small files where that is worth what it reads."""


@runtime_checkable
class Database(Protocol):
    """The tables of one index, by name. Nothing is connected before it is needed."""

    def open(self, name: str, version: int | None = None) -> Table | None:
        """Return a table, at a version whatever is written since; None if there is none, or it has no commit yet."""

    def create(self, name: str, rows: Any, *, replace: bool = True) -> Table:
        """Make a table of rows, or an empty one of a schema; without `replace`, never over another."""

    def drop(self, name: str) -> None:
        """Delete a table if it is there."""
