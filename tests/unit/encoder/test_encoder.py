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
from foveal.encoder.proposals import propose_regions
from foveal.encoder.scores import SCORES, compare
from foveal.models.config import ModelConfig, RefineConfig, TextConfig, VisionConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.weights import load

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


def test_iterators_are_read_batch_by_batch(model):
    encoder, pulled = make(model, batch_size=2), []

    def endless(things):
        for number in range(1000):
            pulled.append(number)
            yield things[number % 3]

    with pytest.raises(ValueError, match="cannot be read"):
        encoder.encode_images(endless([*PICTURES[:2], b"broken"]))
    assert len(pulled) <= 6  # the batch before, the batch that broke, and the one decoded ahead
    rows = encoder.encode_images(iter(PICTURES * 2))
    torch.testing.assert_close(rows, encoder.encode_images(PICTURES).repeat(2, 1))
    torch.testing.assert_close(encoder.encode_texts(iter(TEXTS)), encoder.encode_texts(TEXTS))
    regions = encoder.encode_regions(iter(PICTURES), iter(BOXES))
    torch.testing.assert_close(regions, encoder.encode_regions(PICTURES, BOXES))
    with pytest.raises(ValueError, match="Boxes end after 2"):
        encoder.encode_regions(iter(PICTURES), iter(BOXES[:2]))


def test_boxes_in_pixels_are_those_in_fractions(model):
    pixels = [[(x0 * 40, y0 * 24, x1 * 40, y1 * 24) for x0, y0, x1, y1 in own] for own in BOXES]
    found = make(model).encode_regions(PICTURES, pixels, units="pixels")
    torch.testing.assert_close(found, make(model).encode_regions(PICTURES, BOXES))


def test_boxes_in_pixels_are_of_the_picture_turned_upright(model):
    """A picture of 40 x 24 held sideways is seen as 24 x 40, and boxes are measured there."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = BytesIO()
    photo.save(content, "PNG", exif=exif)
    turned = make(model).encode_regions([content.getvalue()], [[(0.0, 20.0, 24.0, 40.0)]], units="pixels")
    upright = make(model).encode_regions([photo.transpose(Image.Transpose.ROTATE_270)], [[(0.0, 0.5, 1.0, 1.0)]])
    torch.testing.assert_close(turned, upright)


def test_patches_lie_in_rows_and_columns(model):
    encoder = make(model)
    patches = encoder.encode_patches(PICTURES)
    assert patches.shape == (3, 4, 4, 8)
    torch.testing.assert_close(patches.norm(dim=-1), torch.ones(3, 4, 4))
    cell = [[(0.25, 0.5, 0.5, 0.75)]] * 3  # the patch in the third row and second column
    torch.testing.assert_close(torch.cat(encoder.encode_regions(PICTURES, cell)), patches[:, 2, 1])
    assert encoder.encode_patches([]).shape == (0, 4, 4, 8)
    tall = png(5, (16, 40))
    of_any_aspect = make(model, mode="native")
    of_any_aspect.transform = replace(of_any_aspect.transform, patch_size=8, max_patches=12)
    found = of_any_aspect.encode_patches([PICTURES[0], tall])
    assert [tuple(each.shape) for each in found] == [(3, 4, 8), (5, 2, 8)]
    torch.testing.assert_close(found[1], of_any_aspect.encode_patches([tall])[0])


def test_tokens_are_refined_or_all_of_them(model):
    encoder = make(model)
    tokens, mask = encoder.encode_tokens(pictures=PICTURES)
    torch.testing.assert_close(tokens, encoder.encode_images_fully(PICTURES, tokens=True).tokens)
    raw, mask = encoder.encode_tokens(pictures=PICTURES, refined=False)
    torch.testing.assert_close(raw, encoder.encode_patches(PICTURES).flatten(1, 2))
    assert mask.all()
    raw, mask = encoder.encode_tokens(texts=TEXTS, kind="phrase", refined=False)
    assert mask.sum(dim=1).tolist() == Tokenizer.clip().count(TEXTS)
    ends = raw[torch.arange(len(TEXTS)), mask.sum(dim=1) - 1]
    torch.testing.assert_close(ends, encoder.encode_texts(TEXTS, "phrase"))
    with pytest.raises(ValueError, match="Give pictures or texts, one of them"):
        encoder.encode_tokens()
    plain = make(DualEncoder(replace(model.config, tokens="none", refine=None)))
    with pytest.raises(ValueError, match="refines no tokens"):
        plain.encode_tokens(texts=TEXTS, refined=True)


@pytest.mark.parametrize("mode", ["global", "late", "fused"])
def test_similarity_is_that_of_the_encoded(model, mode):
    encoder = make(model)
    texts = encoder.encode_texts_fully(TEXTS, "phrase", tokens=True)
    images = encoder.encode_images_fully(PICTURES, tokens=True)
    expected = compare(texts, images, SCORES[mode])
    torch.testing.assert_close(encoder.similarity(TEXTS, PICTURES, mode, "phrase"), expected)


def test_regions_are_proposed_boxes_each_phrase_against_the_best(model):
    encoder = make(model)
    text = "a cat on a red tile, next to two small dogs"
    values = encoder.similarity([text], PICTURES, "region")[0]
    phrases = encoder.encode_texts(["a cat on a red tile", "two small dogs"], "phrase")
    for value, grid in zip(values, encoder.encode_patches(PICTURES), strict=True):
        regions = propose_regions(grid[None], 12)[0][0]
        torch.testing.assert_close(value, (phrases @ regions.T).amax(dim=1).mean())


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"long_context": 40}, ["caption", "caption", "long_caption"]),
        ({"own_projection": ("long_caption",)}, ["caption", "caption", "long_caption"]),
        ({}, ["caption", "caption", "caption"]),  # there is nothing that long captions are read by alone
    ],
)
def test_a_text_that_a_captions_positions_do_not_hold_is_a_long_caption(model, options, kinds):
    config = replace(model.config, text=replace(model.config.text, **options))
    texts = ["a dog", "dog " * 14, "dog " * 15]  # with two marks, 16 and 17 tokens for 16 positions
    assert make(DualEncoder(config)).text_kinds(texts) == kinds


def test_parts_are_sentences_read_as_phrases_each_against_its_best_patch(model):
    encoder = make(model)
    texts = ["A cat sits. Two dogs lie below.", "a pig"]
    found = encoder.similarity(texts, PICTURES, "parts")
    whole, patches = encoder.similarity(texts, PICTURES), encoder.encode_patches(PICTURES).flatten(1, 2)
    for row, split in enumerate((["A cat sits.", "Two dogs lie below."], ["a pig"])):
        best = (encoder.encode_texts(split, "phrase") @ patches.mT).amax(dim=2).mean(dim=1)  # one per picture
        torch.testing.assert_close(found[row], (whole[row] + best) / 2)


def test_classes_compete_for_pictures_and_for_regions(model):
    encoder = make(model)
    scale = model.log_scale.exp().item()
    names, templates = ["cat", "dog"], ["a {}", "two {}s"]
    cat = encoder.encode_texts(["a cat", "two cats"]).mean(dim=0)
    dog = encoder.encode_texts(["a dog", "two dogs"]).mean(dim=0)
    classes = F.normalize(torch.stack([cat, dog]), dim=-1)
    expected = (scale * encoder.encode_images(PICTURES) @ classes.T).softmax(dim=1)
    torch.testing.assert_close(encoder.classify(PICTURES, names, templates), expected)
    regions = torch.cat(encoder.encode_regions(PICTURES, BOXES))
    found = encoder.classify(regions, names, "a {}", kind="phrase")
    torch.testing.assert_close(found, (scale * regions @ encoder.encode_texts(["a cat", "a dog"]).T).softmax(dim=1))
    with pytest.raises(ValueError, match="no classes to choose from"):
        encoder.classify(PICTURES, [])


def test_pictures_of_every_kind_are_encoded_alike(model, tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    colors = np.asarray(Image.open(BytesIO(PICTURES[0])))
    same = [str(tmp_path / "a.png"), tmp_path / "a.png", PICTURES[0], colors, torch.tensor(colors).permute(2, 0, 1)]
    rows = make(model).encode_images(same)
    torch.testing.assert_close(rows, rows[:1].expand(5, -1))
    stack = np.stack([colors, colors])
    torch.testing.assert_close(make(model).encode_images(stack), rows[:2])


def test_scaled_decoding_can_be_turned_off_for_the_pixels_of_plain_pillow(model):
    content = BytesIO()
    Image.open(BytesIO(png(0, (64, 48)))).resize((1920, 1440)).save(content, "JPEG", quality=90)
    whole = Image.open(BytesIO(content.getvalue())).convert("RGB")
    fast = make(model)
    exact = fast.decoding(scaled=False)
    assert torch.equal(exact.encode_images([content.getvalue()]), fast.encode_images([whole]))
    assert not torch.equal(fast.encode_images([content.getvalue()]), fast.encode_images([whole]))
    assert exact.model is fast.model
    assert exact.decoding(scaled=True).transform == fast.transform


@pytest.mark.usefixtures("unchecked")
def test_a_single_picture_or_text_is_refused(model):
    with pytest.raises(ValueError, match="Pictures come as a list, this is one bytes"):
        make(model).encode_images(PICTURES[0])
    with pytest.raises(ValueError, match="Texts come as a list, not as one string: 'a cat'"):
        make(model).encode_texts("a cat")


def test_a_bar_shows_long_work_where_it_was_asked_for(model, capsys):
    make(model, progress=True, batch_size=1).encode_images(PICTURES)
    assert "pictures" in capsys.readouterr().err
    make(model, progress=False).encode_images(PICTURES)
    make(model).encode_images(PICTURES)  # no terminal
    assert capsys.readouterr().err == ""


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


def test_coarse_arithmetic_follows_the_model_and_leaves_its_weights(model, tmp_path):
    coarse = make(model, dtype=torch.bfloat16)
    before = coarse.encode_images(PICTURES)
    coarse.save(tmp_path / "same")
    assert {tensor.dtype for tensor in load(tmp_path / "same").state_dict().values()} == {torch.float32}
    shared = coarse.decoding(scaled=False)
    assert shared._ready is coarse._ready  # one set of coarse weights
    with torch.no_grad():
        model.image_projection.weight.copy_(model.image_projection.weight.flip(0))
    torch.testing.assert_close(coarse.encode_images(PICTURES), before.flip(1))


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
