"""An index whose writer ends between any two writes, as a kill ends it: the next run repairs all of it.

Kills within a write, of real processes, are in tests/e2e/test_search.py.
"""

import shutil
from contextlib import suppress

import lancedb
import numpy as np
import pytest

from foveal.search import Indexing, Searcher
from foveal.search.store import Store, cells, table
from foveal.search.store.features import Features

WRITES = [
    (lancedb.db.LanceDBConnection, "create_table"),
    (lancedb.db.LanceDBConnection, "drop_table"),
    (lancedb.merge.LanceMergeInsertBuilder, "execute"),
    *((lancedb.table.LanceTable, name) for name in ("add", "delete", "create_index", "optimize")),
]


class KilledError(BaseException):
    """The end of a process."""


@pytest.fixture
def writes(monkeypatch):
    """Counts the writes to an index, and ends the process after some of them."""
    count = {"done": 0, "last": -1}

    def counted(write):
        def wrapper(*given, **options):
            result = write(*given, **options)
            count["done"] += 1
            if count["done"] == count["last"]:
                raise KilledError
            return result

        return wrapper

    for owner, name in WRITES:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return count


@pytest.fixture
def index(tmp_path, encoder, monkeypatch):
    """Brings the index of a folder up to date. Twenty pictures are enough for a first pass."""
    monkeypatch.setattr(table, "CODED", 20)
    monkeypatch.setattr(cells, "PER_CELL", 3)

    def index(photos, name):
        return Indexing(str(photos), str(tmp_path / name), batch=16, tokens=4, regions=4)(lambda: encoder)

    return index


def state(index):
    """All that an index knows. Fails if its first pass is not that of its pictures."""
    open_index = Store.open(index)
    table = open_index.pictures.read()
    rows = {row["id"]: row for row in table.to_pylist()}
    ids, postings = open_index.codes()
    assert sorted(each.decode() for each in ids) == sorted(rows)
    sets = Features.of(table.sort_by("id"), open_index.layout).tokens
    codes = postings["tokens"]._codes[np.argsort(ids)]
    np.testing.assert_array_equal(codes, open_index._codes.cells("tokens").of(sets.flatten(0, 1)).view(codes.shape))
    about = open_index.facts
    assert about.pop("finished") == open_index.versions
    about.pop("made")
    about.pop("source")
    return rows, about, dict(zip(np.sort(ids).tolist(), codes.tolist(), strict=True))


def hits(index, encoder):
    searcher = Searcher(Store.open(index), encoder, shortlist=8)
    return [searcher.search("a red square", k=5, mode=mode) for mode in ("global", "late", "region", "fused")]


def change(photos, fill, jpeg):
    """Pictures come, go and change."""
    fill(photos, range(40, 44))
    for name in ("001.jpg", "002.jpg"):
        (photos / name).write_bytes(jpeg(100, (64, 40)))
    (photos / "003.jpg").unlink()


def test_a_first_run_that_ends_after_any_write_is_completed_by_the_next(tmp_path, fill, index, encoder, writes):
    photos = fill(tmp_path / "photos", range(30))
    index(photos, "undisturbed")
    whole, total = state(tmp_path / "undisturbed"), writes["done"]
    assert total > 10
    for last in range(1, total + 1):
        writes.update(done=0, last=last)
        with suppress(KilledError):
            index(photos, f"killed {last}")
        writes["last"] = -1
        index(photos, f"killed {last}")
        assert state(tmp_path / f"killed {last}") == whole
    assert hits(tmp_path / f"killed {total - 2}", encoder) == hits(tmp_path / "undisturbed", encoder)


def test_an_update_that_ends_after_any_write_is_completed_by_the_next(tmp_path, fill, index, encoder, writes, jpeg):
    """Also if the pictures are by then as they were before, so that there is nothing to do but to repair."""
    before, photos = fill(tmp_path / "before", range(30)), tmp_path / "photos"
    shutil.copytree(before, photos)
    index(photos, "first")
    first = state(tmp_path / "first")
    change(photos, fill, jpeg)
    shutil.copytree(photos, tmp_path / "after")
    shutil.copytree(tmp_path / "first", tmp_path / "undisturbed")
    writes["done"] = 0
    index(photos, "undisturbed")
    whole, total = state(tmp_path / "undisturbed"), writes["done"]
    assert total > 5
    searched = hits(tmp_path / "undisturbed", encoder)
    for last in range(1, total + 1):
        for then, wanted in (("after", whole), ("before", first)):
            name = f"killed {last} {then}"
            shutil.copytree(tmp_path / "first", tmp_path / name)
            writes.update(done=0, last=last)
            with suppress(KilledError):
                index(photos, name)
            writes["last"] = -1
            if then == "before":
                shutil.rmtree(photos)
                shutil.copytree(before, photos)
            index(photos, name)
            assert state(tmp_path / name) == wanted
            if then == "before":
                shutil.rmtree(photos)
                shutil.copytree(tmp_path / "after", photos)
    assert hits(tmp_path / f"killed {total} after", encoder) == searched
