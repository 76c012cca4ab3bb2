"""The command itself: it says where it serves, answers, and stops when told to."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from foveal.cli.main import main
from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.search import Indexing, Searcher
from foveal.serving import create_app

COMMAND = Path(sys.executable).with_name("foveal")


@pytest.mark.slow
def test_index_then_serve_then_stop(tmp_path):
    for number in range(3):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (60, 40), (80 * number, 50, 90)).save(tmp_path / "photos" / f"{number}.png")
    model, index, key = tmp_path / "model", tmp_path / "index", tmp_path / "key"
    Encoder(DualEncoder(tiny()).eval(), Tokenizer.clip(), ImageTransform(size=tiny().vision.image_size)).save(model)
    key.write_text("0123456789abcdef")
    assert main(["index", str(tmp_path / "photos"), "--out", str(index), "--model", str(model)]) == 0
    serving = subprocess.Popen(
        [COMMAND, "serve", index, "--port", "0", "--key-file", key], stdout=subprocess.PIPE, text=True
    )
    try:
        line = serving.stdout.readline()
        assert line.startswith("3 pictures")
        url = line.split()[-1]
        assert json.load(urllib.request.urlopen(f"{url}/health", timeout=30))["pictures"] == 3
        asked = urllib.request.Request(f"{url}/search", b'{"text": "red"}', {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(asked, timeout=30)
        asked.add_header("Authorization", "Bearer 0123456789abcdef")
        assert len(json.load(urllib.request.urlopen(asked, timeout=30))["hits"]) == 3
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(30) in (0, -signal.SIGTERM)
        serving.stdout.close()


def test_what_is_no_root_path_is_one_line(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "nothing"), "--port", "0", "--root-path", "/a b"]) == 2
    assert "--root-path" in capsys.readouterr().err


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    """A real index of three photos, one of which is gone since, and one no picture any more."""
    folder, index = tmp_path_factory.mktemp("secret") / "photos", tmp_path_factory.mktemp("secret") / "index"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (60, 40), (80 * number, 50, 90)).save(folder / f"{number}.png")
    encoder = Encoder(DualEncoder(tiny()).eval(), Tokenizer.clip(), ImageTransform(size=32), progress=False)
    Indexing(str(folder), str(index), tokens=4, regions=4)(lambda: encoder)
    (folder / "1.png").unlink()
    (folder / "2.png").write_bytes(b"text")
    return Searcher.open(index, encoder)


def test_a_real_index_never_tells_where_it_lies(searcher):
    with TestClient(create_app(searcher, searcher.encoder), raise_server_exceptions=False) as client:
        ids = [hit["id"] for hit in client.post("/search", json={"text": "red"}).json()["hits"]] + ["zz"]
        answers = [
            *(client.get(f"/{kind}/{one}") for kind in ("pictures", "thumbnails") for one in ids),
            *(client.get(f"/pictures/{one}?side=99") for one in ids),
            *(client.post("/similar", json={"id": one}) for one in ids),
            *(client.post("/explain", json={"id": one, "phrases": ["a"]}) for one in ids),
            *(client.post("/search", json={"text": "a", "where": where}) for where in ("no column = 1", "nosuch = 1")),
            *(client.get(path) for path in ("/health", "/v1/models", "/metrics", "/openapi.json")),
        ]
    assert {answer.status_code for answer in answers} == {200, 400, 404}
    assert sum(answer.status_code == 404 for answer in answers) >= 8
    for answer in answers:
        assert "secret" not in answer.text + str(answer.headers)


def test_a_service_open_to_the_network_by_mistake_is_refused(capsys):
    assert main(["serve", "no-index", "--host", "0.0.0.0"]) == 2
    assert "--key-file" in capsys.readouterr().err


def test_an_index_that_is_none_is_one_line(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "nothing"), "--port", "0"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_service_alone_loads_no_torch():
    code = "import sys, foveal.serving; assert 'torch' not in sys.modules and 'fastapi' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
