"""True boxes with an encoder whose every embedding is known."""

import pytest

import foveal
from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.evaluate import evaluate
from foveal.evaluation.oracle_boxes import OracleBoxes
from foveal.types import Region, Sample

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def measured(known, *samples, **fields):
    task = OracleBoxes(prompts=("{}",), **fields)
    return Benchmark(samples, (task,))(known)["oracle_boxes"].metrics


def test_a_model_that_knows_every_box_has_100(encoder):
    known = encoder({(b"a", *LEFT): [1, 0], (b"a", *RIGHT): [0, 1], "dog": [1, 0], "cat": [0, 1]})
    sample = Sample("a", b"a", regions=(Region(LEFT, "dog"), Region(RIGHT, "cat")))
    metrics = measured(known, sample, classes=("dog", "cat"), novel=("cat",))
    assert {name: metric.value for name, metric in metrics.items()} == pytest.approx(
        {"ap50": 100, "ap50_novel": 100, "ap50_base": 100}
    )
    assert metrics["ap50"].count == 2


def test_a_novel_class_taken_for_another_counts_against_its_own_mean(encoder):
    known = encoder({(b"a", *LEFT): [1, 0], (b"a", *RIGHT): [1, 0.1], "dog": [1, 0], "cat": [0, 1]})
    sample = Sample("a", b"a", regions=(Region(LEFT, "dog"), Region(RIGHT, "cat")))
    metrics = measured(known, sample, classes=("dog", "cat"), novel=("cat",), labels=1)
    assert metrics["ap50_novel"].value == 0
    assert metrics["ap50_base"].value == pytest.approx(100)


@pytest.mark.slow
def test_the_starter_on_the_photos_that_its_alignment_saw(shared_data):
    """A regression number, no result: the starter was fitted to these boxes."""
    encoder = foveal.load("starter", device="cpu")
    report = evaluate(encoder, ["coco-oracle-boxes@ov17"], [shared_data])
    metrics = report.results["coco-oracle-boxes@ov17"]["oracle_boxes"].metrics
    assert metrics["ap50"].value == pytest.approx(79.5, abs=0.3)
    assert metrics["ap50_novel"].value == pytest.approx(77.5, abs=0.3)
