import re
from collections import Counter
from random import Random

from foveal.data.scenes import COLORS, KINDS, NOUNS, Scene, Scenes, Tile
from foveal.data.scenes.language import Caption
from foveal.data.scenes.negatives import (
    caption_negatives,
    contradicts,
    region_negatives,
)

NAMES = list(NOUNS)[:64]


def words(text):
    return Counter("a" if word == "an" else word for word in text.lower().replace(".", "").split())


def test_no_negative_of_a_caption_is_true_even_to_a_lenient_reader(read, source, samples):
    for index, sample in enumerate(samples):
        reader = read(source, index, strict=False)
        for negative in sample.caption_negatives + sample.long_caption_negatives:
            assert negative.kind in KINDS
            assert not reader.is_true(negative.text), (sample.long_caption, negative)


def test_negatives_of_crowded_scenes_are_false_too(read):
    source = Scenes(11, objects=(9, 9), nouns=24, count=8)
    for index, sample in enumerate(source):
        reader = read(source, index, strict=False)
        for negative in sample.caption_negatives + sample.long_caption_negatives:
            assert not reader.is_true(negative.text), (sample.long_caption, negative)
        for region in sample.regions:
            assert len({negative.text for negative in region.negatives} - {region.phrase}) == 10


def test_negatives_never_repeat_nor_equal_the_truth(samples):
    for sample in samples:
        for truth, negatives in (
            (sample.captions[0], sample.caption_negatives),
            (sample.long_caption, sample.long_caption_negatives),
            *((region.phrase, region.negatives) for region in sample.regions),
        ):
            texts = [negative.text for negative in negatives]
            assert truth not in texts
            assert len(set(texts)) == len(texts)


def test_region_negatives_are_ten_and_change_the_fact_they_name(source, samples):
    for index, sample in enumerate(samples):
        scene = source.truth(index)
        for tile, region in zip(scene.tiles, sample.regions, strict=True):
            assert len(region.negatives) == 10
            kinds = Counter(negative.kind for negative in region.negatives)
            assert kinds["size"] == 1
            assert kinds["attribute"] == 3
            assert kinds["object"] >= 4
            for negative in region.negatives:
                before, after = words(region.phrase), words(negative.text)
                lost, gained = set(before - after), set(after - before)
                if negative.kind == "size":
                    assert lost | gained == {"large", "small"}
                elif negative.kind == "object":
                    assert lost <= set(tile.noun.split())
                    assert lost | gained
                else:
                    assert lost == {tile.color}
                    present = {other.color for other in scene.tiles}
                    assert (gained <= present) == (negative.kind == "swapped_attribute")


def test_region_negatives_can_be_fewer():
    scene = Scenes().truth(0)
    few = region_negatives(scene, 0, 0, NAMES, Random(0), 2)
    assert few[0].kind == "size"
    assert len(few) == 2
    assert region_negatives(scene, 0, 0, NAMES, Random(0), 0) == ()


def test_every_kind_occurs_and_in_order(samples):
    seen = Counter()
    for sample in samples:
        for negatives in (sample.caption_negatives, sample.long_caption_negatives):
            kinds = [negative.kind for negative in negatives]
            assert kinds == sorted(set(kinds), key=KINDS.index)
        seen.update(negative.kind for negative in sample.long_caption_negatives)
        seen.update("caption " + negative.kind for negative in sample.caption_negatives)
    assert set(seen) == {*KINDS, *(f"caption {kind}" for kind in KINDS)}
    assert min(seen["swapped_attribute"], seen["swapped_position"]) > 65
    assert seen["count"] == seen["object"] == 80


def test_swaps_in_a_short_caption_keep_every_word(samples):
    number = 0
    for sample in samples:
        for negative in sample.caption_negatives:
            if negative.kind.startswith("swapped"):
                assert words(negative.text) == words(sample.captions[0])
                number += 1
    assert number > 90


def test_a_long_negative_has_the_same_sentences_but_for_its_facts(samples):
    facts = {*COLORS, "large", "small", *(word for noun in NOUNS for word in noun.split())}
    for sample in samples:
        for negative in sample.long_caption_negatives:
            if negative.kind in ("attribute", "size", "swapped_attribute", "swapped_size"):
                before, after = sample.long_caption.lower().split(), negative.text.lower().split()
                assert len(before) == len(after)
                changed = {
                    word.rstrip(".") for pair in zip(before, after, strict=True) if pair[0] != pair[1] for word in pair
                }
                assert changed <= facts | {"a", "an"}


def test_relation_and_count_lie_in_one_sentence_only(samples):
    for sample in samples:
        truth = sample.long_caption.split(". ")
        for negative in sample.long_caption_negatives:
            if negative.kind in ("relation", "count"):
                lies = [one for one, two in zip(negative.text.split(". "), truth, strict=True) if one != two]
                assert len(lies) == 1


def test_exchanging_the_colors_of_two_like_things_contradicts_the_scene():
    """A caption contradicts the scene once the colors of its two foxes are exchanged, and not before."""
    fox, other = Tile("fox", "large", "red", (0, 0)), Tile("fox", "large", "blue", (0, 2))
    scene = Scene((fox, other), "white")
    caption = Caption(template=0, form=0, axis=1, variant=0)
    assert not contradicts(caption, scene, scene)
    assert contradicts(caption, scene.with_exchange(0, 1, ("color",)), scene)


def test_a_caption_about_a_neighbor_that_fits_is_no_negative():
    """Recoloring the first key makes it the second, which also lies left of the fox."""
    key, fox = Tile("key", "large", "red", (0, 0)), Tile("fox", "large", "green", (2, 0))
    twin = Tile("key", "large", "blue", (0, 2))
    scene = Scene((key, fox, twin), "white")
    caption = Caption(template=0, form=0, axis=0, variant=0)
    altered = Scene((Tile("key", "large", "blue", (0, 0)), fox, twin), "white")
    assert not contradicts(caption, altered, scene)
    for seed in range(40):
        texts = [negative.text for negative in caption_negatives(caption, scene, NAMES, Random(seed))]
        assert "A large key on a blue tile is to the left of a large fox on a green tile." not in texts


def test_without_relations_a_long_caption_has_no_negative_about_them():
    for sample in Scenes(18, count=10, relations=0):
        assert "relation" not in {negative.kind for negative in sample.long_caption_negatives}


def test_told_regions_are_true_and_their_near_misses_false(read):
    source = Scenes(3, count=40, told=1.0, negatives=8)
    kinds = Counter()
    for index, sample in enumerate(source):
        reader = read(source, index, strict=False)
        for region in sample.regions:
            assert reader.is_true(region.phrase), region.phrase
            assert region.negatives
            kinds.update(negative.kind for negative in region.negatives)
            for negative in region.negatives:
                assert not reader.is_true(negative.text), (region.phrase, negative)
    assert {"swapped_position", "position", "relation", "swapped_attribute", "size", "object"} <= set(kinds)


def test_a_told_place_has_near_misses_that_differ_in_nothing_but_the_place():
    """Else nothing teaches places: a sentence about what lies elsewhere is refuted by the tile alone."""
    words = re.compile(r"\b(?:(?:top|middle|bottom) (?:left|middle|right)|center)\b")
    seen = 0
    for sample in Scenes(5, count=30, told=1.0):
        for region in sample.regions:
            place = words.search(region.phrase)
            if place is None:
                continue
            seen += 1
            moved = [near.text for near in region.negatives if near.kind in ("position", "swapped_position")][:4]
            assert len(set(moved)) == 4
            assert {words.sub("_", text) for text in moved} == {words.sub("_", region.phrase)}
            assert place[0] not in {words.search(text)[0] for text in moved}
    assert seen > 30


def test_told_regions_leave_everything_else_as_it_was():
    plain, told = Scenes(3, count=5), Scenes(3, count=5, told=1.0)
    for one, other in zip(plain, told, strict=True):
        assert [region.phrase for region in one.regions] != [region.phrase for region in other.regions]
        assert (one.image, one.captions, one.long_caption) == (other.image, other.captions, other.long_caption)
        assert one.long_caption_negatives == other.long_caption_negatives
        assert [region.box for region in one.regions] == [region.box for region in other.regions]
