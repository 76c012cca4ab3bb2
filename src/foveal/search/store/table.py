"""An index in a vector store: a table of pictures, and a small one of notes about the index itself.

A picture is one row, its token set and its regions included, so that a commit holds whole pictures or none of them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from errno import ESTALE
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from jaxtyping import Float

from ..failures import reason_of
from ..lock import alone, is_remote
from .lance import LanceDatabase
from .layout import FEATURES, ID, METADATA, Layout, among, schema
from .protocol import Database, Table
from .snapshot import Snapshot, remove_snapshot, stamp_of

if TYPE_CHECKING:  # these bring torch, which an index that has not changed does not need
    from .cells import Postings
    from .codes import Codes
    from .features import Features

PICTURES, NOTES = "pictures", "about"
FACTS = b"foveal"  # key of the facts that an index was made with, in the schema of its pictures
STATE = ("id", "bytes", "modified", "hash")
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

    table: Table
    version: int
    ids: np.ndarray
    rows: np.ndarray

    def named(self, ids: Sequence[str], columns: Sequence[str]) -> Any:
        """Return ids and columns of those images that this version has, in any order."""
        import pyarrow as pa

        keys = np.array(ids, dtype=ID)
        places = np.searchsorted(self.ids, keys).clip(max=len(self.ids) - 1)
        places = places[self.ids[places] == keys]
        rows = self.table.take(self.rows[places].tolist(), columns)
        id_of = dict(zip(self.rows[places].tolist(), self.ids[places].tolist(), strict=True))
        names = pa.array([id_of[number].decode() for number in rows["number"].to_pylist()], pa.string())
        return rows.drop_columns("number").append_column("id", names)


class Store:
    """The tables of one index. Filters are trusted here: a user's goes through `sql_of` first.

    A small index is read from its snapshot as long as nothing is written to it, so that the vector store is not even
    imported for a search.
    """

    def __init__(self, database: Database, name: str, made: str, snapshot: Snapshot | None = None) -> None:
        """Tie tables to what is known of them. `open` and `create` do so from a name.

        Args:
            database: The tables.
            name: The index's folder or URI.
            made: Facts that it was made with, as JSON.
            snapshot: Of the index, if there is one.
        """
        self._database, self.name, self._made, self._snapshot = database, name, made, snapshot
        self.layout = Layout(**self.facts["layout"])

    @staticmethod
    def is_there(index: str | Path) -> bool:
        """True if a folder or an object store holds an index, which the first version of its pictures makes it."""
        if not is_remote(index):
            return any((Path(index) / f"{PICTURES}.lance" / "_versions").glob("*.manifest"))
        return LanceDatabase(index).open(PICTURES) is not None

    @classmethod
    def open(cls, index: str | Path) -> "Store":
        """Open an existing index.

        Raises:
            ValueError: If there is none, or it is damaged.
        """
        if not cls.is_there(index):
            raise ValueError(f"There is no index in '{index}'. Make one: foveal index FOLDER --out {index}")
        database = LanceDatabase(index)
        try:
            if snapshot := Snapshot.open(index):
                return cls(database, str(index), snapshot.made, snapshot)
            return cls(database, str(index), _made(_pictures(database)))
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
        from .codes import CODES

        database = LanceDatabase(index)
        for name in (NOTES, CODES):  # of an index whose pictures are gone
            database.drop(name)
        made = json.dumps({**facts, "layout": asdict(layout), "made": uuid4().hex})
        database.create(PICTURES, schema(layout).with_metadata({FACTS: made}), replace=False)
        return cls(database, str(index), made)

    @cached_property
    def pictures(self) -> Table:
        """The table of pictures."""
        return _pictures(self._database)

    @cached_property
    def _codes(self) -> "Codes":
        from .codes import Codes

        return Codes(self._database, self.layout)

    @property
    def _current(self) -> Snapshot | None:
        """The snapshot, as long as nobody has written to the index since."""
        if self._snapshot is not None and not self._snapshot.is_current(self.name):
            self._snapshot = None
        return self._snapshot

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the index: its model, its source, its background."""
        if snapshot := self._current:
            return dict(snapshot.facts)
        notes = self._database.open(NOTES)
        rows = [] if notes is None else notes.read().to_pylist()
        return {**json.loads(self._made), **{row["key"]: json.loads(row["value"]) for row in rows}}

    def note(self, **facts: Any) -> None:
        """Remember facts about the index, in one commit."""
        import pyarrow as pa

        self.check(now=True)
        columns = pa.schema(dict.fromkeys(("key", "value"), pa.string()))
        rows = pa.Table.from_pylist([{"key": key, "value": json.dumps(facts[key])} for key in facts], columns)
        table = self._database.open(NOTES)
        if table is None:
            self._database.create(NOTES, rows)
        else:
            table.merge("key", rows)

    def check(self, *, now: bool = False) -> None:
        """Make sure that the index is the one that was opened.

        Args:
            now: Look at what lies there, not only at what was read of it, which may be some seconds old.

        Raises:
            OSError: With the number ESTALE, if it was deleted, or another lies in its place.
        """
        if self._current:
            return
        try:
            unchanged = _made(_pictures(self._database) if now else self.pictures) == self._made
        except (RuntimeError, ValueError) as error:
            if "not found" not in str(error).lower():
                raise
            unchanged = False
        if not unchanged:
            raise _replaced()

    @property
    def version(self) -> int:
        """Version of the table of pictures, which changes as soon as any process writes."""
        snapshot = self._current
        return snapshot.versions[PICTURES] if snapshot else self.pictures.version

    @property
    def versions(self) -> dict[str, int]:
        """Versions of the tables of pictures and of codes, which change as soon as anything is written."""
        if snapshot := self._current:
            return dict(snapshot.versions)
        codes = self._codes.version
        return {PICTURES: self.pictures.version, **({} if codes is None else {"coded": codes})}

    def file_states(self) -> dict[str, tuple[int, int, str]]:
        """Return size in bytes, time of change and content hash of every image, by id."""
        snapshot = self._current
        rows = snapshot.rows if snapshot else self.pictures.read(STATE)
        ids, *rest = (rows[name].to_pylist() for name in STATE)
        return dict(zip(ids, zip(*rest, strict=True), strict=True))

    def write(self, rows: Any, *, replace: Sequence[str] = ()) -> None:
        """Add whole pictures in one commit.

        Args:
            rows: A pyarrow table, or a reader of batches, of this layout's `schema`.
            replace: Ids of those that are there already, and are replaced.
        """
        self.check(now=True)
        if replace:
            self._codes.forget(replace)
            self.pictures.merge("id", rows)
        else:
            self.pictures.add(rows)

    def forget(self, ids: Sequence[str]) -> None:
        """Delete pictures."""
        self.check(now=True)
        if not ids:
            return
        self._codes.forget(ids)
        for start in range(0, len(ids), 1000):
            self.pictures.delete(among(ids[start : start + 1000]))

    def finish(self) -> None:
        """Bring indices and codes up to date. What is read is proportional to what is new.

        Stopped at any moment, it does the rest when it is called again.
        """
        self.check(now=True)
        count = self.count()
        self.pictures.tidy("id" if count else "", ("embedding",) if count >= APPROXIMATE else ())
        if count >= CODED:
            self._codes.update(self.pictures)

    def snap(self) -> None:
        """Write the snapshot of a small index in a folder; of one that has grown, delete it."""
        if is_remote(self.name) or self._current:
            return
        if not self.small:
            remove_snapshot(self.name)
            return
        rows = self.pictures.read([*METADATA, *STATE[1:], *FEATURES])
        snapshot = Snapshot(stamp_of(self.name), self._made, self.facts, self.versions, rows)
        snapshot.write(self.name)

    def codes(self) -> "tuple[np.ndarray, dict[str, Postings]] | None":
        """Return ids, and the first passes over tokens and regions that give their numbers. None for a small index."""
        return None if self._current else self._codes.read()

    def nearest(self, embeddings: Float[np.ndarray, "B E"], where: str, limit: int) -> list[list[str]]:
        """Return ids of the images whose embeddings are nearest to each query's, best first, all in one search."""
        rows = self.pictures.nearest("embedding", embeddings, where, limit)
        if len(embeddings) == 1:
            return [rows["id"].to_pylist()]
        ids: list[list[str]] = [[] for _ in embeddings]
        for query, image_id in zip(rows["query_index"].to_pylist(), rows["id"].to_pylist(), strict=True):
            ids[query].append(image_id)
        return ids

    def nearest_regions(self, phrases: Float[np.ndarray, "R E"], where: str, limit: int) -> list[str]:
        """Return ids of the images whose regions are nearest to all phrases together, best first."""
        return list(self.pictures.nearest("regions", phrases, where, limit)["id"].to_pylist())

    def passing(self, where: str, ids: Sequence[str] | None = None) -> set[str]:
        """Return ids of the images that pass a filter, of the given ids (default: all)."""
        narrowed = f"({where})" if ids is None else f"{among(ids)} AND ({where})"
        return set(self.pictures.read(["id"], narrowed)["id"].to_pylist())

    def named(self, ids: Sequence[str] | None = None) -> Any:
        """Return metadata and feature columns of the given images (default: all), as a pyarrow table."""
        columns = [*METADATA, *FEATURES]
        if snapshot := self._current:
            return (snapshot.rows if ids is None else snapshot.among(ids)).select(columns)
        return self.pictures.read(columns, "" if ids is None else among(ids))

    def numbered(self) -> Numbered:
        """Return the images as they are now, by the number of their row, which is found faster than an id."""
        version = self.pictures.version
        table = self._database.open(PICTURES, version)
        if table is None:
            raise _replaced()
        ids, rows = table.numbered()
        order = ids.argsort()
        return Numbered(table, version, ids[order], rows[order])

    def rows(self, ids: Iterable[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return columns of images, in the order of the ids.

        Raises:
            ValueError: If the index has no picture of an id.
        """
        ids = list(ids)
        rows = {row["id"]: row for row in self.pictures.read(["id", *columns], among(ids)).to_pylist()}
        missing = next((image_id for image_id in ids if image_id not in rows), None)
        if missing is not None:
            raise ValueError(f"The index '{self.name}' has no picture '{missing}'.")
        return [rows[image_id] for image_id in ids]

    def first_ids(self, count: int) -> list[str]:
        """Return the ids that come first in order. Ids are hashes, so this is a random sample that stays."""
        return sorted(self.pictures.read(["id"])["id"].to_pylist())[:count]

    def features_of(self, ids: Iterable[str]) -> "Features":
        """Return features of images, in the order of their ids, whenever each was written."""
        from .features import Features

        return Features.of(self.named(list(ids)).sort_by("id"), self.layout)

    def count(self, where: str = "") -> int:
        """Return how many images there are, or pass a filter."""
        snapshot = None if where else self._current
        return len(snapshot.rows) if snapshot else self.pictures.count(where)

    @property
    def small(self) -> bool:
        """True if the images are few enough to compare all of them with every query."""
        return self.count() < CODED


def _pictures(database: Database) -> Table:
    """Open the table of pictures.

    Raises:
        OSError: With the number ESTALE, if it is gone.
    """
    table = database.open(PICTURES)
    if table is None:
        raise _replaced()
    return table


def _replaced() -> OSError:
    return OSError(ESTALE, "The index was replaced or deleted since it was opened. Open it again.")


def _made(pictures: Table) -> str:
    """Return the facts an index was made with, in JSON, from its schema. An older index has them in its notes."""
    return bytes((pictures.schema.metadata or {}).get(FACTS, b"{}")).decode()
