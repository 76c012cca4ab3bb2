"""What is taken away, and why; copies of pictures; contamination by benchmarks."""

from dataclasses import replace

import pytest
import torch

from foveal.annotation.stage import Dropped, listening
from foveal.annotation.stages.filter import Filter, is_english, is_said, repetition
from foveal.data.scenes import Scenes
from foveal.language.facts import without_article
from foveal.types import Negative, Region, Sample

BOX = (0.1, 0.1, 0.6, 0.6)


CAPTION = "A small brown dog sits on a red sofa beside a window."


def drop(sample: Sample, stage: Filter | None = None) -> str:
    with pytest.raises(Dropped) as caught:
        (stage or Filter())(sample)
    return caught.value.reason


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "no caption"),
        ("Dog.", "caption that is too short"),
        ("dog " * 501, "caption that is too long"),
        ("I'm sorry, but I cannot see the image you are talking about.", "caption that refuses"),
        ("A dog on a sofa " * 6, "caption that repeats itself"),
        ("Ein kleiner brauner Hund sitzt auf einem roten Sofa neben dem Fenster.", "caption that is not English"),
        ("一只棕色的小狗 坐在红色的沙发上", "caption that is not English"),
    ],
)
def test_captions_of_no_use_drop_their_sample(caption, reason):
    assert drop(Sample("a", b"", (caption,))) == reason


def test_a_good_sample_comes_back_equal():
    region = Region(BOX, "a small brown dog", (Negative("a small white dog", "color"),))
    sample = Sample("a", b"", (CAPTION,), "The dog on the red sofa looks out of the window.", (region,))
    with listening() as remarks:
        assert Filter()(sample) == sample
    assert not remarks


def test_a_bad_caption_goes_alone_where_another_stays():
    negatives = (Negative("A cat sits there.", "object"),)
    sample = Sample("a", b"", ("Dog.", CAPTION), "I cannot see the image.", (), negatives, negatives)
    with listening() as remarks:
        done = Filter()(sample)
    assert (done.captions, done.long_caption) == ((CAPTION,), "")
    assert done.caption_negatives == negatives
    assert done.long_caption_negatives == ()
    assert remarks == {"caption that is too short": 1, "caption that refuses": 1}


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("", "phrase that is too short or too long"),
        ("dog " * 41, "phrase that is too short or too long"),
        ("a small white dog", "phrase not in the captions"),
    ],
)
def test_regions_of_no_use_are_taken_away_and_counted(phrase, reason):
    good = Region(BOX, "a red sofa")
    with listening() as remarks:
        done = Filter()(Sample("a", b"", (CAPTION,), regions=(Region(BOX, phrase), good)))
    assert done.regions == (good,)
    assert remarks == {reason: 1}


def test_phrases_that_no_caption_says_may_be_kept():
    region = Region(BOX, "a white cat")
    assert Filter(unsaid=True)(Sample("a", b"", (CAPTION,), regions=(region,))).regions == (region,)


def test_negatives_that_repeat_or_are_the_truth_are_taken_away():
    texts = ["a blue sofa", "The blue sofa", "the red sofa", "", "I'm sorry, I can't help with that.", "a green sofa"]
    region = Region(BOX, "a red sofa", tuple(Negative(text, "color") for text in texts))
    with listening() as remarks:
        (done,) = Filter()(Sample("a", b"", (CAPTION,), regions=(region,))).regions
    assert [one.text for one in done.negatives] == ["a blue sofa", "a green sofa"]
    assert remarks == {"negative that is empty, a repeat or a refusal": 4}
    (few,) = Filter(least_negatives=3)(Sample("a", b"", (CAPTION,), regions=(region,))).regions
    assert few.negatives == ()


def test_numbers_make_other_negatives():
    """They were once stripped with the articles, and all but the first lost."""
    negatives = tuple(Negative(f"{number} dogs", "number") for number in ("four", "five", "six"))
    region = Region(BOX, "two dogs", negatives)
    assert Filter()(Sample("a", b"", ("Two dogs run on a beach.",), regions=(region,))).regions == (region,)


def test_a_region_that_stands_twice_stays_once():
    regions = (Region(BOX, "a red sofa"), Region(BOX, "The red sofa"), Region((0.0, 0.0, 0.5, 0.5), "a red sofa"))
    assert Filter()(Sample("a", b"", (CAPTION,), regions=regions)).regions == (regions[0], regions[2])


def test_shares_are_what_one_counts_by_hand():
    assert repetition(["a", "b", "c", "d"]) == 0
    assert repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)
    assert repetition([]) == 0
    assert is_said("the small dog", (CAPTION,))
    assert not is_said("a dog beside a cat", ("A dog.", "A cat."))
    assert is_english("Stop sign", ["stop", "sign"])
    assert without_article("The red dog") == without_article("a Red dog") == "red dog"


class Marked:
    """Stands in for an encoder: pictures are b"0" or b"1", texts hold the digit they fit."""

    def encode_images(self, pictures):
        if any(picture == b"broken" for picture in pictures):
            raise ValueError("Picture is broken.")
        return torch.eye(2)[[int(picture) for picture in pictures]]

    def encode_texts(self, texts, kind="caption"):
        return torch.eye(2)[[int("one" in text) for text in texts]]


def test_captions_that_do_not_fit_their_picture_drop_it(unchecked):
    stage = Filter(similarity=0.5, encoder=Marked())
    texts = [
        (b"0", "There is zero of it."),
        (b"1", "There is zero of it."),
        (b"broken", "There is one."),
        (b"1", "There is one."),
    ]
    samples = [Sample(str(index), image, (text,)) for index, (image, text) in enumerate(texts)]
    first, second, third, last = stage.batch([*samples[:2], samples[2], samples[3]])
    assert (first, last) == (samples[0], samples[3])
    assert isinstance(second, Dropped)
    assert second.reason == "caption that does not fit its picture"
    assert isinstance(third, ValueError)
    either = replace(samples[1], long_caption="There is one of it.")
    assert stage(either) == either


def test_scenes_are_good_samples():
    for sample in Scenes(count=5, size=32):
        assert Filter(unsaid=True)(sample) == sample
