"""Pictures from prompts: seeds, folders that go on, settings that must agree, the command."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers")
import tiny_pipelines as pipelines
from foveal.cli.main import main
from foveal.diffusion.imagine import Drawing, draw, draw_all, open_pipeline
from foveal.diffusion.pipeline import lengthen, prompt_embeddings
from foveal.diffusion.prompts import Prompt

DRAWING = Drawing(steps=2, size=32, seed=7)
PROMPTS = [Prompt("a", "a red cat"), Prompt("b", "a blue dog"), Prompt("c", "a green tree")]
LONG = " ".join(["a red cat beside a blue dog under a green tree"] * 8)


@pytest.fixture(scope="module")
def pipeline():
    return pipelines.stable_diffusion()


def same(left, right):
    return np.array_equal(np.asarray(left), np.asarray(right))


def test_a_picture_depends_on_its_place_and_not_on_those_before_it(pipeline, tmp_path):
    assert draw_all(pipeline, PROMPTS, tmp_path, DRAWING, {}) == 3
    with Image.open(tmp_path / "c.png") as third:
        assert same(third, draw(pipeline, "a green tree", DRAWING, 2))
        assert third.info["prompt"] == "a green tree" and third.info["seed"] == "9"
    assert not same(draw(pipeline, "a red cat", DRAWING), draw(pipeline, "a red cat", DRAWING, 1))


def test_a_folder_goes_on_where_it_was(pipeline, tmp_path, capsys):
    draw_all(pipeline, PROMPTS, tmp_path, DRAWING, {})
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").unlink()
    assert draw_all(pipeline, PROMPTS, tmp_path, DRAWING, {}) == 1
    assert (tmp_path / "b.png").read_bytes() == whole
    assert "3/3" in capsys.readouterr().err


def test_a_folder_of_other_settings_is_refused(pipeline, tmp_path):
    draw_all(pipeline, PROMPTS[:1], tmp_path, DRAWING, {"text_encoder": "one"})
    with pytest.raises(ValueError, match="drawn with text_encoder one, not two"):
        draw_all(pipeline, PROMPTS, tmp_path, DRAWING, {"text_encoder": "two"})
    with pytest.raises(ValueError, match="drawn with steps 2, not 3"):
        draw_all(pipeline, PROMPTS, tmp_path, Drawing(steps=3, size=32, seed=7), {"text_encoder": "one"})


def test_a_layer_draws_from_that_layer():
    pipeline = pipelines.stable_diffusion_xl()
    plain, inner, last = (
        draw(pipeline, "a red cat", Drawing(steps=2, size=32, layer=layer))
        for layer in (None, "penultimate", "final-normed")
    )
    assert same(plain, inner) and not same(plain, last)
    assert prompt_embeddings(pipeline, ["a red cat"], layer="final-normed")["prompt_embeds"].shape[1] == 77


def test_what_is_no_pipeline_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no model_index\.json"):
        open_pipeline(str(tmp_path))
    with pytest.raises(ValueError, match="neither a folder nor a hub name"):
        open_pipeline(str(tmp_path / "nothing"))


@pytest.fixture(scope="module")
def folders(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagine")
    pipeline.save_pretrained(folder / "pipeline")
    pipelines.long_encoder().save(folder / "model")
    return folder


def call(folders, *words):
    fixed = ["--text-encoder", str(folders / "model"), "--steps", "2", "--size", "32", "--device", "cpu"]
    return main(["imagine", str(folders / "pipeline"), *map(str, words), *fixed])


def test_the_command_draws_with_the_long_encoder(folders, capsys, tmp_path):
    text = LONG + " and a purple lamp"
    assert call(folders, text, "--out", tmp_path / "a.png") == 0
    output = capsys.readouterr()
    assert "in the place of text_encoder, tokenizer" in output.out and "94 tokens of at most 248" in output.out
    longer = open_pipeline(str(folders / "pipeline"), torch.float32, "cpu")
    lengthen(longer, pipelines.long_encoder())
    with Image.open(tmp_path / "a.png") as picture:
        assert same(picture, draw(longer, text, Drawing(steps=2, size=32)))


def test_the_command_warns_of_words_that_are_cut(folders, capsys, caplog, tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("\n".join(["a cat", "word " * 250 + "purple lamp"]))
    assert call(folders, "--captions", file, "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"00000.png", "00001.png", "imagine.json"}
    assert "2 prompts of 4 to 254 tokens" in capsys.readouterr().out
    assert "'00001' is cut: 254 tokens of at most 248; 6 words cut off" in caplog.text
    assert "purple lamp" in caplog.text


@pytest.mark.parametrize("more", [[], ["--compare"]])
def test_a_folder_is_no_file_which_is_said_before_anything_is_opened(capsys, monkeypatch, tmp_path, more):
    monkeypatch.setattr("foveal.diffusion.imagine.open_pipeline", None)
    assert main(["imagine", "nowhere", "a cup", "--out", str(tmp_path), *more]) == 2
    assert "is a folder, and this writes one file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_prompt_or_a_file_of_them_is_wanted(folders, capsys):
    assert call(folders) == 2
    assert "Give a prompt or --captions FILE" in capsys.readouterr().err
