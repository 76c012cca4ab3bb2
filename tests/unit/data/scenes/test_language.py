import re
from collections import Counter
from random import Random

from foveal.data.scenes import COLORS, NOUNS, Scene, Scenes, Tile
from foveal.data.scenes.language import article, describe, draw_long_caption, place_name, write

ORANGE = Tile("apple", "large", "orange", (1, 1))


def test_captions_and_phrases_are_true_to_a_strict_reader(read, source, samples):
    for index, sample in enumerate(samples):
        reader = read(source, index, strict=True)
        assert reader.is_true(sample.captions[0]), sample.captions[0]
        assert reader.is_true(sample.long_caption), sample.long_caption


def test_captions_of_crowded_scenes_with_every_noun_are_true(read):
    source = Scenes(6, objects=(9, 9), count=8, nouns=len(NOUNS))
    for index, sample in enumerate(source):
        assert read(source, index, strict=True).is_true(sample.long_caption), sample.long_caption


def test_phrases_say_what_their_thing_is(source, samples):
    for index, sample in enumerate(samples):
        for tile, region in zip(source.truth(index).tiles, sample.regions, strict=True):
            for fact in (tile.noun, tile.size, tile.color):
                assert re.search(rf"\b{fact}\b", region.phrase)


def test_a_long_caption_names_every_thing_with_all_its_facts_and_place(source, samples):
    for index, sample in enumerate(samples):
        scene = source.truth(index)
        sentences = sample.long_caption.split(". ")
        assert scene.background in sample.long_caption
        for tile in scene.tiles:
            facts = (tile.noun, tile.size, tile.color, place_name(tile.place))
            assert any(all(fact in sentence for fact in facts) for sentence in sentences), (facts, sentences)


def test_phrases_and_articles_are_english(samples):
    assert describe(ORANGE) == "a large apple on an orange tile"
    assert describe(ORANGE, 1) == "an orange tile with a large apple"
    assert describe(ORANGE, 2, definite=True) == "the large apple on the orange square"
    assert [article(color) for color in COLORS].count("an") == 1
    for sample in samples:
        texts = [*sample.captions, sample.long_caption]
        texts += [negative.text for negative in sample.caption_negatives + sample.long_caption_negatives]
        for text in texts:
            assert not re.search(r"\ban [^aeiou]|\ba [aeiou]", text), text
            assert not re.search(r"\bone tiles|\{|\}|  ", text), text
            assert text.endswith(".")
            assert all(sentence[0].isupper() for sentence in text.split(". "))


def test_places_have_nine_names():
    names = {place_name((column, row)) for column in range(3) for row in range(3)}
    assert len(names) == 9
    assert place_name((0, 0)) == "top left"
    assert place_name((1, 2)) == "bottom middle"
    assert place_name((1, 1)) == "center"


def test_sentences_keep_every_word_when_two_things_change_places():
    scene = Scene((ORANGE, Tile("fox", "small", "blue", (0, 0)), Tile("key", "small", "green", (2, 0))), "gray")
    altered = scene.with_exchange(0, 1, ("noun", "size", "color"))
    for seed in range(30):
        sentences = draw_long_caption(scene, Random(seed), relations=3)
        one, two = (write(sentences, about) for about in (scene, altered))
        assert one != two
        bags = [Counter("a" if word == "an" else word for word in text.lower().split()) for text in (one, two)]
        assert {word.rstrip(".") for word in bags[0]} == {word.rstrip(".") for word in bags[1]}


def test_long_captions_are_long_and_their_order_varies(samples):
    captions = [sample.long_caption for sample in samples]
    lengths = sorted(len(caption.split()) for caption in captions)
    assert lengths[40] > 77
    assert lengths[72] > 110
    assert len(draw_long_caption(Scenes().truth(0), Random(0), relations=0)) < 8
    openings = [next(i for i, text in enumerate(caption.split(". ")) if "background" in text) for caption in captions]
    assert len(set(openings)) > 4
