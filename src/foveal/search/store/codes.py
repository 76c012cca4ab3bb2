"""The tables of cells and codes: what the first pass over tokens and regions reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .arrow import fixed_lists, flat_numbers, list_members
from .cells import Cells, Postings, remainder_bytes, remainders, taught
from .layout import ID, Layout, among
from .protocol import Database, Table
from .tensors import matrix, unit_rows

CELLS, CODES = "{kind}_cells", "coded"
_CHUNK = 8192  # images in memory at once


class Codes:
    """Cells of an index's token sets and regions, and the codes of all images that have some."""

    def __init__(self, database: Database, layout: Layout) -> None:
        """Name the tables, which may not be there yet.

        Args:
            database: Of the index.
            layout: What the index holds of each image.
        """
        self._database = database
        sets = [("tokens", layout.tokens, layout.token_width), ("regions", layout.regions, layout.embed_width)]
        self._sets = [(kind, most, width) for kind, most, width in sets if most]

    @property
    def version(self) -> int | None:
        """Number of the last commit of codes; None if there are none."""
        table = self._database.open(CODES)
        return None if table is None else table.version

    def read(self) -> tuple[np.ndarray, dict[str, Postings]] | None:
        """Return ids, and the first passes over tokens and regions that give their numbers."""
        table = self._database.open(CODES)
        if table is None:
            return None
        rows = table.read()
        postings = {}
        for kind, most, width in self._sets:
            left = flat_numbers(rows[f"{kind}_left"]).reshape(len(rows), most, remainder_bytes(width))
            postings[kind] = Postings(self.cells(kind), flat_numbers(rows[kind]).reshape(len(rows), most), left)
        return np.array(rows["id"].to_pylist(), dtype=ID), postings

    def update(self, pictures: Table) -> None:
        """Code the images that have no codes yet, which are read alone; learn the cells where there are none.

        Args:
            pictures: The table of pictures.
        """
        table = self._database.open(CODES) or self._new(pictures)
        cells = {kind: self.cells(kind) for kind, _, _ in self._sets}
        ids, numbers = pictures.numbered()
        coded = np.array(table.read(["id"])["id"].to_pylist(), dtype=ID)
        uncoded = numbers[~np.isin(ids, coded)]
        for start in range(0, len(uncoded), _CHUNK):
            rows = pictures.take(uncoded[start : start + _CHUNK].tolist(), ["id", *cells])
            table.add(self._coded(rows, cells))
        table.tidy()

    def forget(self, ids: Sequence[str]) -> None:
        """Delete the codes of images, before these change."""
        table = self._database.open(CODES) if ids else None
        for start in range(0, len(ids) if table is not None else 0, 1000):
            assert table is not None
            table.delete(among(ids[start : start + 1000]))

    def drop(self) -> None:
        """Delete the codes of an index whose pictures are gone."""
        self._database.drop(CODES)

    def cells(self, kind: str) -> Cells:
        """Read the cells of one kind of set.

        Raises:
            OSError: If they are gone.
        """
        table = self._database.open(CELLS.format(kind=kind))
        if table is None:
            raise OSError(f"The cells of {kind} are gone.")
        rows = table.read()
        width = rows.schema.field("group").type.list_size
        sizes = tuple(rows["cells"].combine_chunks().value_lengths().to_pylist())
        return Cells(matrix(rows["group"], width), matrix(list_members(rows["cells"]), width), sizes)

    def _new(self, pictures: Table) -> Table:
        """Learn the cells, then make an empty table of codes, which says that there are cells."""
        for kind, most, width in self._sets:
            self._keep(kind, self._learn(pictures, kind, most, width))
        return self._database.create(CODES, self._schema)

    @property
    def _schema(self) -> Any:
        import pyarrow as pa

        fields = {"id": pa.string()}
        for kind, most, width in self._sets:
            fields[kind] = pa.list_(pa.uint16(), most)
            fields[f"{kind}_left"] = pa.list_(pa.uint8(), most * remainder_bytes(width))
        return pa.schema(fields)

    def _coded(self, rows: Any, cells: dict[str, Cells]) -> Any:
        """Return the codes of rows of pictures."""
        import pyarrow as pa

        columns = [rows["id"]]
        for kind, most, width in self._sets:
            members = unit_rows(rows[kind], most, width)
            codes = cells[kind].of(members)
            left = remainders(members, cells[kind].centers[codes])
            columns += [fixed_lists(codes.numpy().astype(np.uint16), most), fixed_lists(left, most * left.shape[1])]
        return pa.table(columns, schema=self._schema)

    def _learn(self, pictures: Table, kind: str, most: int, width: int) -> Cells:
        """Learn cells from members of sets of images all over the table."""
        expected = pictures.count() * most
        step = max(1, expected // taught(expected))
        generator = torch.Generator().manual_seed(0)
        drawn = []
        for chunk in pictures.batches([kind], _CHUNK):
            rows = unit_rows(chunk[kind], most, width)
            drawn.append(rows[torch.randperm(len(rows), generator=generator)[: -(-len(rows) // step)]])
        rows = torch.cat(drawn)
        return Cells.learn(rows[torch.randperm(len(rows), generator=generator)], expected)

    def _keep(self, kind: str, cells: Cells) -> None:
        import pyarrow as pa

        width = cells.centers.shape[1]
        vector = pa.list_(pa.float32(), width)
        ends = pa.array(np.cumsum([0, *cells.sizes]).astype(np.int32))
        members = pa.ListArray.from_arrays(ends, fixed_lists(cells.centers.numpy(), width))
        columns = {"group": fixed_lists(cells.groups.numpy(), width), "cells": members}
        rows = pa.table(columns, schema=pa.schema({"group": vector, "cells": pa.list_(vector)}))
        self._database.create(CELLS.format(kind=kind), rows)
