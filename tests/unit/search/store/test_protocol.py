"""LanceDB is a vector store as an index asks for one, and the only file that imports it says so."""

import re
from pathlib import Path

import foveal
from foveal.search.store.lance import LanceDatabase, LanceTable
from foveal.search.store.protocol import Database, Table


def test_one_file_imports_lancedb():
    files = [
        path
        for path in Path(foveal.__file__).parent.rglob("*.py")
        if re.search(r"(import|from) lancedb", path.read_text())
    ]
    assert [path.name for path in files] == ["lance.py"]


def test_it_does_what_an_index_asks(searcher):
    assert isinstance(searcher._store.pictures, Table)
    assert isinstance(searcher._store._database, Database)
    assert {name for name in vars(Table) if not name.startswith("_")} <= set(dir(LanceTable))
    assert {name for name in vars(Database) if not name.startswith("_")} <= set(dir(LanceDatabase))
