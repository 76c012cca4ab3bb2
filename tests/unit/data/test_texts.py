import numpy as np
import pytest

from foveal.data.texts import DropSummary, FirstSentence, Prefix, SampleSentences, first_sentence, sentences
from foveal.types import Negative, Sample

LONG = "A dog runs. It is brown! Is it wet? Yes."
FOUR = ["A dog runs.", "It is brown!", "Is it wet?", "Yes."]


def sample(**fields) -> Sample:
    return Sample("one", b"", **{"long_caption": LONG, "long_caption_negatives": (Negative("A cat runs."),), **fields})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LONG, FOUR),
        ("", []),
        ("  \n ", []),
        ("no stop at all", ["no stop at all"]),
        ("One.\n\nTwo.  ", ["One.", "Two."]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        (
            "Fruit, e.g. an apple, lies there. It is 3.5 cm wide.",
            ["Fruit, e.g. an apple, lies there.", "It is 3.5 cm wide."],
        ),
        ("Wait... what? Really?!", ["Wait... what?", "Really?!"]),
        ("\u4e00\u53ea\u72d7\u3002\u5b83\u5728\u8dd1\u3002", ["\u4e00\u53ea\u72d7\u3002", "\u5b83\u5728\u8dd1\u3002"]),
    ],
)
def test_sentences_end_at_their_stops(text, expected):
    assert sentences(text) == expected


def test_no_character_is_lost_between_sentences():
    assert " ".join(sentences(LONG)) == LONG


def test_the_first_sentence_ends_before_the_first_stop_and_space():
    assert first_sentence("A dog\nruns. It is brown.") == "A dog runs"
    assert first_sentence("Only one.") == "Only one."
    assert first_sentence("") == ""


def test_the_first_sentence_becomes_the_caption_and_old_near_misses_go():
    given = sample(captions=("old",), caption_negatives=(Negative("ald"),))
    edited = FirstSentence()(given, rng())
    assert edited.captions == ("A dog runs",)
    assert edited.caption_negatives == ()
    assert edited.long_caption == LONG
    assert given.captions == ("old",)


def test_the_first_sentence_may_help_out_only_where_captions_are_missing():
    assert FirstSentence(only_missing=True)(sample(captions=("old",)), rng()).captions == ("old",)
    assert FirstSentence(only_missing=True)(sample(), rng()).captions == ("A dog runs",)
    assert FirstSentence()(sample(long_caption=" "), rng()).captions == ()


def test_an_empty_caption_is_a_missing_one():
    assert FirstSentence(only_missing=True)(sample(captions=("", " ")), rng()).captions == ("A dog runs",)
    assert Prefix()(sample(captions=("", "a dog")), rng()).captions == ("a photo of a dog",)


def test_dropping_the_summary_leaves_the_other_sentences():
    edited = DropSummary()(sample(), rng())
    assert edited.long_caption == "It is brown! Is it wet? Yes."
    assert edited.long_caption_negatives == ()


def test_a_caption_of_one_sentence_keeps_its_summary():
    assert DropSummary()(sample(long_caption="A dog runs."), rng()).long_caption == "A dog runs."


def test_the_summary_is_dropped_as_often_as_asked():
    dropped = sum(DropSummary(0.25)(sample(), rng(seed)).long_caption != LONG for seed in range(400))
    assert 60 < dropped < 140
    assert DropSummary(0.0)(sample(), rng()) == sample()


def test_sampled_sentences_keep_the_caption_s_order():
    for seed in range(20):
        kept = sentences(SampleSentences(2)(sample(), rng(seed)).long_caption)
        places = [FOUR.index(sentence) for sentence in kept]
        assert len(places) == 2
        assert places == sorted(places)


def test_every_sentence_is_sampled_as_often_as_the_others():
    kept = [s for seed in range(400) for s in sentences(SampleSentences(2)(sample(), rng(seed)).long_caption)]
    assert all(150 < kept.count(sentence) < 250 for sentence in FOUR)


def test_shuffled_sentences_are_the_same_sentences():
    texts = {SampleSentences(4, shuffle=True)(sample(), rng(seed)).long_caption for seed in range(20)}
    assert len(texts) > 5
    assert all(sorted(sentences(text)) == sorted(FOUR) for text in texts)


def test_a_varying_number_of_sentences_lies_between_one_and_most():
    counts = {len(sentences(SampleSentences(3, vary=True)(sample(), rng(seed)).long_caption)) for seed in range(50)}
    assert counts == {1, 2, 3}


def test_a_caption_with_no_more_sentences_than_wanted_stays_with_its_near_misses():
    assert SampleSentences(4)(sample(), rng()) == sample()
    assert SampleSentences(2)(sample(long_caption=""), rng()).long_caption == ""


def test_sampling_no_sentences_is_refused():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        SampleSentences(0)


def test_a_prefix_stands_before_captions_and_near_misses_alike():
    edited = Prefix()(sample(captions=("a dog", "a pup"), caption_negatives=(Negative("a cat", "object"),)), rng())
    assert edited.captions == ("a photo of a dog", "a photo of a pup")
    assert edited.caption_negatives == (Negative("a photo of a cat", "object"),)


@pytest.mark.parametrize("edit", [DropSummary(0.5), SampleSentences(2, vary=True, shuffle=True)])
def test_the_same_randomness_gives_the_same_text(edit):
    assert [edit(sample(), rng(seed)) for seed in range(9)] == [edit(sample(), rng(seed)) for seed in range(9)]
