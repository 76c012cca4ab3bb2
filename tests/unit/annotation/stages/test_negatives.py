"""Near misses: of stated kinds, grammatical, false, and never twice."""

from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest
import torch

from foveal.annotation.stage import listening
from foveal.annotation.stages.negatives import Negatives, flaw
from foveal.annotation.stages.phrases import Phrases
from foveal.data.scenes import Scenes
from foveal.language.facts import OtherFacts, read
from foveal.language.lexicon import KINDS
from foveal.language.substitution import Common
from foveal.types import Negative, Region, Sample

QUALITY = run_path(str(Path(__file__).parents[4] / "benchmarks" / "annotation_quality.py"))


BOX = (0.1, 0.1, 0.6, 0.6)


def sample_of(*phrases: str, captions: tuple[str, ...] = (), negatives: tuple[Negative, ...] = ()) -> Sample:
    return Sample("a", b"", captions or phrases, regions=tuple(Region(BOX, phrase, negatives) for phrase in phrases))


def test_every_region_gets_ten_that_keep_the_name_of_the_thing():
    (region,) = Negatives(kinds=KINDS[:-1])(sample_of("a small brown dog on a red wooden chair")).regions
    assert len(region.negatives) == 10
    assert all("dog" in one.text and "chair" in one.text for one in region.negatives)
    assert {"color", "size", "material"} <= {one.kind for one in region.negatives}
    assert len({one.text for one in region.negatives} | {region.phrase}) == 11


def test_the_same_sample_gets_the_same_whatever_came_before():
    one, other = sample_of("a small brown dog"), replace(sample_of("a red car"), id="b")
    stage = Negatives()
    first = stage(one)
    stage(other)
    assert Negatives()(one) == first
    assert Negatives(seed=1)(one) != first


def test_regions_that_have_negatives_keep_theirs():
    sample = sample_of("a red dog", negatives=(Negative("a blue dog", "color"),))
    assert Negatives()(sample) is sample


def test_nothing_is_written_that_is_true_of_another_thing_of_the_picture():
    sample = sample_of("a red car", "a blue car")
    texts = [{one.text for one in region.negatives} for region in Negatives()(sample).regions]
    assert "a blue car" not in texts[0]
    assert "a red car" not in texts[1]
    assert "a green car" in texts[0] & texts[1]


def test_a_thing_of_unknown_color_forbids_other_colors():
    sample = sample_of("a red car", captions=("A red car is parked behind a car.",))
    assert all(one.kind != "color" for one in Negatives()(sample).regions[0].negatives)


def test_a_thing_that_is_named_again_forbids_nothing():
    sample = sample_of("a red car", captions=("A red car is parked. The car is next to a tree.", "A car near a tree."))
    assert sum(one.kind == "color" for one in Negatives()(sample).regions[0].negatives) > 5


def test_what_stands_around_a_phrase_is_not_said_of_it():
    sample = sample_of("a red sofa", captions=("A dog on a red sofa next to a lamp.",))
    texts = [one.text for one in Negatives(kinds=("object",))(sample).regions[0].negatives]
    assert "a red lamp" not in texts  # it may be red, for all that is said
    assert "a red dog" not in texts
    assert len(texts) == 10


def test_what_is_seen_elsewhere_comes_first():
    sample = sample_of("a red car", captions=("A red car, a green bus and a white tree.",))
    negatives = Negatives()(sample).regions[0].negatives
    assert {one.text for one in negatives[:2]} == {"a green car", "a white car"}
    assert {"a red bus", "a red tree"} <= {one.text for one in negatives}


def test_what_a_source_says_often_comes_before_what_it_never_says_and_in_its_words():
    said = ["a dog and a lion", "a pink lion", "a lion and a dog", "a dog beside a street car", *4 * ["a cable car"]]
    stage = Negatives().prepared(Sample(str(number), b"", (text,)) for number, text in enumerate(said))
    assert stage.common.words == {"car": "cable car", "dog": "dog", "lion": "lion"}
    (region,) = stage(sample_of("a brown dog")).regions
    objects = [one.text for one in region.negatives if one.kind == "object"]
    assert objects[:2] == ["a brown lion", "a brown cable car"]
    common = Common({"cat": "tomcat"})
    assert Negatives(common=common).prepared([]).common is common


def test_a_thing_gives_way_to_what_stands_in_such_a_place_and_strange_names_come_last():
    said = 3 * ["a red cup on a table", "a green dog on a bench", "a bird beside a red cat"]
    stage = Negatives().prepared(Sample(str(number), b"", (text,)) for number, text in enumerate(said))
    assert stage.common.places["on", ""] == {"table", "bench"}
    assert stage.common.places["", "on"] == {"cup", "dog"}
    (region,) = stage(sample_of("a red cup on a table")).regions
    texts = [one.text for one in region.negatives]
    assert set(texts[:3]) == {"a green cup on a table", "a red dog on a table", "a red cup on a bench"}
    assert len(texts) == 10


def test_a_mention_of_a_thing_told_of_is_no_other_thing():
    captions = ("A small red cup stands beside a blue lamp. The cup is below the dog. The lamp is old.",)
    (region,) = Negatives(kinds=("object",))(sample_of("a blue lamp", captions=captions)).regions
    assert "a blue cup" in {one.text for one in region.negatives}
    captions = ("A cup stands beside a blue lamp. The cup is below the dog.",)
    (region,) = Negatives(kinds=("object",))(sample_of("a blue lamp", captions=captions)).regions
    assert "a blue cup" not in {one.text for one in region.negatives}


def test_what_no_text_says_is_there_is_not_there():
    """Another red chair may carry a cat, for all that is said of it; but no cat is told of."""
    captions = ("A dog on a red chair. A red chair with a cushion.",)
    (region,) = Negatives(kinds=("object",))(sample_of("a dog on a red chair", captions=captions)).regions
    texts = {one.text for one in region.negatives}
    assert any(text.endswith("on a red chair") for text in texts)
    assert "a cushion on a red chair" not in texts


@pytest.mark.parametrize("seed", [0, 1])
def test_near_misses_of_scenes_are_false_of_everything_in_them(seed):
    scenes = Scenes(seed, count=8, size=32)
    phrases, negatives = Phrases(parser="rules"), Negatives(seed=seed)
    total = wrong = 0
    for index, sample in enumerate(scenes):
        done = negatives(phrases(replace(sample, regions=(), captions=())))
        texts = [one.text for region in done.regions for one in region.negatives]
        total, wrong = (
            total + len(texts),
            wrong + sum(QUALITY["is_true_of"](text, scenes.truth(index)) for text in texts),
        )
        assert all(QUALITY["is_true_of"](region.phrase, scenes.truth(index)) for region in done.regions)
    assert wrong <= 0.01 * total
    assert total > 400


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("the red sofa", "color", "negative that is the phrase itself"),
        ("a red couch", "object", "negative that is a synonym"),
        ("a crimson sofa", "color", "negative that is a synonym"),
        ("a blue lamp", "color", "negative that names another object"),
        ("of the", "color", "negative that names nothing"),
        (
            "a red sofa that someone has put in the middle of a large and empty room",
            "position",
            "negative that is too long",
        ),
        ("a blue sofa", "color", ""),
        ("a red lamp", "object", ""),
        ("a dusty sofa", "material", ""),
    ],
)
def test_answers_are_judged(text, kind, reason):
    assert flaw(Negative(text, kind), "a red sofa", read("a red sofa"), OtherFacts([], [])) == reason


class Told:
    """Answers as it was told, and remembers what it was asked."""

    concurrency = 3

    def __init__(self, *answers):
        self.answers, self.questions = list(answers), []

    def ask(self, question, schema, picture=None, check=None):
        self.questions.append(question)
        answer = self.answers.pop(0)
        return answer if check is None else check(answer)


def answer(*items: tuple[int, list[tuple[str, str]]]) -> dict:
    return {
        "items": [
            {"number": number, "negatives": [{"text": text, "kind": kind} for text, kind in pairs]}
            for number, pairs in items
        ]
    }


def test_an_assistant_is_asked_for_several_phrases_at_once_and_its_answers_are_checked():
    told = Told(
        answer(
            (2, [("a black cat.", "color"), ("a black cat", "color"), ("a white cat", "color")]),
            (1, [("a blue dog", "color")]),
        )
    )
    stage = Negatives(assistant=told)
    with listening() as remarks:
        dog, cat = stage(sample_of("a red dog", "a white cat")).regions
    assert [one.text for one in dog.negatives] == ["a blue dog"]
    assert cat.negatives == (Negative("a black cat", "color"),)
    assert remarks == {"negative that repeats another": 1, "negative that is the phrase itself": 1}
    assert len(told.questions) == 1
    assert "1. a red dog\n2. a white cat" in told.questions[0]
    assert stage.concurrency == 3


def test_phrases_are_asked_for_in_portions():
    told = Told(answer((1, [("a blue dog", "color")])), answer((1, [("a blue cat", "color")])))
    regions = Negatives(assistant=told, at_once=1)(sample_of("a red dog", "a red cat")).regions
    assert [one.text for region in regions for one in region.negatives] == ["a blue dog", "a blue cat"]


def test_an_answer_about_a_phrase_that_was_not_asked_for_is_refused():
    with pytest.raises(ValueError, match="number 3 is none of the phrases"):
        Negatives(assistant=Told(answer((3, []))))(sample_of("a red dog"))


class Looking:
    """Stands in for an encoder: a region looks blue, whatever it is."""

    def encode_regions(self, pictures, boxes):
        return tuple(torch.tensor([[1.0, 0.0]]).expand(len(own), 2) for own in boxes)

    def encode_texts(self, texts, kind="caption"):
        return torch.tensor([[1.0, 0.0] if "blue" in text else [0.0, 1.0] for text in texts])


def test_what_an_encoder_sees_there_is_no_near_miss(unchecked):
    with listening() as remarks:
        (region,) = Negatives(encoder=Looking(), kinds=("color",))(sample_of("a red dog")).regions
    assert len(region.negatives) == 7
    assert not any("blue" in one.text for one in region.negatives)
    assert remarks["negative that fits better than the phrase"] == 1


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="no kind of negative 'colour'"):
        Negatives(kinds=("colour",))
