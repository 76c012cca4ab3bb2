"""SugarCrepe++'s scores, counted by hand."""

from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.two_positives import TwoPositives
from foveal.types import Negative, Sample

A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


def value(encoder, samples, task, known):
    result = Benchmark(samples, (task,))(encoder(known))[task.name]
    return {name: metric.value for name, metric in result.metrics.items()}, result


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
