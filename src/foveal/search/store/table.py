"""The tables of an index in LanceDB: one of pictures, and a small one of notes about the index itself.

A picture is one row, its token set and its regions included, so that a commit holds whole pictures or none of them.
Needs `pip install "foveal[search]"`.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from errno import ESTALE
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..failures import reason_of
from ..lock import alone, is_remote
from .arrow import fixed_lists, flat_numbers, list_members, matrix, unit_rows
from .cells import Cells, Postings, remainder_bytes, remainders, taught
from .features import Features
from .layout import FEATURES, METADATA, Layout, schema

PICTURES, NOTES, CELLS, CODES = "pictures", "about", "{kind}_cells", "coded"
FACTS = b"foveal"  # key of the facts that an index was made with, in the schema of its pictures
ID = "S24"  # ids are 24 hexadecimal digits
FRESH = timedelta(seconds=5)  # an open index sees what another process commits after this long at most
RETENTION = timedelta(hours=1)  # replaced files stay this long, for searches that began before
NPROBES, REFINE = 32, 4  # cells that an approximate search visits; rows per row wanted that it compares in full
APPROXIMATE = 50_000
"""Rows from which on embeddings are searched approximately; below, comparing all of them takes milliseconds."""
CODED = 1_000
"""Rows from which on tokens and regions have a first pass of their own; below, all pictures are compared in full."""


@dataclass(frozen=True)
class Numbered:
    """One version of the table, by row number.

    Attributes:
        table: At this version, whatever is written since.
        version: Its number.
        ids: Of all pictures, sorted.
        rows: The number of each one's row.
    """

    table: Any
    version: int
    ids: np.ndarray
    rows: np.ndarray

    def named(self, ids: Sequence[str], columns: Sequence[str]) -> Any:
        """Return ids and columns of those images that this version has, in the order of the table."""
        import pyarrow as pa

        keys = np.array(ids, dtype=ID)
        places = np.searchsorted(self.ids, keys).clip(max=len(self.ids) - 1)
        places = places[self.ids[places] == keys]
        search = self.table.take_row_ids(self.rows[places].tolist()).select(list(columns))
        rows = search.with_row_id().to_arrow()
        id_of = dict(zip(self.rows[places].tolist(), self.ids[places].tolist(), strict=True))
        names = pa.array([id_of[row].decode() for row in rows["_rowid"].to_pylist()], pa.string())
        return rows.drop_columns("_rowid").append_column("id", names)


class Store:
    """The tables of one index. Filters are trusted here: a user's goes through `sql_of` first."""

    def __init__(self, database: Any, pictures: Any, name: str) -> None:
        self._database, self.pictures, self.name = database, pictures, name
        self._facts = _facts(pictures)
        self.layout = Layout(**self.facts["layout"])

    @staticmethod
    def is_there(index: str | Path) -> bool:
        """True if a folder or an object store holds an index, which the first version of its pictures makes it."""
        if not is_remote(index):
            return any((Path(index) / f"{PICTURES}.lance" / "_versions").glob("*.manifest"))
        return PICTURES in _connect(index).list_tables().tables

    @classmethod
    def open(cls, index: str | Path) -> "Store":
        """Open an existing index.

        Raises:
            ValueError: If there is none, or it is damaged.
        """
        if not cls.is_there(index):
            raise ValueError(f"There is no index in '{index}'. Make one: foveal index FOLDER --out {index}")
        try:
            database = _connect(index)
            return cls(database, database.open_table(PICTURES), str(index))
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{reason_of(error, index)} Make the index again, elsewhere.") from error

    @classmethod
    def create(cls, index: str | Path, layout: Layout, facts: dict[str, Any]) -> "Store":
        """Make a new, empty index, in one commit and under the lock; one that is there is left as it is.

        Args:
            index: A folder, made where there is none, or an object store's URI.
            layout: What it will hold of each picture.
            facts: Other facts about the index. They stand in the schema of the pictures, so that no index is without
                them, and two indices differ in them even if all else is the same.

        Raises:
            ValueError: If an index is there, or another process writes there.
        """
        with alone(index):
            if cls.is_there(index):
                raise ValueError(f"Another process has made '{index}' a moment ago. Run the same command again.")
            return cls._new(index, layout, facts)

    @classmethod
    def _new(cls, index: str | Path, layout: Layout, facts: dict[str, Any]) -> "Store":
        database = _connect(index)
        for name in (NOTES, CODES):  # of an index whose pictures are gone
            database.drop_table(name, ignore_missing=True)
        facts = {**facts, "layout": asdict(layout), "made": uuid4().hex}
        columns = schema(layout).with_metadata({FACTS: json.dumps(facts)})
        return cls(database, database.create_table(PICTURES, schema=columns), str(index))  # never over another

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the index: its model, its source, its background."""
        notes = self._table(NOTES)
        rows = [] if notes is None else notes.search().to_list()
        return {**json.loads(self._facts), **{row["key"]: json.loads(row["value"]) for row in rows}}

    def note(self, **facts: Any) -> None:
        """Remember facts about the index, in one commit."""
        import pyarrow as pa

        self.check(now=True)
        columns = pa.schema(dict.fromkeys(("key", "value"), pa.string()))
        rows = pa.Table.from_pylist([{"key": key, "value": json.dumps(facts[key])} for key in facts], columns)
        table = self._table(NOTES)
        if table is None:
            self._database.create_table(NOTES, rows, mode="overwrite")
        else:
            table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def check(self, *, now: bool = False) -> None:
        """Make sure that the index is the one that was opened.

        Args:
            now: Look at what lies there, not only at what was read of it, which may be as old as `FRESH`.

        Raises:
            OSError: With the number ESTALE, if it was deleted, or another lies in its place.
        """
        try:
            unchanged = _facts(self._database.open_table(PICTURES) if now else self.pictures) == self._facts
        except (RuntimeError, ValueError) as error:
            if "not found" not in str(error).lower():
                raise
            unchanged = False
        if not unchanged:
            raise OSError(ESTALE, "The index was replaced or deleted since it was opened. Open it again.")

    @property
    def versions(self) -> dict[str, int]:
        """Versions of the tables of pictures and of codes, which change as soon as anything is written."""
        codes = self._table(CODES)
        return {PICTURES: self.pictures.version, **({} if codes is None else {CODES: codes.version})}

    def file_states(self) -> dict[str, tuple[int, int, str]]:
        """Return size in bytes, time of change and content hash of every image, by id."""
        columns = ("id", "bytes", "modified", "hash")
        rows = self.pictures.search().select(list(columns)).to_arrow()
        ids, *rest = (rows[name].to_pylist() for name in columns)
        return dict(zip(ids, zip(*rest, strict=True), strict=True))

    def write(self, rows: Any, *, replace: Sequence[str] = ()) -> None:
        """Add whole pictures in one commit.

        Args:
            rows: A pyarrow table, or a reader of batches, of this layout's `schema`.
            replace: Ids of those that are there already, and are replaced.
        """
        self.check(now=True)
        if replace:
            self._uncode(replace)
            self.pictures.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
        else:
            self.pictures.add(rows)

    def forget(self, ids: Sequence[str]) -> None:
        """Delete pictures."""
        self.check(now=True)
        self._uncode(ids)
        for start in range(0, len(ids), 1000):
            self.pictures.delete(_among(ids[start : start + 1000]))

    def finish(self) -> None:
        """Join small files, bring indices up to date, and drop what was replaced a while ago.

        Stopped at any moment, it does the rest when it is called again.
        """
        from lancedb.index import BTree, IvfRq

        self.check(now=True)
        have = {index.name for index in self.pictures.list_indices()}
        count = self.pictures.count_rows()
        if count and "id_idx" not in have:
            self.pictures.create_index("id", config=BTree(), name="id_idx")
        if count >= APPROXIMATE and "embedding_idx" not in have:
            # one bit a number, compared in full afterwards: as good as product quantization, learnt 100 times as fast
            self.pictures.create_index("embedding", config=IvfRq(distance_type="cosine"), name="embedding_idx")
        self.pictures.optimize(cleanup_older_than=RETENTION)
        if count >= CODED:
            self._code()

    def codes(self) -> tuple[np.ndarray, dict[str, Postings]] | None:
        """Return ids, and the first passes over tokens and regions that give their numbers. None for a small index."""
        table = self._table(CODES)
        if table is None:
            return None
        rows = table.to_arrow()
        postings = {}
        for kind, most, width in self._sets:
            left = flat_numbers(rows[f"{kind}_left"]).reshape(len(rows), most, remainder_bytes(width))
            postings[kind] = Postings(self._cells(kind), flat_numbers(rows[kind]).reshape(len(rows), most), left)
        return np.array(rows["id"].to_pylist(), dtype=ID), postings

    def _table(self, name: str) -> Any:
        """Open a table beside the pictures; None if there is none, or it was begun and has no version yet."""
        try:
            return self._database.open_table(name)
        except ValueError:
            return None

    @property
    def _sets(self) -> list[tuple[str, int, int]]:
        """Columns that hold sets, each with its most members per image and their width."""
        layout = self.layout
        sets = [("tokens", layout.tokens, layout.token_width), ("regions", layout.regions, layout.embed_width)]
        return [(kind, most, width) for kind, most, width in sets if most]

    def _code(self) -> None:
        """Find the cells of images that have no codes yet; learn the cells where there are none."""
        import pyarrow as pa

        fields = {"id": pa.string()}
        for kind, most, width in self._sets:
            fields[kind] = pa.list_(pa.uint16(), most)
            fields[f"{kind}_left"] = pa.list_(pa.uint8(), most * remainder_bytes(width))
        table = self._table(CODES)
        if table is None:
            for kind, most, width in self._sets:
                self._keep_cells(kind, self._learn_cells(kind, most, width))
            # last, as it says that there are cells
            table = self._database.create_table(CODES, schema=pa.schema(fields), mode="overwrite")
        kinds = [kind for kind, _, _ in self._sets]
        cells = {kind: self._cells(kind) for kind in kinds}
        coded = set(table.search().select(["id"]).to_arrow()["id"].to_pylist())
        for rows in self.pictures.search().select(["id", *kinds]).to_batches(8192):
            uncoded = rows.filter(pa.array([image_id not in coded for image_id in rows["id"].to_pylist()], pa.bool_()))
            if not len(uncoded):
                continue
            columns = [uncoded["id"]]
            for kind, most, width in self._sets:
                members = unit_rows(uncoded[kind], most, width)
                codes = cells[kind].of(members)
                left = remainders(members, cells[kind].centers[codes])
                columns += [fixed_lists(codes.numpy().astype(np.uint16), most), fixed_lists(left, most * left.shape[1])]
            table.add(pa.table(columns, schema=pa.schema(fields)))
        table.optimize(cleanup_older_than=RETENTION)

    def _learn_cells(self, kind: str, most: int, width: int) -> Cells:
        """Learn cells from members of sets of images all over the table."""
        expected = self.count() * most
        step = max(1, expected // taught(expected))
        generator = torch.Generator().manual_seed(0)
        drawn = []
        for chunk in self.pictures.search().select([kind]).to_batches(8192):
            rows = unit_rows(chunk[kind], most, width)
            drawn.append(rows[torch.randperm(len(rows), generator=generator)[: -(-len(rows) // step)]])
        rows = torch.cat(drawn)
        return Cells.learn(rows[torch.randperm(len(rows), generator=generator)], expected)

    def _cells(self, kind: str) -> Cells:
        """Read the cells of one kind of set."""
        rows = self._database.open_table(CELLS.format(kind=kind)).to_arrow()
        width = rows.schema.field("group").type.list_size
        sizes = tuple(rows["cells"].combine_chunks().value_lengths().to_pylist())
        return Cells(matrix(rows["group"], width), matrix(list_members(rows["cells"]), width), sizes)

    def _keep_cells(self, kind: str, cells: Cells) -> None:
        import pyarrow as pa

        width = cells.centers.shape[1]
        vector = pa.list_(pa.float32(), width)
        ends = pa.array(np.cumsum([0, *cells.sizes]).astype(np.int32))
        members = pa.ListArray.from_arrays(ends, fixed_lists(cells.centers.numpy(), width))
        columns = {"group": fixed_lists(cells.groups.numpy(), width), "cells": members}
        rows = pa.table(columns, schema=pa.schema({"group": vector, "cells": pa.list_(vector)}))
        self._database.create_table(CELLS.format(kind=kind), data=rows, mode="overwrite")

    def _uncode(self, ids: Sequence[str]) -> None:
        """Delete the codes of images, before these change."""
        table = self._table(CODES)
        for start in range(0, len(ids) if table is not None else 0, 1000):
            table.delete(_among(ids[start : start + 1000]))

    def nearest(self, embeddings: Float[Tensor, "B E"], where: str, limit: int) -> list[list[str]]:
        """Return ids of the images whose embeddings are nearest to each query's, best first, all in one search."""
        rows = self._vector_search("embedding", embeddings.numpy(), where, limit)
        if len(embeddings) == 1:
            return [rows["id"].to_pylist()]
        ids: list[list[str]] = [[] for _ in embeddings]
        for query, image_id in zip(rows["query_index"].to_pylist(), rows["id"].to_pylist(), strict=True):
            ids[query].append(image_id)
        return ids

    def nearest_regions(self, phrases: Float[Tensor, "R E"], where: str, limit: int) -> list[str]:
        """Return ids of the images whose regions are nearest to all phrases together, best first."""
        return list(self._vector_search("regions", phrases.numpy(), where, limit)["id"].to_pylist())

    def _vector_search(self, column: str, queries: np.ndarray, where: str, limit: int) -> Any:
        search = self.pictures.search(queries, vector_column_name=column).distance_type("cosine").limit(limit)
        search = search.select(["id", "_distance"]).nprobes(NPROBES).refine_factor(REFINE)
        return (search.where(where) if where else search).to_arrow()

    def passing(self, where: str, ids: Sequence[str] | None = None) -> set[str]:
        """Return ids of the images that pass a filter, of the given ids (default: all)."""
        among = f"({where})" if ids is None else f"{_among(ids)} AND ({where})"
        return set(self.pictures.search().select(["id"]).where(among).to_arrow()["id"].to_pylist())

    def named(self, ids: Sequence[str] | None = None) -> Any:
        """Return metadata and feature columns of the given images (default: all), as a pyarrow table."""
        search = self.pictures.search().select([*METADATA, *FEATURES])
        return (search if ids is None else search.where(_among(ids))).to_arrow()

    def numbered(self) -> "Numbered":
        """Return the images as they are now, by the number of their row, which is found faster than an id."""
        version, table = self.pictures.version, self._database.open_table(PICTURES)
        table.checkout(version)
        rows = table.search().select(["id"]).with_row_id(True).to_arrow()
        ids = np.array(rows["id"].to_pylist(), dtype=ID)
        order = ids.argsort()
        return Numbered(table, version, ids[order], rows["_rowid"].to_numpy()[order])

    def rows(self, ids: Iterable[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return columns of images, in the order of the ids.

        Raises:
            ValueError: If the index has no picture of an id.
        """
        ids = list(ids)
        search = self.pictures.search().select(["id", *columns]).limit(max(1, len(ids)))
        table_rows = search.where(_among(ids)).to_arrow().to_pylist()
        rows = {row["id"]: row for row in table_rows}
        missing = next((image_id for image_id in ids if image_id not in rows), None)
        if missing is not None:
            raise ValueError(f"The index '{self.name}' has no picture '{missing}'.")
        return [rows[image_id] for image_id in ids]

    def first_ids(self, count: int) -> list[str]:
        """Return the ids that come first in order. Ids are hashes, so this is a random sample that stays."""
        ids = self.pictures.search().select(["id"]).to_arrow()["id"]
        return sorted(ids.to_pylist())[:count]

    def features_of(self, ids: Iterable[str]) -> Features:
        """Return features of images, in the order of their ids, whenever each was written."""
        return Features.of(self.named(list(ids)).sort_by("id"), self.layout)

    def count(self, where: str = "") -> int:
        """Return how many images there are, or pass a filter."""
        return int(self.pictures.count_rows(where or None))

    @property
    def small(self) -> bool:
        """True if the images are few enough to compare all of them with every query."""
        return self.count() < CODED


def _connect(index: str | Path) -> Any:
    """Connect LanceDB, an optional package, to a folder or an object store."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of each table that it creates
    try:
        import lancedb
    except ImportError as error:
        raise ValueError("An index needs lancedb. Install it: pip install 'foveal[search]'.") from error
    return lancedb.connect(str(index), read_consistency_interval=FRESH)


def _facts(pictures: Any) -> bytes:
    """Return the facts an index was made with, in JSON, from its schema. An older index has them in its notes."""
    return bytes((pictures.schema.metadata or {}).get(FACTS, b"{}"))


def _among(ids: Sequence[str]) -> str:
    """Build a filter for ids. Ids are letters and digits; others are none of an index and match nothing."""
    quoted = ", ".join(f"'{image_id}'" for image_id in ids if image_id.isalnum())
    return f"id IN ({quoted})" if quoted else "false"
