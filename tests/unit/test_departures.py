"""What docs/departures.md says of published code and of ours, where no other test says it."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from foveal.configuration import override
from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.recipes import clip, fg_clip, finelip, long_clip

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "departures.md").read_text(encoding="utf-8")


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    content = BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def published(content: bytes) -> np.ndarray:
    """What the processor of `transformers` makes of a file, in levels."""
    square = {"height": 32, "width": 32}
    size = {"size": {"shortest_edge": 32}, "crop_size": square}
    processor = CLIPImageProcessorPil(**size, do_rescale=False, do_normalize=False)
    return processor(Image.open(BytesIO(content)), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)


def ours(content: bytes) -> np.ndarray:
    return ImageTransform(size=32, mode="crop")(content).pixels.astype(float)


def test_a_photo_held_sideways_is_seen_upright_where_published_code_sees_it_lying():
    lying = Image.new("RGB", (64, 64), (255, 0, 0))
    lying.paste((0, 0, 255), (0, 0, 64, 32))  # blue above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right: blue is on the right
    seen = encoded(lying, exif=exif)
    assert published(seen)[4, [4, 28]].tolist() == [[0, 0, 255], [0, 0, 255]]
    assert ours(seen)[4, [4, 28]].tolist() == [[255, 0, 0], [0, 0, 255]]
    np.testing.assert_array_equal(ours(encoded(lying)), published(encoded(lying)))


def test_gray_of_16_bits_keeps_its_upper_8_where_published_code_sees_white():
    seen = encoded(Image.fromarray(np.full((40, 40), 30_000, dtype=np.uint16)))
    assert (published(seen) == 255).all()
    assert (np.asarray(Image.open(BytesIO(seen)).convert("RGB")) == 255).all()
    assert (ours(seen) == 30_000 >> 8).all()


def test_transparency_is_dropped_where_transformers_pastes_on_white():
    clear = Image.new("RGBA", (64, 64), (10, 200, 30, 0))
    clear.paste((250, 10, 10, 255), (0, 0, 32, 64))
    seen = encoded(clear)
    assert published(seen)[0, 31].tolist() == [255, 255, 255]
    assert ours(seen)[0, 31].tolist() == [10, 200, 30]
    np.testing.assert_array_equal(ours(seen), ours(encoded(Image.open(BytesIO(seen)).convert("RGB"))))
    np.testing.assert_array_equal(ours(seen)[:, :14], published(seen)[:, :14])


def test_a_very_small_picture_comes_near_its_bucket_like_any_other():
    transform = ImageTransform(mode="native", max_patches=1024, buckets=(128, 256, 576, 784, 1024))
    assert transform(Image.new("RGB", (100, 50))).pixels.shape == (8 * 16, 16 * 16, 3)


def test_a_text_ends_at_its_end_mark_though_it_holds_id_zero():
    ids = Tokenizer.clip().encode(["#!/bin/sh", "a cat"], 77)
    length = ids[0].tolist().index(49407) + 1
    assert int((ids[0] != 0).sum()) == length - 1  # what counting would give
    model = DualEncoder(tiny()).eval()
    alone = model.encode_texts(ids[:1, :length])
    torch.testing.assert_close(model.encode_texts(ids)[:1], alone, rtol=0, atol=1e-6)


def test_recipes_squash_pictures_unless_they_are_told_to_crop():
    for recipe in (clip.clip, long_clip.long_clip, finelip.finelip, fg_clip.stage2):
        assert recipe().data.transform.mode == "squash"
        assert override(recipe(), ["data.transform.mode=crop"]).data.transform.mode == "crop"


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"--set ([\w.]+=\w+)", PAGE))))
def test_every_setting_that_the_page_names_can_be_set(setting):
    path, _, value = setting.partition("=")
    run = override(fg_clip.stage2(), [setting])
    for name in path.split("."):
        run = getattr(run, name)
    assert str(run).lower() == value or float(run) == float(value)


def test_every_test_that_the_page_names_is_there():
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 25
    assert [name for name in sorted(named) if f"def {name}(" not in written] == []
