"""The first pass of a search: a shortlist of images that are worth a comparison in full."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..encoder.scores import Needs
from .query import MODES
from .scoring import EncodedQuery
from .store import FEATURES, METADATA, Numbered, Store
from .store.arrow import taken
from .store.features import Features

log = logging.getLogger(__name__)

_COLUMNS = {"tokens": ("tokens",), "regions": ("regions", "boxes"), "phrases": ()}


@dataclass(frozen=True)
class Shortlist:
    """Images that are to be compared in full.

    Attributes:
        ids: Of the images.
        features: Those that the mode compares.
        read: Gives metadata of images, as a pyarrow table, and their features for all modes.
    """

    ids: list[str]
    features: Features
    read: Callable[[Sequence[str]], tuple[Any, Features]]

    def __len__(self) -> int:
        return len(self.ids)

    def best(self, places: Tensor) -> tuple[list[dict[str, Any]], Features]:
        """Return metadata of some of the images, and their features for all modes, in this order."""
        ids = [self.ids[place] for place in places.tolist()]
        rows, features = self.read(ids)
        order = _places(rows, ids)
        return taken(rows.select(METADATA), order.numpy()).to_pylist(), features.select(order)


class FirstPass:
    """Shortlists by whole embeddings (LanceDB), by token sets and by regions (cells). Small indices need none.

    Images without cells, as they were added since, are found by their embeddings alone.
    """

    def __init__(self, store: Store, accuracy: float = 1.0) -> None:
        """Get ready for an index.

        Args:
            store: The index.
            accuracy: How many times as many images are looked at closely as by default.
        """
        self._store, self._accuracy, self._codes = store, accuracy, store.codes()
        self._numbered = None if store.small else store.numbered()
        coded, count = 0 if self._codes is None else len(self._codes[0]), store.count()
        self._all_coded = coded == count
        if not store.small and not self._all_coded:
            log.warning(
                "%d of %d pictures are found by their whole embedding alone until foveal index has run again.",
                count - coded,
                count,
            )
        self._in_memory: tuple[int, Any, Features] | None = None

    def __call__(self, queries: Sequence[Sequence[EncodedQuery]], mode: str, where: str, limit: int) -> list[Shortlist]:
        """Return shortlists of queries, each best first. Whatever their number, the index is searched a few times.

        Args:
            queries: The encoded parts of each query; each part brings its own images.
            mode: How images will be compared.
            where: A query's `sql`. Empty: none.
            limit: Images asked of a search.
        """
        if self._store.small:
            return self._everything(len(queries), where)
        encoded, numbered = [query for parts in queries for query in parts], self._as_opened
        if where and self._store.count(where) <= limit:
            id_lists = [sorted(self._store.passing(where))] * len(encoded)
        else:
            id_lists = self._by_sets(encoded, mode, where, limit)
            coded = self._all_coded and numbered is not None
            if not coded or min(map(len, id_lists)) < limit:
                nearest = self._store.nearest(torch.stack([query.embedding for query in encoded]).numpy(), where, limit)
                id_lists = [[*first, *then] for first, then in zip(nearest, id_lists, strict=True)]
        rest = iter(id_lists)
        shortlists = [dict.fromkeys(image_id for _ in parts for image_id in next(rest)) for parts in queries]
        distinct = list(dict.fromkeys(image_id for shortlist in shortlists for image_id in shortlist))
        needs: Needs = frozenset().union(*(MODES[query.mode(mode)].needs for query in encoded))
        rows, features, read = self._read(distinct, columns_of(needs), numbered)
        place = {image_id: number for number, image_id in enumerate(rows["id"].to_pylist())}
        # an image may have been deleted since it was found
        present = [[image_id for image_id in shortlist if image_id in place] for shortlist in shortlists]
        return [Shortlist(ids, features.select(_places(rows, ids)), read) for ids in present]

    def _read(
        self, ids: Sequence[str], columns: Sequence[str], numbered: Numbered | None
    ) -> tuple[Any, Features, Callable[[Sequence[str]], tuple[Any, Features]]]:
        """Read what is compared of images. Also return a function that reads the rest of some of them later."""
        if numbered is None:
            rows = self._store.named(ids)
            features = Features.of(rows, self._store.layout)
            return rows, features, lambda _: (rows, features)
        rows = numbered.named(ids, columns)

        def rest(subset: Sequence[str]) -> tuple[Any, Features]:
            table = numbered.named(subset, (*METADATA[1:], *FEATURES))
            return table, Features.of(table, self._store.layout)

        return rows, Features.of(rows, self._store.layout), rest

    @property
    def _as_opened(self) -> Numbered | None:
        """Rows by number, as long as nobody has written since."""
        numbered = self._numbered
        return numbered if numbered is not None and numbered.version == self._store.version else None

    def _everything(self, count: int, where: str) -> list[Shortlist]:
        """Return all images, kept in memory as long as the index stays as it is."""
        version = self._store.version
        in_memory = self._in_memory
        if in_memory is None or in_memory[0] != version:
            rows = self._store.named()
            in_memory = self._in_memory = version, rows.select(METADATA), Features.of(rows, self._store.layout)
        _, rows, features = in_memory
        ids = rows["id"].to_pylist()
        if not where:
            return [Shortlist(ids, features, lambda _: (rows, features))] * count
        passing = self._store.passing(where)
        passing_ids = [image_id for image_id in ids if image_id in passing]
        return [Shortlist(passing_ids, features.select(_places(rows, passing_ids)), lambda _: (rows, features))] * count

    def _by_sets(self, queries: Sequence[EncodedQuery], mode: str, where: str, limit: int) -> list[list[str]]:
        """Search by late interaction of tokens or regions with the centers of cells; not in modes that compare none.

        Where half of a score is the cosine, half of the images come from here.
        """
        share = limit // 2 if mode == "fused" else limit
        id_lists = [self._by_set(query, query.mode(mode), where, share) for query in queries]
        if not where or not any(id_lists):
            return id_lists
        passing = self._store.passing(where, list({image_id for ids in id_lists for image_id in ids}))
        return [[image_id for image_id in ids if image_id in passing][:share] for ids in id_lists]

    def _by_set(self, query: EncodedQuery, mode: str, where: str, limit: int) -> list[str]:
        needs = MODES[mode].needs
        if not needs:
            return []
        if self._codes is None:  # stopped before it was finished
            return self._store.nearest_regions(query.phrases.numpy(), where, limit) if "regions" in needs else []
        ids, postings = self._codes
        part, tokens = ("regions", query.phrases) if "regions" in needs else ("tokens", query.tokens)
        # with a filter, more are asked for than are wanted, as some will not pass it
        numbers = postings[part].nearest(tokens, limit if not where else 10 * limit, self._accuracy)
        return [image_id.decode() for image_id in ids[numbers].tolist()]


def columns_of(needs: Needs) -> tuple[str, ...]:
    """Return the feature columns that scores with these needs compare."""
    return ("embedding", *(column for need in _COLUMNS if need in needs for column in _COLUMNS[need]))


def _places(rows: Any, ids: Sequence[str]) -> Tensor:
    """Return the row numbers of images in a table that has all of them."""
    place = {image_id: number for number, image_id in enumerate(rows["id"].to_pylist())}
    return torch.tensor([place[image_id] for image_id in ids], dtype=torch.long)
