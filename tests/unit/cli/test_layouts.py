"""`foveal convert`, `foveal upgrade` and `foveal export`, as one types them."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from foveal.cli.main import main
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.encoder.load import load
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip, tiny
from foveal.recipes import clip, lookup
from foveal.training.start import train


def save(config, folder, **protocol):
    chosen = Protocol(**{"family": "clip", "resize": "crop"} | protocol)
    encoder = Encoder(
        DualEncoder(config), Tokenizer.clip(chosen.cleaning), chosen.transform(config.vision), protocol=chosen
    )
    encoder.save(folder)


def told(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_there_and_back_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tiny(), tmp_path / "mine", cleaning="nfc")
    assert main(["convert", "mine", "--out", "theirs", "--to", "hf-clip"]) == 0
    assert told(capsys) == "theirs holds mine in the layout hf-clip."
    assert main(["convert", "theirs", "--out", "again"]) == 0
    first, again = (load_file(tmp_path / name / "model.safetensors") for name in ("mine", "again"))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_what_is_left_out_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(fg_clip(tiny()), tmp_path / "mine", family="fg_clip", resize="squash")
    assert main(["convert", "mine", "--out", "theirs", "--to", "hf-clip", "--kind", "long_caption"]) == 0
    assert "Left out, as the layout has no place for it: log_negative_scale, log_region_scale, text.pos" in told(capsys)


@pytest.mark.parametrize(
    ("to", "recipe"), [("long", "long_clip"), ("fg_clip", "fg_clip"), ("finelip", "finelip"), ("fg_clip", "foveal")]
)
def test_an_upgraded_clip_starts_training(tmp_path, monkeypatch, capsys, to, recipe):
    monkeypatch.chdir(tmp_path)
    save(replace(clip.smoke().model), tmp_path / "clip")
    assert main(f"upgrade clip --out start --to {to}".split()) == 0
    assert f"start holds clip as {'long_clip' if to == 'long' else to}. Train it with --init start." in told(capsys)
    before = load(tmp_path / "start", device="cpu").model
    run = lookup.find(f"{recipe}:smoke")()
    run = replace(run, model=before.config) if to != "fg_clip" else run
    train(run, tmp_path / "run", data=[], init=tmp_path / "start", changes=["steps=1"], progress=False)
    after = load(tmp_path / "run", device="cpu").model
    moved = [name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])]
    assert "vision.position" in moved
    assert "text.positions.kept" not in moved or recipe != "long_clip"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("convert mine --out out --to long-clip", "16 wide"),
        ("convert nowhere --out out --to hf-clip", "There is no nowhere"),
        ("convert mine --out mine --to hf-clip", "mine is in use. Choose another name."),
        ("convert mine --out out --to onnx", "Invalid value for '--to'"),
        ("upgrade mine --out out", "Missing option '--to'"),
        ("upgrade mine --out out --to fg_clip2", "'fg_clip2' is made of a SigLIP 2, and this is none."),
        ("export mine --out out", "Say in which format: --onnx."),
        ("export nowhere --out out --onnx", "There is no nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    save(tiny(), tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments.split()) == 2
    heard = capsys.readouterr()
    assert said in heard.err
    assert (heard.err.count("\n"), heard.out) == (1, "")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("convert", ["model", "--out", "--to", "--kind", "hf-clip", "open-clip", "long-clip", "bit"]),
        ("upgrade", ["--to", "fg_clip", "finelip", "--seed", "20"]),
        ("export", ["--onnx", "--int8", "report.json", "immich"]),
    ],
)
def test_each_verb_explains_itself(capsys, verb, words):
    assert main([verb, "--help"]) == 0
    said = told(capsys).lower()
    assert [word for word in words if word not in said] == []
