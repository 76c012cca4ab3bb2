import numpy as np
import pytest
import torch

from foveal.search.background import PRIOR, Baseline, confidences


def test_what_is_usual_is_found_though_some_are_related():
    similarities = torch.cat([0.2 + 0.05 * torch.randn(4000), torch.full((400,), 0.9)])
    baseline = Baseline.of(similarities)
    assert baseline.mean == pytest.approx(0.2, abs=0.02)
    assert baseline.spread == pytest.approx(0.05, rel=0.15)


def test_small_indices_lean_on_what_was_usual_before():
    prior = Baseline(0.1, 0.02)
    assert Baseline.of(torch.zeros(0), prior) == prior
    few = Baseline.of(torch.tensor([0.5]), prior)
    assert few.mean == pytest.approx((0.5 + PRIOR * 0.1) / (1 + PRIOR))
    many = Baseline.of(0.5 + 0.1 * torch.randn(100_000), prior)
    assert (many.mean, many.spread) == pytest.approx((0.5, 0.1), abs=2e-3)


def test_the_standard_score_of_the_usual_is_zero_and_one():
    baseline = Baseline(0.3, 0.1)
    torch.testing.assert_close(baseline.z_scores(torch.tensor([0.3, 0.4])), torch.tensor([0.0, 1.0]))


def test_confidence_is_one_minus_expected_accidents_by_hand():
    """2.326 standard deviations are passed by accident once in a hundred times."""
    assert confidences([2.3263], 1) == pytest.approx([0.99], abs=1e-4)
    assert confidences([2.3263, 2.3263], 20) == pytest.approx([0.9, 0.9], abs=1e-4)  # 0.2 accidents among 2 hits
    assert confidences([0.0], 100) == [0.0]
    assert confidences([], 5) == []


def test_confidence_falls_with_rank_and_score():
    found = confidences([8.0, 5.0, 4.9, 2.0, 1.0], 1000)
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.999
    assert found[-1] == 0


def test_hits_that_are_sure_are_rarely_accidents():
    """In an index where nothing fits, at most one search in twenty has a first hit above 0.95."""
    random = np.random.default_rng(0)
    wrong = sum(confidences([float(random.normal(size=500).max())], 500)[0] > 0.95 for _ in range(2000))
    assert wrong / 2000 < 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
