"""Each task with an answer counted by hand."""

from pathlib import Path

import pytest
import torch

from foveal.evaluation.benchmark import Benchmark, Task
from foveal.evaluation.bootstrap import mean, weighted_means
from foveal.evaluation.choice import CaptionChoice, pair_metrics
from foveal.evaluation.classification import Classification
from foveal.evaluation.gallery import GroupedGallery, Ranking, average_precision
from foveal.evaluation.group_choice import GroupChoice
from foveal.evaluation.growing import Growing, pearson
from foveal.evaluation.retrieval import Retrieval
from foveal.evaluation.two_positives import TwoPositives
from foveal.types import Negative, Sample

A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


def value(encoder, samples, task, known):
    result = Benchmark(samples, (task,))(encoder(known))[task.name]
    return {name: metric.value for name, metric in result.metrics.items()}, result


def test_every_task_is_one():
    for task in (GroupChoice(), TwoPositives(), Growing(), GroupedGallery(), Ranking()):
        assert isinstance(task, Task)


def test_a_group_of_two_images_and_two_captions(encoder):
    known = {A: (1, 0), B: (0, 1), "a": (1, 0.1), "b": (0.1, 1), C: (1, 0), D: (0.9, 0.1), "c": (1, 0), "d": (1, 0.01)}
    samples = [
        Sample("1/0", A, captions=("a",)),
        Sample("1/1", B, captions=("b",)),
        Sample("2/0", C, captions=("c",)),
        Sample("2/1", D, captions=("d",)),
        Sample("3/0", A, captions=("a",)),  # its other half is not there
    ]
    metrics, result = value(encoder, samples, GroupChoice(kinds=(("1", "object"), ("2", "relation"))), known)
    # Group 2: c fits C best and d is nearer to D than c is, but d too is nearer to C than to D.
    assert (metrics["text"], metrics["image"], metrics["group"]) == (100, 50, 50)
    assert (metrics["object"], metrics["relation"], metrics["mean"]) == (100, 0, 50)
    assert result.queries["group"].outcome.tolist() == [1, 0]
    assert (result.found, result.unit) == (2, "groups")


def test_a_tie_in_a_group_is_wrong(encoder):
    samples = [Sample("1/0", A, captions=("same",)), Sample("1/1", B, captions=("same ",))]
    known = {A: (1, 0), B: (0, 1), "same": (1, 1), "same ": (1, 1)}
    metrics, _ = value(encoder, samples, GroupChoice(), known)
    assert (metrics["text"], metrics["image"], metrics["group"]) == (0, 0, 0)


def two(number, image, kind="swap"):
    negatives = (Negative(f"n{number}", kind),)
    return Sample(str(number), image, captions=(f"p{number}", f"q{number}"), caption_negatives=negatives)


def test_both_right_captions_must_win(encoder):
    known = {A: (1, 0)} | {"p1": (1, 0), "q1": (1, 0.1), "n1": (1, 0.5)} | {"p2": (1, 0), "q2": (1, 1), "n2": (1, 0.5)}
    metrics, result = value(encoder, [two(1, A), two(2, A)], TwoPositives(), known)
    assert result.queries["cases"].outcome.tolist() == [1, 0]
    assert (metrics["mean"], metrics["first_alone"], metrics["second_alone"]) == (50, 100, 50)


def test_texts_alone_need_no_image(encoder):
    # Case 1: p and q are nearer to each other than to n. Case 2: n lies between them.
    known = {"p1": (1, 0), "q1": (1, 0.1), "n1": (0, 1), "p2": (1, 0), "q2": (0, 1), "n2": (1, 1)}
    metrics, result = value(encoder, [two(1, A), two(2, A)], TwoPositives(texts_only=True), known)
    assert result.queries["cases"].outcome.tolist() == [1, 0]
    assert metrics["mean"] == 50


def test_growing_texts(encoder):
    known = {A: (1, 0), "1": (1, 2), "1 2": (1, 1), "1 2 3": (1, 0), "x": (1, 1), "x y": (1, 1)}
    samples = [Sample("a", A, captions=("1", "1 2", "1 2 3")), Sample("b", A, captions=("x", "x y"))]
    metrics, result = value(encoder, samples, Growing(), known)
    steps = torch.tensor([0.2**0.5, 0.5**0.5, 1.0])
    expected = torch.corrcoef(torch.stack([torch.arange(3.0), steps]))[0, 1].item()
    assert result.queries["images"].value.tolist() == pytest.approx([expected, 0], abs=1e-6)
    assert metrics["pearson"] == pytest.approx(expected / 2, abs=1e-6)
    assert metrics["always_rising"] == 50


def test_pearson_at_known_points():
    assert pearson(torch.tensor([1.0, 2, 3])).item() == pytest.approx(1)
    assert pearson(torch.tensor([3.0, 2, 1])).item() == pytest.approx(-1)
    assert pearson(torch.ones(4)).item() == 0


def test_the_other_images_of_a_group_are_not_in_the_gallery(encoder):
    # For the text of group 1 its own zoom B is the most similar of all, and A is what it looks for.
    known = {A: (1, 0.5), B: (1, 0), C: (1, 1), D: (0, 1), "one": (1, 0), "two": (1, 0.9)}
    samples = [
        Sample("1/full", A, captions=("one",)),
        Sample("1/zoom", B),
        Sample("2/full", D, captions=("two",)),
        Sample("2/zoom", C),
    ]
    metrics, result = value(encoder, samples, GroupedGallery(), known)
    # one: B is left out, A beats C and D. two: C is left out; A and B beat D.
    assert result.queries["text_to_image"].outcome.tolist() == [1, 3]
    assert metrics["text_to_image@1"] == 50


def test_average_precision_by_hand():
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.5, 0.5, 0.5, 0.1]])
    truth = torch.tensor([[True, False, True, False], [False, True, False, True]])
    right = torch.tensor([2, 2])
    # Row 2: in the tie of three, the two wrong ones come first.
    assert average_precision(similarity, truth, right, 50).tolist() == pytest.approx(
        [(1 + 2 / 3) / 2, (1 / 3 + 2 / 4) / 2]
    )
    assert average_precision(similarity, truth, right, 1).tolist() == [1, 0]
    assert average_precision(similarity[:, :2], truth[:, :2], torch.tensor([2, 5]), 50).tolist() == [0.5, 0.5 / 5]


def test_a_text_and_an_image_rank_a_gallery(encoder):
    known = {A: (1, 0), B: (1, 0.1), C: (1, 1), D: (0, 1), "a jug": (1, 1)}
    samples = [Sample("q", A, captions=("a jug",)), Sample("b", B), Sample("c", C), Sample("d", D)]
    metrics, result = value(encoder, samples, Ranking(right={"q": ("b", "d")}), known)
    # The image: b, c, d. The text: c, then b (0.77) before d (0.71).
    assert metrics["image_to_image_mAP@50"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert metrics["text_to_image_mAP@50"] == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert (result.found, result.unit) == (1, "queries")


def test_the_best_of_a_class_s_names_counts_and_names_may_repeat(encoder):
    known = {A: (1, 0), B: (0, 1), "jug": (0.9, 0.1), "pot": (0, 1), "cup": (1, 0.3), "mug": (0.5, 1)}
    samples = [Sample("a", A, captions=("0",)), Sample("b", B, captions=("1",))]
    task = Classification(
        classes=("jug; pot", "cup"), prompts=("{}",), synonyms=(("jug", "pot"), ("cup", "mug")), numbered=True
    )
    metrics, result = value(encoder, samples, task, known)
    assert result.queries["classes"].outcome.tolist() == [1, 2]  # b: "pot" beats "mug"
    assert metrics["top1"] == 50
    twice = Classification(classes=("jug", "jug"), prompts=("{}",), numbered=True, ties="half")
    metrics, result = value(encoder, samples, twice, known)
    assert metrics["top1"] == 50 and result.tied == 2  # two classes of one name share what they get


def test_a_caption_against_all_of_its_shuffles(encoder):
    negatives = tuple(Negative(text) for text in ("n1", "n2"))
    samples = [
        Sample("a", A, captions=("p",), caption_negatives=negatives),
        Sample("b", B, captions=("p",), caption_negatives=negatives),
    ]
    known = {A: (1, 0), B: (0, 1), "p": (1, 0.2), "n1": (1, 0.2), "n2": (0, 1)}
    task = CaptionChoice(together=True, ties="right")
    metrics, result = value(encoder, samples, task, known)
    assert result.queries["cases"].outcome.tolist() == [1, 0]  # a: draws with n1, which is right here
    assert (metrics["mean"], result.found, result.unit) == (50, 2, "cases")
    assert value(encoder, samples, CaptionChoice(together=True), known)[0]["mean"] == 0


def test_kinds_are_put_together_as_groups_and_as_a_tree():
    right = torch.tensor([True, True, False, True, False, False])
    kinds = ["add_att", "add_obj", "add_obj", "swap_att", "swap_att", "swap_att"]
    metrics = pair_metrics(right, torch.arange(6), kinds, "groups")
    assert metrics["add"].value == pytest.approx(75)  # 100 and 50
    assert metrics["swap"].value == pytest.approx(100 / 3)
    assert metrics["mean"].value == pytest.approx((100 + 50 + 100 / 3) / 3)
    assert metrics["all"].value == pytest.approx(50)
    tree = pair_metrics(right, torch.arange(6), ["o/x", "o/y", "o/y", "r", "r", "r"], "tree")
    assert tree["o"].value == pytest.approx(75)
    assert tree["mean"].value == pytest.approx((75 + 100 / 3) / 2)


def test_weighted_means_with_one_label_are_the_mean():
    values, weights = torch.rand(7).double(), torch.rand(3, 7).double()
    one = weighted_means(torch.zeros(7, dtype=torch.long), torch.ones(1).double())
    torch.testing.assert_close(one(values, weights), mean(values, weights))


SHARED = [
    Sample("1", Path(__file__), captions=("a cat", "a mat")),
    Sample("2", A, captions=("a cat",)),
]


def test_the_published_rule_of_equal_texts_and_what_the_other_would_give(encoder):
    known = {SHARED[0].image: (1, 0), A: (0, 1), "a cat": (1, 0), "a mat": (1, 0.1)}
    result = Benchmark(SHARED, (Retrieval(equal_texts="own", ties="half", read_as="caption"),))(encoder(known))
    result = result["retrieval"]
    # Texts: "a cat" of 1 is right; "a mat" is right; "a cat" of 2 finds 1 first.
    assert result.metrics["text_to_image@1"].value == pytest.approx(200 / 3)
    # Image 1: its own cat and the other's tie, half. Image 2: "a mat" is nearer than the two cats.
    assert result.metrics["image_to_text@1"].value == pytest.approx(25)
    assert (
        "equal texts right with any picture and ties against: image_to_text@1 50.0, text_to_image@1 100.0"
        in result.notes
    )
    assert result.tied == 2
    old = Benchmark(SHARED, (Retrieval(),))(encoder(known))["caption_retrieval"]
    assert old.metrics["image_to_text@1"].value == 50
    assert old.metrics["text_to_image@1"].value == 100
