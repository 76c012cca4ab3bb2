"""Galleries with groups and with several right images, counted by hand."""

import pytest
import torch

from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.gallery import GroupedGallery, Ranking, average_precision
from foveal.types import Sample

A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


def value(encoder, samples, task, known):
    result = Benchmark(samples, (task,))(encoder(known))[task.name]
    return {name: metric.value for name, metric in result.metrics.items()}, result


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
