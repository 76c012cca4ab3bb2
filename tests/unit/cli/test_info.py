from dataclasses import replace

import pytest

from foveal.cli.main import main
from foveal.encoder.checkpoint import FAMILIES
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip, finelip, tiny
from foveal.models.weights import save


@pytest.fixture
def told(tmp_path, capsys):
    """What is told of a model: each line's name and words."""

    def tell(config, protocol):
        save(DualEncoder(config), tmp_path)
        protocol.write(tmp_path)
        assert main(["info", str(tmp_path)]) == 0
        lines = capsys.readouterr().out.splitlines()
        return {line[:15].strip(): line[15:] for line in lines}

    return tell


def test_a_model_is_told_in_a_line_each(told):
    origin = {"source": "someone/fg", "revision": "c0ffee", "licence": "apache-2.0"}
    lines = told(fg_clip(tiny()), replace(FAMILIES["fg_clip"], **origin))
    assert lines["family"] == "fg_clip"
    assert lines["source"] == "someone/fg at c0ffee"
    assert lines["licence"] == "apache-2.0"
    assert lines["text lengths"] == "caption 77, long_caption 248, phrase 77"
    assert lines["text heads"] == "caption, long_caption"
    assert lines["tokenizer"] == "CLIP's, 49,408 ids"
    assert lines["pictures"].startswith("squashed to 32 x 32 pixels, bicubic, mean 0.4815 0.4578 0.4082, std")
    total = sum(parameter.numel() for parameter in DualEncoder(fg_clip(tiny())).parameters())
    assert lines["parameters"].startswith(f"{total:,} in ")


def test_what_is_not_known_is_not_made_up(told):
    lines = told(finelip(tiny(), slots=3), FAMILIES["finelip"])
    assert (lines["source"], lines["licence"]) == ("unknown", "unknown")
    assert lines["space"] == "16 wide, scale 14.29, token sets refined to 3 slots"
    assert lines["pictures"].startswith("scaled, the middle 32 x 32 pixels cut out")


def test_a_wrong_name_is_told_in_a_line(capsys):
    assert main(["info", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("foveal: There is no nowhere, neither a folder nor a file")
