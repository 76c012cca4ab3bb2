"""The first pass: which pictures are worth a comparison in full."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .compare import Want
from .query import Mode
from .store import Store


class FirstPass:
    """Approximate searches over an index, by whole embeddings, token sets and regions.

    What has been added since it was made is found by embedding and regions alone.
    """

    def __init__(self, store: Store) -> None:
        """Get ready for an index.

        Args:
            store: The index.
        """
        self._store, self._codes = store, store.codes()

    def __call__(self, wants: Sequence[Want], mode: Mode, where: str, limit: int) -> Any:
        """Rows of the shortlist, each picture once, as a pyarrow table.

        Args:
            wants: What is looked for; each brings its own.
            mode: How pictures will be compared.
            where: An SQL filter. Empty: none.
            limit: Pictures wanted from each search.

        Raises:
            ValueError: If the filter is no SQL over the index's columns.
        """
        import pyarrow

        found = []
        for want in wants:
            if mode == "late" and self._codes is not None:
                found.append(self._by_tokens(want, where, limit))
                if len(found[-1]) == limit:
                    continue
            if mode != "region":
                found.append(self._store.nearest("embedding", want.embedding.numpy(), where, limit))
            if mode == "fused" and self._codes is not None:
                found.append(self._by_tokens(want, where, limit // 2))
            if mode in ("fused", "region"):
                some = limit if mode == "region" else limit // 2
                found.append(self._store.nearest("regions", want.phrases.numpy(), where, some))
        rows = pyarrow.concat_tables(found)
        first = np.unique(np.array(rows["id"].to_pylist(), dtype="S24"), return_index=True)[1]
        return rows.take(np.sort(first))

    def _by_tokens(self, want: Want, where: str, limit: int) -> Any:
        """Late interaction with the centers of cells."""
        assert self._codes is not None
        ids, postings = self._codes
        # with a filter, more are asked for than are wanted, as some will not pass it
        near = ids[postings.nearest(want.tokens, limit if not where else 10 * limit)].tolist()
        rows = self._store.named([each.decode() for each in near], where)
        place = {each.decode(): number for number, each in enumerate(near)}
        return rows.take(np.argsort([place[each] for each in rows["id"].to_pylist()])[:limit])
