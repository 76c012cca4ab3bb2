"""The command itself: it says where it serves, answers, and stops when told to."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from foveal.cli.main import main
from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny

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


def test_a_service_open_to_the_network_by_mistake_is_refused(capsys):
    assert main(["serve", "no-index", "--host", "0.0.0.0"]) == 2
    assert "--key-file" in capsys.readouterr().err


def test_an_index_that_is_none_is_one_line(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "nothing"), "--port", "0"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_service_alone_loads_no_torch():
    code = "import sys, foveal.serving; assert 'torch' not in sys.modules and 'fastapi' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
