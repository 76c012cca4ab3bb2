"""The first pass: which pictures are worth a comparison in full."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .compare import Want
from .query import Mode
from .store import COMPARED, TOLD, Looks, Numbered, Store

log = logging.getLogger(__name__)

COLUMNS: dict[Mode, tuple[str, ...]] = {
    "global": ("embedding",),
    "late": ("tokens",),
    "region": ("regions", "boxes"),
    "fused": COMPARED,
}
"""What of a picture is compared in each mode."""


@dataclass(frozen=True)
class Shortlist:
    """Pictures that are to be compared in full.

    Attributes:
        ids: Which.
        looks: What the mode compares of them.
        read: Gives what is told of some pictures, as a pyarrow table, and how they look in all modes.
    """

    ids: list[str]
    looks: Looks
    read: Callable[[Sequence[str]], tuple[Any, Looks]]

    def __len__(self) -> int:
        return len(self.ids)

    def best(self, places: Tensor) -> tuple[list[dict[str, Any]], Looks]:
        """What is told of some of them, and how they look in all modes, in this order."""
        wanted = [self.ids[place] for place in places.tolist()]
        rows, looks = self.read(wanted)
        order = _places(rows, wanted)
        return rows.select(TOLD).take(order.numpy()).to_pylist(), looks.at(order)


class FirstPass:
    """Shortlists by whole embeddings (LanceDB), by token sets and by regions (cells). Small indices need none.

    Pictures without cells, as they were added since, are found by their embeddings alone.
    """

    def __init__(self, store: Store) -> None:
        """Get ready for an index.

        Args:
            store: The index.
        """
        self._store, self._codes = store, store.codes()
        self._numbered = None if store.small else store.numbered()
        coded, count = 0 if self._codes is None else len(self._codes[0]), store.count()
        self._all_coded = coded == count
        if not store.small and not self._all_coded:
            log.warning(
                "%d of %d pictures are found by their whole embedding alone until foveal index has run again.",
                count - coded,
                count,
            )
        self._kept: tuple[int, Any, Looks] | None = None

    def __call__(self, queries: Sequence[Sequence[Want]], mode: Mode, where: str, limit: int) -> list[Shortlist]:
        """Shortlists of queries, each best first. Whatever their number, the index is asked a few times.

        Args:
            queries: What each looks for; each want brings its own pictures.
            mode: How pictures will be compared.
            where: A query's `sql`. Empty: none.
            limit: Pictures wanted from a search.
        """
        if self._store.small:
            return self._everything(len(queries), where)
        wants, numbered = [want for own in queries for want in own], self._as_opened
        if where and self._store.count(where) <= limit:
            found = [sorted(self._store.passing(where))] * len(wants)
        else:
            found = self._by_sets(wants, mode, where, limit)
            coded = self._all_coded and numbered is not None
            if mode in ("global", "fused") or not coded or min(map(len, found)) < limit:
                nearest = self._store.nearest(torch.stack([want.embedding for want in wants]), where, limit)
                found = [[*first, *then] for first, then in zip(nearest, found, strict=True)]
        rest = iter(found)
        shortlists = [dict.fromkeys(each for _ in own for each in next(rest)) for own in queries]
        wanted = list(dict.fromkeys(each for own in shortlists for each in own))
        rows, looks, read = self._read(wanted, mode, numbered)
        place = {each: number for number, each in enumerate(rows["id"].to_pylist())}
        # a picture may have been deleted since it was found
        kept = [[each for each in own if each in place] for own in shortlists]
        return [Shortlist(own, looks.at(_places(rows, own)), read) for own in kept]

    def _read(
        self, ids: Sequence[str], mode: Mode, own: Numbered | None
    ) -> tuple[Any, Looks, Callable[[Sequence[str]], tuple[Any, Looks]]]:
        """Rows with what a mode compares, and what reads the rest of some: later, where numbers still hold."""
        if own is None:
            rows = self._store.named(ids)
            looks = self._store.looks(rows)
            return rows, looks, lambda _: (rows, looks)
        rows = own.named(ids, COLUMNS[mode])

        def rest(some: Sequence[str]) -> tuple[Any, Looks]:
            found = own.named(some, (*TOLD[1:], *COMPARED))
            return found, self._store.looks(found)

        return rows, self._store.looks(rows), rest

    @property
    def _as_opened(self) -> Numbered | None:
        """The rows by number, as long as nobody has written since."""
        own = self._numbered
        return own if own is not None and own.version == self._store.pictures.version else None

    def _everything(self, count: int, where: str) -> list[Shortlist]:
        """All pictures, kept in memory as long as the index stays as it is."""
        version = self._store.pictures.version
        kept = self._kept
        if kept is None or kept[0] != version:
            rows = self._store.named()
            kept = self._kept = version, rows.select(TOLD), self._store.looks(rows)
        _, rows, looks = kept
        ids = rows["id"].to_pylist()
        if not where:
            return [Shortlist(ids, looks, lambda _: (rows, looks))] * count
        passing = self._store.passing(where)
        some = [each for each in ids if each in passing]
        return [Shortlist(some, looks.at(_places(rows, some)), lambda _: (rows, looks))] * count

    def _by_sets(self, wants: Sequence[Want], mode: Mode, where: str, limit: int) -> list[list[str]]:
        """By late interaction of tokens and of regions with the centers of cells."""
        some = limit if mode in ("late", "region") else limit // 2
        parts = {"late": ("tokens",), "region": ("regions",), "fused": ("tokens", "regions")}.get(mode, ())
        if self._codes is None:  # stopped before it was finished
            slow = "regions" in parts
            return [self._store.nearest_regions(want.phrases, where, some) if slow else [] for want in wants]
        ids, postings = self._codes
        sets = [{"tokens": want.tokens, "regions": want.phrases} for want in wants]
        # with a filter, more are asked for than are wanted, as some will not pass it
        most = some if not where else 10 * some
        found = [
            [[each.decode() for each in ids[postings[part].nearest(own[part], most)].tolist()] for part in parts]
            for own in sets
        ]
        if where:
            passing = self._store.passing(where, list({each for own in found for part in own for each in part}))
            found = [[[each for each in part if each in passing][:some] for part in own] for own in found]
        return [[each for part in own for each in part] for own in found]


def _places(rows: Any, ids: Sequence[str]) -> Tensor:
    """Where pictures stand in a table that has all of them."""
    place = {each: number for number, each in enumerate(rows["id"].to_pylist())}
    return torch.tensor([place[each] for each in ids], dtype=torch.long)
