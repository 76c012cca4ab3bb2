"""The tables of an index, and those that versions before this one wrote."""

import json
import tarfile
from pathlib import Path

import lancedb
import pytest

from foveal.search import MODES, Indexing, Searcher
from foveal.search.store import Store, cells, table
from foveal.search.store.lance import LanceTable

FIRST_VERSION = Path(__file__).parents[3] / "fixtures" / "index_0_1.tar.xz"
"""Twenty pictures of `fill`, with cells, as version 0.1.0 wrote them, and the hits that it gave."""

TEXT = "a red dog on green grass, and a blue car"


@pytest.fixture
def of_first_version(tmp_path, monkeypatch):
    """The index that version 0.1.0 wrote, which has a first pass over its twenty pictures."""
    with tarfile.open(FIRST_VERSION) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setattr(table, "CODED", 20)
    return tmp_path / "index"


def test_an_index_of_the_first_version_gives_the_hits_that_it_gave(of_first_version, encoder):
    """In the modes whose scores are what they were."""
    recorded = json.loads((of_first_version.parent / "hits.json").read_text())
    searcher = Searcher(Store.open(of_first_version), encoder)
    for mode in ("global", "region"):
        answers = searcher.search(TEXT, k=5, mode=mode)
        assert [hit.path for hit in answers] == [path for path, _ in recorded[mode]]
        assert [hit.score for hit in answers] == pytest.approx([score for _, score in recorded[mode]], abs=0.02)


def test_an_index_of_the_first_version_is_searched_as_a_new_one(of_first_version, encoder, fill):
    photos = fill(of_first_version.parent / "photos", range(20))
    (photos / "003.txt").write_text("a red mosaic")
    index = of_first_version.parent / "new"
    Indexing(str(photos), str(index), tokens=4, regions=3)(lambda: encoder)
    old, new = (Searcher(Store.open(folder), encoder) for folder in (of_first_version, index))
    for mode in MODES:
        assert old.search(TEXT, mode=mode) == new.search(TEXT, mode=mode)


def test_an_index_of_the_first_version_is_brought_up_to_date(of_first_version, encoder, fill):
    photos = fill(of_first_version.parent / "photos", range(21))
    (photos / "003.txt").write_text("a red mosaic")
    report = Indexing(str(photos), str(of_first_version), tokens=4, regions=3)(lambda: encoder)
    assert str(report).startswith("21 pictures: 1 added, 0 updated, 20 unchanged")
    store = Store.open(of_first_version)
    assert len(store.codes()[0]) == 21
    assert set(store.facts["background"]["priors"]["text"]) == set(MODES)


@pytest.fixture
def reads(monkeypatch):
    """The numbers of rows whose vectors were read, and the rewrites of whole tables."""
    counts = {"taken": 0, "all": 0, "rewritten": 0}

    def take(self, numbers, columns, original=LanceTable.take):
        counts["taken"] += len(numbers)
        return original(self, numbers, columns)

    def batches(self, columns, size, original=LanceTable.batches):
        counts["all"] += 1
        return original(self, columns, size)

    def optimize(*given, original=lancedb.table.LanceTable.optimize, **options):
        counts["rewritten"] += 1
        return original(*given, **options)

    monkeypatch.setattr(LanceTable, "take", take)
    monkeypatch.setattr(LanceTable, "batches", batches)
    monkeypatch.setattr(lancedb.table.LanceTable, "optimize", optimize)
    return counts


def test_what_is_read_to_add_pictures_is_what_is_new(tmp_path, encoder, fill, monkeypatch, reads):
    """A row's vectors are read once for its codes; files are joined once an eighth of the table is new."""
    monkeypatch.setattr(table, "CODED", 20)
    monkeypatch.setattr(cells, "PER_CELL", 3)
    photos = fill(tmp_path / "photos", range(30))
    indexing = Indexing(str(photos), str(tmp_path / "index"), tokens=4, regions=4)
    indexing(lambda: encoder)
    assert reads == {"taken": 30, "all": 2, "rewritten": 1}  # cells of tokens and of regions are learnt once
    fill(photos, [30])
    indexing(lambda: encoder)
    assert reads == {"taken": 31, "all": 2, "rewritten": 1}
    fill(photos, range(31, 40))
    indexing(lambda: encoder)
    assert reads == {"taken": 40, "all": 2, "rewritten": 3}
    indexing(lambda: encoder)
    assert reads == {"taken": 40, "all": 2, "rewritten": 3}
    searcher = Searcher(Store.open(tmp_path / "index"), encoder, shortlist=5)
    assert searcher.search(image=picture_of(photos, 30), k=1)[0].path == "030.jpg"


def picture_of(photos, number):
    return (photos / f"{number:03d}.jpg").read_bytes()
