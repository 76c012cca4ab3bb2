"""The tables of an index, and those that versions before this one wrote."""

import json
import tarfile
from pathlib import Path

import pytest

from foveal.search import MODES, Indexing, Searcher
from foveal.search.store import Store, table

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
