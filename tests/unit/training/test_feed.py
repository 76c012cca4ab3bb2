import re
from dataclasses import replace
from itertools import islice

import pytest
import tokenizers
from tokenizers import models, processors

from foveal.configuration import override
from foveal.data.formats import WebDataset
from foveal.data.images import SIGLIP_MEAN, SIGLIP_STD, ImageTransform
from foveal.data.scenes import Scenes
from foveal.data.texts import FirstSentence
from foveal.data.tokenizer import Tokenizer
from foveal.distributed import ALONE
from foveal.encoder.checkpoint import FAMILIES
from foveal.encoder.protocol import Protocol
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip, siglip2_b_16, tiny
from foveal.models.weights import load, save
from foveal.training.feed import Feed, open_data

EVERYTHING = Feed(long_captions=True, regions=2, negatives=3, caption_negatives=1)


def stream(feed, model=None, batch_size=4, seed=0):
    return feed.open(model or tiny(), batch_size=batch_size, seed=seed, world=ALONE, workers=0)


def first_batch(feed, model=None):
    return next(iter(stream(feed, model)))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("scenes:", Scenes(size=48)),
        ("scenes:seed=1,objects=2,3", Scenes(1, objects=(2, 3), size=48)),
        ("scenes:objects=2,3,seed=1,count=9", Scenes(1, objects=(2, 3), count=9, size=48)),
        ("scenes:size=64,split=test,siblings=4", Scenes(split="test", siblings=4, size=64)),
        ("scenes:count=none", Scenes(size=48)),
    ],
)
def test_scenes_are_named_with_their_options(spec, expected):
    assert open_data(spec, 48) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes:objekts=3", "Scenes has no 'objekts'. It has: seed, split, count, first, size, "),
        ("scenes:seed=one", "seed=one: expected a whole number."),
        ("scenes:seed", "'seed' sets nothing."),
        ("scenes:objects=3", "objects=3: expected 2 values, not 1."),
        ("scenes:objects=3,2", "Objects (3, 2) must be two numbers in order, from 2 to 9."),
        ("photos:seed=1", "Unknown kind of source 'photos:' in 'photos:seed=1'. Known: scenes."),
        ("nowhere/*.tar", "No such file: 'nowhere/*.tar'"),
    ],
)
def test_a_wrong_source_is_answered_with_the_right_ones(spec, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        open_data(spec)
    assert "\n" not in str(caught.value)


def test_files_and_folders_are_sources_too(scene_shards):
    assert open_data(str(scene_shards)) == WebDataset(scene_shards)


def test_no_source_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"no data\. Name some with --data, for example --data 'shards"):
        stream(Feed())


def test_each_source_needs_a_weight_if_any_has_one():
    with pytest.raises(ValueError, match="There are 2 sources and 1 weights"):
        stream(Feed(sources=("scenes:seed=0", "scenes:seed=1"), weights=(1.0,)))


def test_sources_are_mixed_by_weight_and_alike_without():
    feed = Feed(sources=("scenes:seed=0,size=32", "scenes:seed=1,size=32"))
    assert stream(feed).weights == (1.0, 1.0)
    mixed = stream(replace(feed, weights=(1.0, 9.0)), batch_size=30)
    assert mixed.weights == (1.0, 9.0)
    ids = next(iter(mixed)).ids
    assert 15 < sum(name.startswith("scenes-train-1-") for name in ids) < 30


def test_a_batch_holds_what_is_asked_for_and_nothing_else(scene_shards):
    batch = first_batch(replace(EVERYTHING, sources=(str(scene_shards),)))
    assert len(batch.ids) == len(batch.texts["caption"].ids) == len(batch.texts["long_caption"].ids) == 4
    assert batch.pixels.shape == (4, 3, 32, 32)
    assert batch.region_image.bincount(minlength=4).tolist() == [2, 2, 2, 2]
    assert batch.texts["negative"].owner.bincount(minlength=8).tolist() == [3] * 8
    assert batch.texts["caption_negative"].owner.tolist() == [0, 1, 2, 3]
    bare = first_batch(Feed(sources=(str(scene_shards),), captions=False))
    assert (bare.texts, bare.boxes, bare.region_image) == ({}, None, None)


def test_pictures_are_of_the_models_size(scene_shards):
    model = replace(tiny(), vision=replace(tiny().vision, image_size=64, patch_size=16))
    feed = Feed(sources=(str(scene_shards),))
    assert first_batch(feed, model).pixels.shape[-2:] == (64, 64)
    native = replace(feed, transform=replace(feed.transform, mode="native", max_patches=9))
    assert first_batch(native, model).pixels.values.shape[-1] == 16 * 16 * 3


def test_texts_beyond_the_length_of_their_kind_are_cut_and_ended(scene_shards):
    text = replace(tiny().text, context=10)
    feed = replace(EVERYTHING, sources=(str(scene_shards),))
    short = first_batch(feed, replace(tiny(), text=text))
    assert short.texts["caption"].ids.shape[1] <= 10
    assert short.texts["long_caption"].ids.shape[1] == 10
    assert (short.texts["long_caption"].ids[:, -1] == 49407).all()
    longer = first_batch(feed, fg_clip(replace(tiny(), text=text), keep=2, ratio=4))
    assert longer.texts["long_caption"].ids.shape[1] == 34
    assert longer.texts["phrase"].ids.shape[1] <= 10


def test_texts_are_edited_first(scene_shards):
    feed = Feed(sources=(str(scene_shards),), long_captions=True, edits=(FirstSentence(),))
    batch = first_batch(feed)
    for short, long in zip(
        *map(Tokenizer.clip().decode, (batch.texts["caption"].ids, batch.texts["long_caption"].ids)), strict=True
    ):
        assert long.startswith(short)


def test_the_order_hangs_on_the_seed_and_is_resumed(scene_shards):
    feed = Feed(sources=(str(scene_shards),), shuffle_buffer=6)
    begun = stream(feed)
    batches = [batch.ids for batch in islice(begun, 2)]
    resumed = stream(feed)
    resumed.load_state_dict(begun.state_dict())
    whole = [batch.ids for batch in islice(stream(feed), 3)]
    assert whole == [*batches, next(iter(resumed)).ids]
    assert whole != [batch.ids for batch in islice(stream(feed, seed=1), 3)]


def test_the_tokenizer_of_another_model_is_refused():
    other = replace(tiny(), text=replace(tiny().text, eos_id=1))
    with pytest.raises(ValueError, match=r"ends texts with 49407, the model wants 1\. Set data\.tokenizer\.path"):
        Feed().batcher(other)


def test_near_misses_without_regions_are_refused(scene_shards):
    with pytest.raises(ValueError, match="negatives=3 belong to regions"):
        stream(Feed(sources=(str(scene_shards),), negatives=3))


def test_fields_are_set_by_words():
    feed = override(Feed(), ["sources=a.tar,b.tar", "weights=2,1", "regions=4", "transform.mode=crop"])
    assert (feed.sources, feed.weights, feed.regions) == (("a.tar", "b.tar"), (2.0, 1.0), 4)
    assert feed.transform.mode == "crop"
    assert override(Feed(), ['sources=["scenes:seed=1,objects=2,3"]']).sources == ("scenes:seed=1,objects=2,3",)


@pytest.fixture
def of_any_aspect(tmp_path):
    """A model folder of the build of SigLIP 2: gray means, bilinear, any aspect, a tokenizer of its own."""
    folder = tmp_path / "theirs"
    config = replace(siglip2_b_16(), embed_width=16)
    tower = {"width": 16, "mlp_width": 24, "layers": 1, "heads": 2}
    vision, text = replace(config.vision, **tower), replace(config.text, **tower, vocabulary=50)
    save(DualEncoder(replace(config, vision=vision, text=text)), folder)
    FAMILIES["siglip2"].write(folder)
    backend = tokenizers.Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "a": 2, "?": 3}, unk_token="?"))
    backend.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    backend.save(str(folder / "tokenizer.json"))
    return folder


def test_a_feed_follows_the_checkpoint_that_a_training_begins_from(of_any_aspect):
    model = load(of_any_aspect).config
    feed = Feed(sources=("scenes:count=8",)).following(of_any_aspect, model)
    expected = ImageTransform(mode="native", mean=SIGLIP_MEAN, std=SIGLIP_STD, resample="bilinear", max_patches=256)
    assert feed.transform == expected
    assert feed.tokenizer == Tokenizer.open(of_any_aspect, lower=True, pad_to_length=True)
    batch = first_batch(feed, model)
    assert batch.pixels.values.min() >= -1
    assert batch.texts["caption"].ids.shape == (4, 64)  # padding is part of the text


def test_patches_that_the_recipe_asks_for_stay(of_any_aspect):
    recipe = Feed(transform=ImageTransform(mode="native", max_patches=1024))
    feed = recipe.following(of_any_aspect, load(of_any_aspect).config)
    assert feed.transform.max_patches == 1024
    assert feed.transform.mean == SIGLIP_MEAN


def test_how_pictures_are_fitted_stays_the_recipes(tmp_path):
    """FG-CLIP squashes what CLIP, from which it begins, crops."""
    save(DualEncoder(tiny()), tmp_path)
    FAMILIES["clip"].write(tmp_path)
    assert EVERYTHING.following(tmp_path, tiny()) == EVERYTHING


def test_a_recipe_that_crops_rounds_the_middle_as_the_checkpoint_that_it_begins_from(tmp_path):
    save(DualEncoder(tiny()), tmp_path)
    FAMILIES["clip"].write(tmp_path)
    cropping = replace(EVERYTHING, transform=ImageTransform(mode="crop"))
    assert cropping.following(tmp_path, tiny()).transform == ImageTransform(mode="crop", crop_rounding="half_even")
    replace(FAMILIES["clip"], crop_rounding="floor").write(tmp_path)
    assert cropping.following(tmp_path, tiny()) == cropping


def test_a_file_of_weights_is_followed_as_its_folder_is(of_any_aspect, tmp_path):
    file, model = of_any_aspect / "model.safetensors", load(of_any_aspect).config
    feed = Feed().following(file, model)
    assert feed == Feed().following(of_any_aspect, model)
    for name, init in (("folder", of_any_aspect), ("file", file)):
        feed.write_protocol(tmp_path / name, model, init)
    assert Protocol.read(tmp_path / "file") == Protocol.read(tmp_path / "folder")


def test_a_protocol_is_written_with_where_the_weights_came_from(of_any_aspect, tmp_path):
    replace(FAMILIES["siglip2"], source="someone/siglip", revision="abc", licence="mit").write(of_any_aspect)
    model = load(of_any_aspect).config
    feed = Feed().following(of_any_aspect, model)
    feed.write_protocol(tmp_path / "ours", model, of_any_aspect)
    assert Protocol.read(tmp_path / "ours") == Protocol.read(of_any_aspect)
    assert (tmp_path / "ours/tokenizer.json").read_bytes() == (of_any_aspect / "tokenizer.json").read_bytes()
    EVERYTHING.write_protocol(tmp_path / "fresh", tiny())
    assert Protocol.read(tmp_path / "fresh") == Protocol(family="clip", resize="squash")
