"""The vector store of an index in LanceDB, an optional package that this file alone imports."""

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .layout import ID

FRESH = timedelta(seconds=5)  # an open table sees what another process commits after this long at most
RETENTION = timedelta(hours=1)  # replaced files stay this long, for searches that began before
NPROBES, REFINE = 32, 4  # cells that an approximate search visits; rows per row wanted that it compares in full
LOOSE = (
    8  # files are joined once a row in so many lies outside the largest, so that a row is rewritten a few times only
)
FILES = 100  # or once there are so many


class LanceTable:
    """A table of LanceDB."""

    def __init__(self, table: Any) -> None:
        self._table = table

    @property
    def schema(self) -> Any:
        """The columns."""
        return self._table.schema

    @property
    def version(self) -> int:
        """Number of the last commit."""
        return int(self._table.version)

    def count(self, where: str = "") -> int:
        """Return how many rows pass a filter."""
        return int(self._table.count_rows(where or None))

    def read(self, columns: Sequence[str] | None = None, where: str = "") -> Any:
        """Return columns of the rows that pass a filter."""
        search = self._table.search()
        search = search if columns is None else search.select(list(columns))
        return (search.where(where) if where else search).to_arrow()

    def batches(self, columns: Sequence[str], size: int) -> Iterator[Any]:
        """Yield columns of all rows."""
        yield from self._table.search().select(list(columns)).to_batches(size)

    def numbered(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids and the numbers of all rows."""
        rows = self._table.search().select(["id"]).with_row_id(True).to_arrow()
        return np.array(rows["id"].to_pylist(), dtype=ID), rows["_rowid"].to_numpy()

    def take(self, numbers: Sequence[int], columns: Sequence[str]) -> Any:
        """Return columns of rows by number."""
        rows = self._table.take_row_ids(list(numbers)).select(list(columns)).with_row_id().to_arrow()
        return rows.rename_columns({"_rowid": "number"})

    def nearest(self, column: str, queries: np.ndarray, where: str, limit: int) -> Any:
        """Return ids by cosine, best first."""
        search = self._table.search(queries, vector_column_name=column).distance_type("cosine").limit(limit)
        search = search.select(["id", "_distance"]).nprobes(NPROBES).refine_factor(REFINE)
        return (search.where(where) if where else search).to_arrow()

    def add(self, rows: Any) -> None:
        """Add rows."""
        self._table.add(rows)

    def merge(self, key: str, rows: Any) -> None:
        """Add or replace rows."""
        self._table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def delete(self, where: str) -> None:
        """Delete rows."""
        self._table.delete(where)

    def tidy(self, key: str = "", vectors: Sequence[str] = ()) -> None:
        """Bring indices up to date and join small files, unless so little is new that it is found as fast without."""
        from lancedb.index import BTree, IvfRq

        names = {index.name for index in self._table.list_indices()}
        made = False
        if key and f"{key}_idx" not in names:
            self._table.create_index(key, config=BTree(), name=f"{key}_idx")
            made = True
        for column in vectors:
            if f"{column}_idx" not in names:
                # one bit a number, compared in full afterwards: as good as product quantization, learnt in a hundredth
                self._table.create_index(column, config=IvfRq(distance_type="cosine"), name=f"{column}_idx")
                made = True
        if made or self._loose:
            self._table.optimize(cleanup_older_than=RETENTION)

    @property
    def _loose(self) -> bool:
        """True if much of the table lies in small files."""
        files = self._table.stats()["fragment_stats"]
        count, largest = self._table.count_rows(), files["lengths"]["max"]
        return bool(files["num_fragments"] > FILES or LOOSE * (count - largest) >= count)


class LanceDatabase:
    """The tables of an index in a folder or an object store."""

    def __init__(self, index: str | Path) -> None:
        """Name the place; it is connected when a table is asked for.

        Args:
            index: A folder or an object store's URI.
        """
        self.index = str(index)

    @cached_property
    def _connection(self) -> Any:
        os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of each table that it creates
        try:
            import lancedb
        except ImportError as error:
            raise ValueError("An index needs lancedb. Install it: pip install 'foveal[search]'.") from error
        return lancedb.connect(self.index, read_consistency_interval=FRESH)

    def open(self, name: str, version: int | None = None) -> LanceTable | None:
        """Return a table; None if there is none."""
        connection = self._connection
        try:
            table = connection.open_table(name)
            if version is not None:
                table.checkout(version)
            return LanceTable(table)
        except ValueError:
            return None
        except RuntimeError as error:
            if "not found" in str(error).lower():
                return None
            raise

    def create(self, name: str, rows: Any, *, replace: bool = True) -> LanceTable:
        """Make a table of rows, or an empty one of a schema."""
        import pyarrow as pa

        content = {"schema": rows} if isinstance(rows, pa.Schema) else {"data": rows}
        return LanceTable(self._connection.create_table(name, **content, mode="overwrite" if replace else "create"))

    def drop(self, name: str) -> None:
        """Delete a table if it is there."""
        self._connection.drop_table(name, ignore_missing=True)
