import pytest
import torch

from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.choice import CaptionChoice, RegionChoice, choose, pair_metrics
from foveal.types import Negative, Region, Sample


def test_choices_counted_by_hand():
    positive = torch.tensor([0.5, 0.5, 0.5, 0.5])
    negative = torch.tensor([0.4, 0.3, 0.4, 0.6, 0.5])
    case = torch.tensor([0, 0, 1, 1, 2])
    assert choose(positive, negative, case).tolist() == [True, False, False, True]
    assert choose(positive, negative, case, ties="right").tolist() == [True, False, True, True]


def test_nan_is_never_right():
    nan = torch.tensor([torch.nan])
    one, zero = torch.ones(1), torch.zeros(1, dtype=torch.long)
    assert not choose(nan, one, zero, "right")
    assert not choose(one, nan, zero, "right")


def test_every_kind_counts_as_much_in_the_mean():
    right = torch.tensor([True, True, True, False])
    metrics = pair_metrics(right, torch.arange(4), ["size", "size", "size", "count"])
    assert metrics["size"].value == 100
    assert metrics["count"].value == 0
    assert metrics["mean"].value == 50
    assert metrics["size"].count == 3


CAPTIONS = (
    Sample("a", b"a", captions=("true", "unused"), caption_negatives=(Negative("near", "x"), Negative("far", "y"))),
    Sample("b", b"b", captions=("true",), caption_negatives=(Negative("near", "x"), Negative("true", "x"))),
    Sample("c", b"c", captions=("true",)),
)  # fmt: skip
KNOWN = {b"a": [1, 0], b"b": [0, 1], "true": [1, 0.2], "near": [1, 0.8], "far": [-1, 0]}


def test_caption_choice_counted_by_hand(encoder):
    result = Benchmark(CAPTIONS, (CaptionChoice(),))(encoder(KNOWN))["caption_choice"]
    # a: true beats near and far; b: near beats true, and true draws with itself
    assert result.queries["pairs"].outcome.tolist() == [1, 1, 0, 0]
    assert result.metrics["x"].value == pytest.approx(100 / 3)
    assert result.metrics["y"].value == 100
    assert result.metrics["mean"].value == pytest.approx(200 / 3)
    assert (result.found, result.total) == (4, 4)
    assert "1 ties count as wrong" in result.notes[0]


def test_draws_can_count_as_right(encoder):
    result = Benchmark(CAPTIONS, (CaptionChoice(ties="right"),))(encoder(KNOWN))["caption_choice"]
    assert result.queries["pairs"].outcome.tolist() == [1, 1, 0, 1]


LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def region_samples():
    misses = (Negative("bad", "color"), Negative("worse", "size"))
    return (
        Sample("a", b"a", regions=(Region(LEFT, "good", misses), Region(RIGHT, "alone"))),
        Sample("b", b"b", regions=(Region(RIGHT, "good", (*misses, Negative("good", "color"))),)),
        Sample("a again", b"a", regions=(Region(RIGHT, "good", misses),)),
    )


REGIONS = {
    (b"a", *LEFT): [1, 0],
    (b"b", *RIGHT): [1, 0],
    (b"a", *RIGHT): [0, 1],
    "good": [1, 0],
    "bad": [0, 1],
    "worse": [0.5, -1],
}


def test_region_choice_counted_by_hand(encoder):
    one = encoder(REGIONS)
    result = Benchmark(region_samples(), (RegionChoice(),))(one)["region_choice"]
    assert result.queries["regions"].outcome.tolist() == [1, 1, 0]
    assert result.metrics["top1"].value == pytest.approx(200 / 3)
    assert result.metrics["against color"].value == pytest.approx(200 / 3)
    assert result.metrics["against size"].value == 100  # the third region loses to a color only
    assert result.found == result.total == 3  # the region without hard negatives is no case
    assert "1 ties count as right" in result.notes[0]
    assert "chance 30.6" in result.notes[0]  # (1/3 + 1/4 + 1/3) / 3
    assert "1 regions have their own phrase among the hard negatives" in result.notes[1]
    assert one.pictures == [b"a", b"b"]


def test_a_draw_can_count_as_wrong(encoder):
    result = Benchmark(region_samples(), (RegionChoice(ties="against"),))(encoder(REGIONS))["region_choice"]
    assert result.queries["regions"].outcome.tolist() == [1, 0, 0]


def test_a_box_without_area_is_counted_and_left_out(encoder):
    flat = Sample("flat", b"f", regions=(Region((0.5, 0.0, 0.5, 1.0), "good", (Negative("bad"),)),))
    result = Benchmark((*region_samples(), flat), (RegionChoice(),))(encoder(REGIONS))["region_choice"]
    assert (result.found, result.total) == (3, 4)


def value(encoder, samples, task, known):
    result = Benchmark(samples, (task,))(encoder(known))[task.name]
    return {name: metric.value for name, metric in result.metrics.items()}, result


A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


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
