"""Answers in words, judged by hand under both rules."""

import json

import pytest
from PIL import Image

from foveal.evaluation.answers import is_exact, judge, measure_answers, yes_no_result

ANSWERS = ["Yes, there is.", "no", "There is not.", ""]
LABELS = ["yes", "yes", "no", "no"]


def values(answers, labels, rule):
    result = yes_no_result(judge(answers, labels, rule), list(range(len(labels))), rule)
    return {name: metric.value for name, metric in result.metrics.items()}


def test_llavas_rule_reads_yes_no_no_yes():
    assert judge(ANSWERS, LABELS, "llava").yes.tolist() == [True, False, False, True]
    expected = {"accuracy": 50, "precision": 50, "recall": 50, "f1": 50, "yes_share": 50}
    assert values(ANSWERS, LABELS, "llava") == pytest.approx(expected)


def test_lmms_evals_rule_takes_yes_and_no_alone():
    expected = {"accuracy": 0, "precision": 0, "recall": 0, "f1": 0, "yes_share": 0}
    assert values(ANSWERS, LABELS, "lmms") == pytest.approx(expected)
    assert values([" Yes\n", "NO", "yes", "no."], LABELS, "lmms") == pytest.approx(
        {"accuracy": 25, "precision": 50, "recall": 50, "f1": 50, "yes_share": 50}
    )


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("No, it is a dog.", False),
        ("It is not there.", False),
        ("Yes. There is no cat.", True),  # the first sentence alone
        ("Nothing", True),  # as the published rule has it
        ("not, sure", False),
    ],
)
def test_llavas_rule_looks_for_words_of_the_first_sentence(answer, yes):
    assert judge([answer], ["yes"], "llava").yes.tolist() == [yes]


@pytest.mark.parametrize("rule", ["llava", "lmms"])
def test_right_answers_are_all_right(rule):
    assert values(LABELS, LABELS, rule) == pytest.approx(
        {"accuracy": 100, "precision": 100, "recall": 100, "f1": 100, "yes_share": 50}
    )


def test_short_answers_are_compared_without_case_and_punctuation():
    assert is_exact(" A Red cat.", "a red cat") and not is_exact("cat", "a cat")


class Parrot:
    """Says yes to all that asks for a cat."""

    def answer(self, pictures, questions):
        assert len(pictures) == len(questions)
        return ["Yes." if "cat" in question else "No." for question in questions]


@pytest.fixture
def root(tmp_path):
    asked = [(1, "cat", "yes"), (1, "dog", "yes"), (2, "cat", "no")]
    rows = [
        {
            "question_id": number,
            "image": f"COCO_val2014_{image:012d}.jpg",
            "text": f"Is there a {thing} in the image?",
            "label": label,
        }
        for number, (image, thing, label) in enumerate(asked)
    ]
    (tmp_path / "pope").mkdir()
    (tmp_path / "pope" / "coco_pope_random.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "coco" / "val2014").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "coco" / "val2014" / "COCO_val2014_000000000001.jpg")
    return tmp_path


def test_pope_asks_about_pictures_that_are_there_and_counts_the_others(root):
    results = measure_answers(Parrot(), ["pope@random"], [root]).results["pope@coco-random"]
    assert set(results) == {"yes_no_llava", "yes_no_lmms"}
    assert (results["yes_no_llava"].found, results["yes_no_llava"].total) == (2, 3)
    assert results["yes_no_llava"].metrics["accuracy"].value == 50
    assert results["yes_no_lmms"].metrics["accuracy"].value == 0


def test_other_protocols_and_missing_pictures_are_refused(root):
    with pytest.raises(ValueError, match="no protocol for a model that answers in words"):
        measure_answers(Parrot(), ["pope-as-choice@coco-random"], [root])
    (root / "coco" / "val2014" / "COCO_val2014_000000000001.jpg").unlink()
    with pytest.raises(ValueError, match="0 of 3 questions have their picture"):
        measure_answers(Parrot(), ["pope@coco-random"], [root])
