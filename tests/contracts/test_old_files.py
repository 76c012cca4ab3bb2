"""What earlier versions left on a disk still opens, and goes on: checkpoints, models, indices, journals, reports.

`tests/fixtures/old/COMMIT.tar.xz` holds what the code of that commit wrote (`tests/fixtures/write_old_files.py`).
A format that changes needs a migration with a name, not a new archive.
"""

import json
import shutil
import tarfile
from pathlib import Path
from runpy import run_path

import pytest
import torch

from foveal.cli.main import main
from foveal.data import Jsonl
from foveal.encoder.load import load
from foveal.evaluation.report import read_report
from foveal.training.logbook import read

TESTS = Path(__file__).parents[1]
ARCHIVES = sorted((TESTS / "fixtures/old").glob("*.tar.xz"))
CHAT = run_path(str(TESTS / "chat_endpoint.py"))


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name.split(".")[0])
def unpacked(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(unpacked):
    return json.loads((unpacked / "expected.json").read_text())


@pytest.fixture
def here(unpacked, monkeypatch):
    """The folder, as the current one."""
    monkeypatch.chdir(unpacked)
    return unpacked


def test_there_are_archives():
    assert [path.name for path in ARCHIVES] == ["10885b1.tar.xz", "41c8142.tar.xz"]


def test_a_model_gives_the_embeddings_that_it_gave(here, expected):
    encoder = load("model", device="cpu")
    texts = torch.tensor(expected["text_embeddings"])
    images = torch.tensor(expected["image_embeddings"])
    torch.testing.assert_close(encoder.encode_texts(expected["texts"]), texts, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.encode_images(sorted(here.glob("photos/*.png"))), images, rtol=0, atol=1e-5)


def test_a_training_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(here, expected):
    assert len(read(here / "run/log.jsonl")) == 3
    assert main([*expected["command"], "--out", "run", "--resume"]) == 0
    losses = [line["loss"] for line in read(here / "run/log.jsonl")]
    assert losses == pytest.approx(expected["losses"], rel=1e-4)
    weights = [load(name, device="cpu").model.state_dict() for name in ("run", "model")]
    torch.testing.assert_close(*weights, rtol=0, atol=1e-4)


def test_an_index_gives_the_hits_that_it_gave(here, expected, tmp_path):
    hits = tmp_path / "hits.json"
    search = ["search", "index", "a red tile", "--model", "model", "--out", str(hits), "--mode"]
    assert main([*search, "global"]) == 0
    for before, now in zip(expected["hits"], json.loads(hits.read_text()), strict=True):
        assert now["path"] == before["path"]
        assert now["score"] == pytest.approx(before["score"], abs=1e-3)
    for mode in ("late", "fused", "region"):  # what is compared is kept, how may change
        assert main([*search, mode]) == 0
        assert {hit["path"] for hit in json.loads(hits.read_text())} == {"0.png", "1.png", "2.png"}


def test_a_stopped_annotation_goes_on_and_pays_for_nothing_twice(here, expected, tmp_path):
    chat = CHAT["ChatEndpoint"]()
    for name in ("plain", "notes.jsonl.annotation"):
        shutil.copytree(here / name, tmp_path / name)
    try:
        command = ["annotate", "plain", "--out", "notes.jsonl", "--stages", "caption,phrases", "--resume"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            assert main([*command, "--endpoint", chat.url, "--model", "tiny-vl"]) == 0
    finally:
        chat.close()
    samples = list(Jsonl(tmp_path / "notes.jsonl"))
    assert [sample.long_caption for sample in samples] == [CHAT["GOOD"]["long_caption"]] * 3
    assert all(sample.regions for sample in samples)
    assert chat.paid <= 3 - expected["answers"] + 1


def test_a_report_gives_the_numbers_that_it_gave(here, expected, capsys):
    report = read_report(Path("report"))
    metrics = {
        f"{benchmark}/{task}/{name}": metric.value
        for benchmark, task, result in report.rows()
        for name, metric in result.metrics.items()
    }
    assert metrics == expected["metrics"]
    shutil.copytree("report", "report2", dirs_exist_ok=True)
    assert main(["compare", "report", "report2"]) == 0
    assert "report2" in capsys.readouterr().out
