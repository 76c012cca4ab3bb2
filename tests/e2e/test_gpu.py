"""On a CUDA device what a processor computes: every recipe's losses, resuming, and what encoders give."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from foveal.configuration import override
from foveal.data.formats import WebDataset
from foveal.encoder import Encoder
from foveal.recipes.lookup import encoder_names, find
from foveal.similarity import late_interaction
from foveal.training.logbook import read
from foveal.training.run import Run
from foveal.training.trainer import fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]
CUDA = torch.device("cuda", 0)
TEXTS = ["a red apple on a small table", "a cup", "two birds over a lake"]


@pytest.fixture(autouse=True)
def _exact():
    """Matrix products of single numbers with all their digits: a processor has no others."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def smoke(name, shards, *changes) -> Run:
    run = find(f"{name}:smoke")()
    data = replace(run.data, sources=(str(shards),), shuffle_buffer=1)
    return override(replace(run, data=data, batch_size=4), ["steps=4", "machine.checkpoint_every=2", *changes])


def losses(folder):
    return [line["loss"] for line in read(folder / "log.jsonl")]


@pytest.mark.parametrize("name", encoder_names())
def test_every_recipe_trains_as_on_a_processor(name, scene_shards, tmp_path):
    run = smoke(name, scene_shards)
    here = fit(run, tmp_path / "here", progress=False)
    there = fit(run, tmp_path / "there", progress=False, device=CUDA)
    assert losses(there) == pytest.approx(losses(here), rel=2e-3)


def test_a_resumed_training_gives_what_an_uninterrupted_one_does(scene_shards, tmp_path):
    run = smoke("fg_clip", scene_shards)
    whole = fit(run, tmp_path / "whole", progress=False, device=CUDA)
    cut = shutil.copytree(whole, tmp_path / "cut", ignore=shutil.ignore_patterns("step-000004"))
    (cut / "model.safetensors").unlink()
    fit(run, cut, resume=True, progress=False, device=CUDA)
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-4)
    torch.testing.assert_close(
        load_file(cut / "model.safetensors"), load_file(whole / "model.safetensors"), rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("change", ["micro_batches=2", "activation_checkpointing=true"])
def test_how_it_is_computed_changes_no_loss(change, scene_shards, tmp_path):
    run = smoke("foveal", scene_shards)
    plain = fit(run, tmp_path / "plain", progress=False, device=CUDA)
    other = fit(override(run, [f"machine.{change}"]), tmp_path / "other", progress=False, device=CUDA)
    assert losses(other) == pytest.approx(losses(plain), rel=2e-3)


def test_bf16_stays_near(scene_shards, tmp_path):
    run = smoke("foveal", scene_shards)
    plain = fit(run, tmp_path / "plain", progress=False, device=CUDA)
    fast = fit(override(run, ["machine.precision=bf16"]), tmp_path / "fast", progress=False, device=CUDA)
    assert losses(fast) == pytest.approx(losses(plain), rel=0.05)


@pytest.mark.parametrize("name", encoder_names())
def test_an_encoder_gives_the_same(name, scene_shards, tmp_path):
    encoder = Encoder.open(fit(smoke(name, scene_shards), tmp_path / "run", progress=False))
    pictures = [sample.image for sample, _ in zip(WebDataset(scene_shards), range(5), strict=False)]
    boxes = [[(0.0, 0.0, 0.5, 0.5), (0.2, 0.1, 0.9, 0.8)]] * len(pictures)

    def everything():
        yield encoder.encode_images(pictures)
        yield encoder.encode_texts(TEXTS, "caption")
        yield encoder.encode_texts(TEXTS, "long_caption")
        yield torch.cat(encoder.encode_regions(pictures, boxes))
        yield encoder.similarity(TEXTS, pictures, "parts")
        if encoder.model.config.tokens != "none":
            yield encoder.similarity(TEXTS, pictures, "fused")

    encoder.model.to(CUDA)
    assert encoder.device == CUDA
    there = list(everything())
    encoder.model.to("cpu")
    torch.testing.assert_close(there, list(everything()), rtol=1e-3, atol=1e-4)


def test_late_interaction_in_pieces_is_that_of_the_whole():
    text, image = torch.randn(7, 5, 16, device=CUDA), torch.randn(9, 6, 16, device=CUDA)
    pieces = torch.cat([late_interaction(text, some) for some in image.split(4)], dim=1)
    torch.testing.assert_close(pieces, late_interaction(text, image))
    torch.testing.assert_close(pieces.cpu(), late_interaction(text.cpu(), image.cpu()), rtol=1e-4, atol=1e-4)
