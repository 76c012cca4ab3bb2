"""Distances of sets of pictures: closed forms, and the same numbers as slow references."""

import numpy as np
import pytest
import torch

from foveal.evaluation.quality import clip_score, cmmd, frechet


def features(rows=60, width=7, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) @ mix + shift


def test_a_set_has_no_distance_from_itself():
    rows = features()
    assert frechet(rows, rows) == pytest.approx(0, abs=1e-10) and cmmd(rows, rows) == pytest.approx(0, abs=1e-10)


def test_a_shifted_set_is_as_far_as_the_shift_squared():
    rows, shift = features(), torch.linspace(-1, 2, 7, dtype=torch.float64)
    assert frechet(rows, rows + shift) == pytest.approx(shift.square().sum().item(), abs=1e-10)


def test_two_gaussians_of_one_dimension_are_as_far_as_their_means_and_deviations():
    left, right = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [7.0]])
    assert frechet(left, right) == pytest.approx(3**2 + (2**0.5 - 18**0.5) ** 2)


def test_the_distance_is_the_same_both_ways_and_for_a_turned_space():
    left, right = features(seed=1), features(40, seed=2, shift=0.5)
    turn, _ = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64))
    assert frechet(left, right) == pytest.approx(frechet(right, left), rel=1e-10)
    assert frechet(left @ turn, right @ turn) == pytest.approx(frechet(left, right), rel=1e-10)


@pytest.mark.parametrize("rows", [60, 5])  # of full rank, and not
def test_the_frechet_distance_equals_that_by_the_roots_of_the_product(rows):
    """Independent: eigenvalues of S1 S2 itself, by numpy; those of a product of two covariances are not negative."""
    left, right = features(rows, seed=1), features(rows + 9, seed=2, shift=0.5)
    first, second = np.cov(left.numpy().T), np.cov(right.numpy().T)
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    shift = np.square(left.numpy().mean(0) - right.numpy().mean(0)).sum()
    expected = shift + np.trace(first) + np.trace(second) - 2 * roots
    assert frechet(left, right) == pytest.approx(expected, rel=1e-12 if rows == 60 else 1e-6)


def test_the_frechet_distance_equals_scipys_to_1e_12():
    linalg = pytest.importorskip("scipy.linalg")
    left, right = features(seed=1), features(70, seed=2, shift=0.5)
    first, second = np.cov(left.numpy().T), np.cov(right.numpy().T)
    root = linalg.sqrtm(first @ second).real
    shift = np.square(left.numpy().mean(0) - right.numpy().mean(0)).sum()
    expected = shift + np.trace(first + second - 2 * root)
    assert abs(frechet(left, right) - expected) <= 1e-12 * expected


def test_the_discrepancy_equals_a_loop_over_pairs():
    left, right = (rows / rows.norm(dim=1, keepdim=True) for rows in (features(9, seed=1), features(6, seed=2)))

    def kernel(first, second):
        values = [np.exp(-np.square(a - b).sum() / 200) for a in first.numpy() for b in second.numpy()]
        return np.mean(values)

    expected = 1000 * (kernel(left, left) + kernel(right, right) - 2 * kernel(left, right))
    assert cmmd(3 * left, right) == pytest.approx(expected, rel=1e-9)


def test_one_picture_has_no_covariance():
    with pytest.raises(ValueError, match="1 and 60 pictures have no covariance"):
        frechet(features(1), features())


@pytest.mark.parametrize("weight", [100.0, 2.5])
def test_equal_vectors_score_the_weight_and_opposite_ones_nothing(weight):
    rows = torch.tensor([[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]])
    texts = torch.tensor([[0.6, 0.8], [-0.6, -0.8], [0.6, 0.8]])
    torch.testing.assert_close(clip_score(rows, texts, weight), torch.tensor([1.0, 0.0, 0.6]) * weight)
