"""A small index is read from one file, as long as that is what the tables hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from foveal.search import MODES, Indexing, Searcher
from foveal.search.sources import id_of
from foveal.search.store import Store, table
from foveal.search.store.snapshot import FILE, Snapshot


@pytest.fixture
def index(tmp_path, run, photos):
    run(photos)
    return tmp_path / "index"


def test_a_search_needs_no_vector_store(index, encoder, monkeypatch):
    expected = {mode: Searcher.open(index, encoder).search("a cat", mode=mode) for mode in MODES}
    monkeypatch.setitem(sys.modules, "lancedb", None)  # whoever imports it fails
    searcher = Searcher.open(index, encoder)
    assert {mode: searcher.search("a cat", mode=mode) for mode in MODES} == expected
    assert searcher.count == 10
    with pytest.raises(ValueError, match=r"An index needs lancedb\. Install it"):
        searcher.thumbnail(id_of("001.jpg"))


COLD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import encoder_of
from foveal.search import Searcher
hits = Searcher.open(sys.argv[2], encoder_of()).search("a cat", k=3)
print(len(hits), *sorted({"lancedb", "pandas", "transformers"} & set(sys.modules)))
"""


def test_a_process_that_searches_imports_no_vector_store(index):
    """Nor pandas, which pyarrow imports to ask it whether what it was given is its own."""
    command = [sys.executable, "-c", COLD, str(Path(__file__).parents[1]), str(index)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["3"]


def test_without_it_the_tables_give_the_same(index, encoder):
    mapped = Searcher.open(index, encoder).search("a cat")
    states, facts, versions = (getattr(Store.open(index), name) for name in ("file_states", "facts", "versions"))
    expected = states()
    (index / FILE).unlink()
    store = Store.open(index)
    assert Searcher(store, encoder).search("a cat") == mapped
    assert (store.file_states(), store.facts, store.versions) == (expected, facts, versions)
    assert store.named([id_of("001.jpg"), id_of("zz")])["path"].to_pylist() == ["001.jpg"]


@pytest.mark.parametrize("write", ["note", "forget", "write"])
def test_every_write_makes_it_stale(index, write):
    store = Store.open(index)
    assert Snapshot.open(index) is not None
    if write == "note":
        store.note(source="elsewhere")
        assert store.facts["source"] == "elsewhere"
    elif write == "forget":
        store.forget([id_of("001.jpg")])
        assert store.count() == 9
    else:
        rows = store.pictures.read()
        store.write(rows.slice(0, 1), replace=rows["id"].to_pylist()[:1])
    assert Snapshot.open(index) is None


def test_what_is_damaged_is_not_read(index):
    whole = (index / FILE).read_bytes()
    for content in (b"", b"none", whole[: len(whole) // 2], whole.replace(b'"stamp"', b'"stump"')):
        (index / FILE).write_bytes(content)
        assert Snapshot.open(index) is None
        assert Store.open(index).count() == 10


def test_a_copy_of_an_index_has_one_and_an_index_in_its_place_has_not(index, tmp_path, encoder, fill):
    Indexing(str(fill(tmp_path / "others", range(10))), str(tmp_path / "other"), tokens=4, regions=4)(lambda: encoder)
    (tmp_path / "other" / FILE).write_bytes((index / FILE).read_bytes())
    assert Snapshot.open(tmp_path / "other") is None
    index.rename(tmp_path / "moved")
    assert Snapshot.open(tmp_path / "moved") is not None


def test_an_index_that_has_grown_has_none(index, run, photos, fill, monkeypatch):
    monkeypatch.setattr(table, "CODED", 12)
    fill(photos, range(20, 22))
    run(photos)
    assert not (index / FILE).exists()
    assert Store.open(index).codes() is not None
