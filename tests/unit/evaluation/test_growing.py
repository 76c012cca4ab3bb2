"""HiMo@K, counted by hand."""

import pytest
import torch

from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.growing import Growing, pearson
from foveal.types import Sample

A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


def value(encoder, samples, task, known):
    result = Benchmark(samples, (task,))(encoder(known))[task.name]
    return {name: metric.value for name, metric in result.metrics.items()}, result


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
