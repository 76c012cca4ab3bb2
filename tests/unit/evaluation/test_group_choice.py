"""Winoground's scores, counted by hand."""

from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.group_choice import GroupChoice
from foveal.types import Sample

A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


def value(encoder, samples, task, known):
    result = Benchmark(samples, (task,))(encoder(known))[task.name]
    return {name: metric.value for name, metric in result.metrics.items()}, result


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
