"""What a Ray worker does, without Ray. The whole engine is tested by tests/e2e/test_search.py."""

import json

import pyarrow
import pytest

from foveal.search import Indexing
from foveal.search.fingerprint import probe
from foveal.search.indexing.ray import DONE, _Worker
from foveal.search.sources import Listing
from foveal.search.store import Layout


def test_a_batch_becomes_one_file_and_is_made_once(photos, tmp_path, encoder, monkeypatch):
    (tmp_path / "staging").mkdir()
    (photos / "zz.jpg").write_text("broken")
    width = len(probe(encoder)[0])
    worker = _Worker(lambda: encoder, Layout(width, width, tokens=4, regions=4), str(tmp_path / "staging"))
    work = tuple((entry, "") for entry in Listing(str(photos)))
    path = worker.fragment(work)
    with pyarrow.memory_map(str(path)) as file:
        rows = pyarrow.ipc.open_file(file).read_all()
    assert rows["path"].to_pylist() == [entry.path for entry, _ in work if entry.path != "zz.jpg"]
    about = json.loads(rows.schema.metadata[DONE])
    assert list(about["broken"]) == ["zz.jpg"]
    assert about["unchanged"] == 0
    monkeypatch.setattr(worker, "encoder", None)  # a second run must not need the model
    assert worker.fragment(work) == path
    assert [file.name for file in (tmp_path / "staging").iterdir()] == [path.name]


def test_ray_is_started_without_its_dashboard(photos, tmp_path, encoder, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

    def started(**options):
        raise RuntimeError(f"with {options['include_dashboard']}")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", started)
    indexing = Indexing(str(photos), str(tmp_path / "index"), engine="ray", staging=str(tmp_path / "staging"))
    with pytest.raises(RuntimeError, match="with False"):
        indexing(lambda: encoder)
