"""Pairs of pictures, and maps of what the words behind token 77 look at."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers")
import tiny_pipelines as pipelines
from foveal.diffusion.attention import GRID, Maps, read_attention
from foveal.diffusion.compare import compare, late_words, write_page
from foveal.diffusion.imagine import Drawing, draw
from foveal.diffusion.pipeline import lengthen
from foveal.diffusion.prompts import Prompt

DRAWING = Drawing(steps=2, size=32, seed=7)
EARLY = " ".join(["a red cat beside a blue dog under a green tree"] * 7)
LATE = EARLY + ", and a zqzqzq purple lamp."


@pytest.fixture(scope="module")
def pipeline():
    pipeline = pipelines.stable_diffusion()
    lengthen(pipeline, pipelines.long_encoder())
    return pipeline


@pytest.fixture(scope="module")
def comparison(pipeline):
    return compare(pipeline, Prompt("scene", LATE), DRAWING)


def test_reading_attention_changes_no_pixel_and_leaves_the_pipeline_as_it_was(pipeline, comparison):
    plain = draw(pipeline, LATE, DRAWING)
    assert np.array_equal(np.asarray(plain), np.asarray(comparison.whole))
    assert not any("_Reading" in type(part).__name__ for part in pipeline.unet.attn_processors.values())


def test_every_patch_shares_its_attention_among_all_tokens(pipeline):
    with read_attention(pipeline) as maps:
        draw(pipeline, LATE, DRAWING)
    mean = maps.mean()
    assert mean.shape == (GRID, GRID, 248) and maps.count == 2 * 4  # steps, layers
    torch.testing.assert_close(mean.sum(dim=2), torch.ones(GRID, GRID))


def test_the_pair_has_one_seed_and_the_first_is_cut_at_77(pipeline, comparison):
    assert comparison.start == LATE[: len(comparison.start)]
    assert len(pipeline.tokenizer(comparison.start).input_ids) == 77
    cut = draw(pipeline, comparison.start, DRAWING)
    assert np.array_equal(np.asarray(cut), np.asarray(comparison.cut))
    assert not np.array_equal(np.asarray(comparison.cut), np.asarray(comparison.whole))


def test_words_behind_token_77_are_whole_words_with_their_tokens_attention(pipeline):
    tokens = len(pipeline.tokenizer(LATE).input_ids)
    assert pipeline.tokenizer.tokenize(LATE)[-4] == "q</w>"
    attention = torch.zeros(2, 2, 248)
    attention[0, 1] = torch.arange(248.0)
    words = dict(late_words(pipeline.tokenizer, LATE, attention, limit=tokens - 4))  # in the midst of zqzqzq
    assert list(words) == ["purple", "lamp"]
    for share in words.values():
        assert torch.equal(share, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))


def test_without_a_unet_there_are_no_maps():
    with pytest.raises(ValueError, match="no cross-attention of a UNet"):
        Maps().mean()
    three = pipelines.stable_diffusion_3()
    with read_attention(three) as maps:
        assert maps.count == 0


def test_the_page_shows_both_pictures_the_words_and_is_one_file(comparison, tmp_path):
    write_page([comparison], tmp_path / "page.html", "a <b> pipeline")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 3 + len(comparison.words) and len(comparison.words) > 0
    assert "a &lt;b&gt; pipeline" in page and "cut at 77 tokens" in page and "http" not in page
    assert "<span class=late>" in page and "purple" in page


def test_a_picture_with_itself_differs_nowhere(comparison, tmp_path):
    from foveal.diffusion.compare import _change

    assert _change(comparison.whole, comparison.whole).sum() == 0
    black, white = Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2), "white")
    assert torch.equal(_change(black, white), torch.full((2, 2), 255.0))
