"""The first pass: which pictures are worth a comparison in full."""

from collections.abc import Sequence
from typing import Any

import torch

from .compare import Want
from .query import Mode
from .store import TOLD, Looks, Store

Shortlist = tuple[Any, Looks]
"""Pictures that are to be compared in full: what is told of them, as a pyarrow table, and how they look."""


class FirstPass:
    """Shortlists by whole embeddings (LanceDB), by token sets and by regions (cells). Small indices need none.

    Pictures without cells, as they were added since, are found by their embeddings alone.
    """

    def __init__(self, store: Store) -> None:
        """Get ready for an index.

        Args:
            store: The index.
        """
        self._store, self._version, self._codes = store, store.pictures.version, store.codes()
        self._all_coded = self._codes is not None and len(self._codes[0]) == store.count()
        self._kept: tuple[int, Any, Looks] | None = None

    def __call__(self, queries: Sequence[Sequence[Want]], mode: Mode, where: str, limit: int) -> list[Shortlist]:
        """Shortlists of queries, each best first. Whatever their number, the index is asked a few times.

        Args:
            queries: What each looks for; each want brings its own pictures.
            mode: How pictures will be compared.
            where: An SQL filter. Empty: none.
            limit: Pictures wanted from a search.

        Raises:
            ValueError: If the filter is no SQL over the index's columns.
        """
        if self._store.small:
            return self._everything(len(queries), where)
        wants = [want for own in queries for want in own]
        if where and self._store.count(where) <= limit:
            found = [sorted(self._store.passing(where))] * len(wants)
        else:
            found = self._by_sets(wants, mode, where, limit)
            coded = self._all_coded and self._version == self._store.pictures.version
            if mode in ("global", "fused") or not coded or min(map(len, found)) < limit:
                nearest = self._store.nearest(torch.stack([want.embedding for want in wants]), where, limit)
                found = [[*first, *then] for first, then in zip(nearest, found, strict=True)]
        rest = iter(found)
        shortlists = [dict.fromkeys(each for _ in own for each in next(rest)) for own in queries]
        rows = self._store.named(list(dict.fromkeys(each for own in shortlists for each in own)))
        place = {each: number for number, each in enumerate(rows["id"].to_pylist())}
        looks, told = self._store.looks(rows), rows.select(TOLD)
        # a picture may have been deleted since it was found
        return [_some(told, looks, [place[each] for each in own if each in place]) for own in shortlists]

    def _everything(self, count: int, where: str) -> list[Shortlist]:
        """All pictures, kept in memory as long as the index stays as it is."""
        version = self._store.pictures.version
        kept = self._kept
        if kept is None or kept[0] != version:
            rows = self._store.named()
            kept = self._kept = version, rows.select(TOLD), self._store.looks(rows)
        _, rows, looks = kept
        if not where:
            return [(rows, looks)] * count
        passing = self._store.passing(where)
        places = [place for place, each in enumerate(rows["id"].to_pylist()) if each in passing]
        return [_some(rows, looks, places)] * count

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


def _some(rows: Any, looks: Looks, places: list[int]) -> Shortlist:
    numbers = torch.tensor(places, dtype=torch.long)
    return rows.take(numbers.numpy()), looks.at(numbers)
