from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.config import ModelConfig, RefineConfig, TextConfig, VisionConfig
from foveal.models.dual_encoder import DualEncoder

BOXES = [[(0.0, 0.0, 1.0, 1.0)], [], [(0.1, 0.2, 0.6, 0.9), (0.0, 0.0, 0.05, 0.05)]]
TEXTS = ["a cat", "two small dogs on a red tile", "a pig", "", "one more text"]


def png(seed, size=(40, 24)):
    colors = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(colors).save(content, "PNG")
    return content.getvalue()


PICTURES = [png(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    vision = VisionConfig(width=16, layers=1, heads=2, mlp_width=32, image_size=32, patch_size=8)
    text = TextConfig(width=16, layers=1, heads=2, mlp_width=32, pooling="first_eos", context=16)
    config = ModelConfig(vision=vision, text=text, embed_width=8, tokens="refined", refine=RefineConfig(slots=3))
    return DualEncoder(config)


def make(model, mode="squash", **options):
    return Encoder(model, Tokenizer.clip(), ImageTransform(size=32, mode=mode), **options)


def test_batches_of_any_size_give_the_same(model):
    one = make(model, batch_size=1).encode_images_fully(PICTURES, BOXES, tokens=True)
    all_at_once = make(model, batch_size=64).encode_images_fully(PICTURES, BOXES, tokens=True)
    torch.testing.assert_close(one.embedding, all_at_once.embedding)
    torch.testing.assert_close(one.tokens, all_at_once.tokens)
    torch.testing.assert_close(one.regions, all_at_once.regions)
    assert [len(rows) for rows in one.regions] == [1, 0, 2]
    few = make(model, batch_size=1).encode_texts_fully(TEXTS, "phrase", tokens=True)
    many = make(model, batch_size=64).encode_texts_fully(TEXTS, "phrase", tokens=True)
    torch.testing.assert_close(few.embedding, many.embedding)
    torch.testing.assert_close(few.tokens, many.tokens)
    assert torch.equal(few.token_mask, many.token_mask)


def test_token_sets_of_unequal_size_are_padded(model):
    raw = DualEncoder(replace(model.config, tokens="raw", refine=None))
    sets = make(raw, batch_size=1).encode_texts_fully(TEXTS, tokens=True)  # four texts a batch
    assert sets.token_mask.sum(dim=1).tolist() == Tokenizer.clip().count(TEXTS)
    assert sets.tokens[~sets.token_mask].abs().sum() == 0
    whole = make(raw).encode_texts_fully(TEXTS, tokens=True)
    torch.testing.assert_close(sets.tokens, whole.tokens)


def test_parity_with_the_model_itself(model):
    transform, tokenizer = ImageTransform(size=32), Tokenizer.clip()
    pixels = transform.stack([transform(picture) for picture in PICTURES])
    encoder = make(model)
    torch.testing.assert_close(encoder.encode_images(PICTURES), model.encode_images(pixels).detach())
    boxes = torch.tensor([box for own in BOXES for box in own])
    regions = model.encode_regions(pixels, boxes, torch.tensor([0, 2, 2])).detach()
    torch.testing.assert_close(torch.cat(encoder.encode_regions(PICTURES, BOXES)), regions)
    ids = tokenizer.encode(TEXTS, 16)
    torch.testing.assert_close(encoder.encode_texts(TEXTS, "phrase"), model.encode_texts(ids, "phrase").detach())
    tokens, _ = model.encode_image_tokens(pixels)
    torch.testing.assert_close(encoder.encode_images_fully(PICTURES, tokens=True).tokens, tokens.detach())


def test_one_pass_gives_what_separate_passes_give(model):
    encoder = make(model)
    together = encoder.encode_images_fully(PICTURES, BOXES, tokens=True)
    torch.testing.assert_close(together.embedding, encoder.encode_images(PICTURES))
    torch.testing.assert_close(together.regions, encoder.encode_regions(PICTURES, BOXES))


def test_a_cropping_model_still_sees_every_box(model):
    corner = [[(0.0, 0.0, 0.15, 1.0)]]  # outside the middle square of 40 x 24
    squashed = make(model).encode_regions(PICTURES[:1], corner)
    cropped = make(model, mode="crop").encode_regions(PICTURES[:1], corner)
    torch.testing.assert_close(cropped, squashed)


def test_nothing_in_gives_nothing_out(model):
    encoder = make(model)
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, 8)
    assert encoder.encode_regions([], []) == ()
    assert [len(rows) for rows in encoder.encode_regions(PICTURES, [[], [], []])] == [0, 0, 0]


def test_coarse_arithmetic_still_gives_unit_lengths_near_the_fine(model):
    fine, coarse = make(model), make(model, dtype=torch.bfloat16)
    rows = coarse.encode_images(PICTURES)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    assert (F.cosine_similarity(rows, fine.encode_images(PICTURES)) > 0.99).all()


def test_callers_may_train_on_embeddings(model):
    encoded = make(model).encode_images_fully(PICTURES, BOXES, tokens=True)
    for rows in (encoded.embedding, encoded.regions[0], encoded.tokens):
        weight = torch.ones(8, requires_grad=True)
        (rows * weight).sum().backward()
        assert weight.grad is not None


def test_long_texts_are_cut_read_in_windows_or_refused(model):
    long = [" ".join(["word"] * 40)]
    cut = [" ".join(["word"] * 14)]
    torch.testing.assert_close(make(model).encode_texts(long), make(model).encode_texts(cut))
    windows = make(model, overflow="windows").encode_texts(long)
    assert (windows - make(model).encode_texts(long)).abs().max() > 1e-4
    with pytest.raises(ValueError, match="42"):
        make(model, overflow="error").encode_texts(long)


def test_a_broken_picture_stops_the_run(model):
    with pytest.raises(ValueError, match="cannot be read"):
        make(model).encode_images([*PICTURES, b"not a picture"])


def test_boxes_for_other_pictures_are_refused(model):
    with pytest.raises(ValueError, match="3 pictures and boxes for 2"):
        make(model).encode_regions(PICTURES, BOXES[:2])
