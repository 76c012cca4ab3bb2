"""Phrases of captions, by spaCy and by rules, beside marks made by hand and scenes whose things are known."""

import json
from pathlib import Path
from runpy import run_path

import pytest

from foveal.annotation.stage import WHOLE, Dropped, listening
from foveal.annotation.stages import phrases as module
from foveal.annotation.stages.phrases import Phrases, clean, has_spacy, parse
from foveal.data.scenes import Scenes
from foveal.types import Region, Sample

ROOT = Path(__file__).parents[4]


QUALITY = run_path(str(ROOT / "benchmarks" / "annotation_quality.py"))


PARSERS = ["rules", pytest.param("spacy", marks=pytest.mark.skipif(not has_spacy(), reason="spaCy is not installed"))]


@pytest.fixture(scope="module")
def marked():
    rows = json.loads((ROOT / "tests" / "fixtures" / "marked_captions.json").read_text(encoding="utf-8"))["captions"]
    return [QUALITY["marks"](row["marked"]) for row in rows]


def test_marks_say_where_phrases_and_heads_are():
    text, found = QUALITY["marks"]("[A *dog on [a *sofa]] barks.")
    assert text == "A dog on a sofa barks."
    assert found == [(0, 15, 2), (9, 15, 11)]


@pytest.mark.parametrize("parser", PARSERS)
def test_most_phrases_that_were_marked_by_hand_are_found(marked, parser):
    found = list(parse([text for text, _ in marked], parser))
    scores = QUALITY["agreement"]([own for _, own in marked], found)
    assert min(scores["head"]) > 93
    assert min(scores["core"]) > 91
    assert min(scores["whole"]) > 75


@pytest.mark.parametrize("parser", PARSERS)
def test_nearly_every_thing_of_a_scene_is_found_as_its_caption_words_it(parser):
    scenes = Scenes(count=30, size=32)
    captions = [sample.long_caption for sample in scenes]
    wanted = right = 0
    for index, found in enumerate(parse(captions, parser)):
        texts = {one.text.lower() for one in found}
        for own in QUALITY["said_of"](scenes.truth(index), captions[index]):
            wanted, right = wanted + len(own), right + len(own & texts)
    assert right >= 0.95 * wanted > 50


@pytest.mark.parametrize("parser", PARSERS)
def test_a_phrase_knows_its_noun_its_attributes_and_its_place(parser):
    caption = "There is a small brown dog on a red sofa."
    dog, sofa = next(parse([caption], parser))
    assert (dog.text, dog.head, dog.attributes) == ("a small brown dog on a red sofa", "dog", ("small", "brown"))
    assert dog.core == "a small brown dog"
    assert caption[dog.start : dog.end] == dog.text
    assert caption[dog.head_start :].startswith("dog")
    assert (sofa.text, sofa.head, sofa.attributes) == ("a red sofa", "sofa", ("red",))


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("caption", "phrase"),
    [
        ("A group of people stand in a park.", "A group of people"),
        ("The man who wears a hat smiles.", "The man who wears a hat"),
        ("A dog next to a cat.", "A dog"),
        ("Two cats sleep on a blanket.", "Two cats"),
    ],
)
def test_what_belongs_to_a_noun_is_taken_and_relations_are_not(parser, caption, phrase):
    assert phrase in [one.text for one in next(parse([caption], parser))]


@pytest.mark.parametrize("parser", PARSERS)
def test_the_picture_and_places_in_it_are_no_phrases(parser):
    texts = [one.text for one in next(parse(["A photo of a car in the background of the image."], parser))]
    assert texts
    assert all("car" in text for text in texts)


def test_every_phrase_gets_a_region_that_stands_for_the_whole_picture_once():
    sample = Sample("a", b"", long_caption="A dog on a sofa. The dog on a sofa is old, and a cat.")
    regions = Phrases(parser="rules")(sample).regions
    assert [region.phrase for region in regions] == ["A dog on a sofa", "a sofa", "a cat"]
    assert {region.box for region in regions} == {WHOLE}


def test_known_regions_stay_and_are_not_looked_for_again():
    known = Region((0.1, 0.1, 0.5, 0.5), "the dog on a sofa")
    found = Phrases(parser="rules")(Sample("a", b"", ("A dog on a sofa.",), regions=(known,))).regions
    assert found[0] == known
    assert [region.phrase for region in found[1:]] == ["a sofa"]


def test_short_captions_are_read_where_there_is_no_long_one():
    assert len(Phrases(parser="rules")(Sample("a", b"", ("A dog.", "A cat."))).regions) == 2
    assert len(Phrases(parser="rules")(Sample("a", b"", ("A dog.", "A cat."), "A bird.")).regions) == 1


def test_the_core_alone_and_the_first_few_can_be_asked_for():
    sample = Sample("a", b"", ("A red dog on a sofa with a pillow.",))
    stage = Phrases(parser="rules", modifiers=False, limit=2)
    with listening() as remarks:
        assert [region.phrase for region in stage(sample).regions] == ["A red dog", "a sofa"]
    assert remarks == {"phrase beyond the limit": 1}


@pytest.mark.parametrize("parser", PARSERS)
def test_a_batch_is_as_its_samples_one_by_one(parser):
    texts = ["A dog on a sofa.", "", "It is.", "Two red cars and a bus."]
    samples = [Sample(str(index), b"", (text,)) for index, text in enumerate(texts)]
    stage = Phrases(parser=parser)
    together = stage.batch(samples)
    assert [getattr(one, "reason", None) for one in together] == [None, "no caption", "no phrase", None]
    for sample, outcome in zip(samples, together, strict=True):
        if isinstance(outcome, Dropped):
            with pytest.raises(Dropped, match=outcome.reason):
                stage(sample)
        else:
            assert stage(sample) == outcome


def test_phrases_lose_commas_and_line_breaks():
    assert clean("a small, old\ndog; brown") == "a small old dog brown"


def test_spacy_that_is_missing_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(module, "has_spacy", lambda: False)
    module._pipeline.cache_clear()
    with pytest.raises(ValueError, match="pip install"):
        next(parse(["A dog."], "spacy"))
    assert next(parse(["A dog."], "best"))[0].text == "A dog"
