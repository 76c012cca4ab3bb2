import math

import pytest
import torch

from foveal.losses import contrastive


@pytest.fixture
def sides(unit, scale):
    return unit(6, 8), unit(6, 8), scale


def slow(left, right, scale, smoothing):
    """Cross entropy of a smoothed target, term by term."""
    total = 0.0
    for a, b in ((left, right), (right, left)):
        for i in range(len(a)):
            logits = torch.stack([scale * (a[i] @ b[j]) for j in range(len(b))])
            target = torch.full((len(b),), smoothing / len(b), dtype=torch.float64)
            target[i] += 1 - smoothing
            total -= (target * (logits - logits.logsumexp(0))).sum()
    return total / (2 * len(left))


@pytest.mark.parametrize("budget", [1, 100, 10**6])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parity_matches_a_loop_for_any_block(sides, same_as, smoothing, budget):
    same_as(contrastive(*sides, label_smoothing=smoothing, budget=budget), slow(*sides, smoothing), sides)


def test_gradients_are_right_by_finite_differences(sides):
    assert torch.autograd.gradcheck(lambda *a: contrastive(*a, label_smoothing=0.1, budget=100), sides)


def test_is_log_n_when_all_look_alike(unit):
    same = unit(1, 8).expand(5, 8)
    assert contrastive(same, same, torch.tensor(10.0)).item() == pytest.approx(math.log(5))


def test_sides_may_be_swapped(sides):
    left, right, scale = sides
    torch.testing.assert_close(contrastive(left, right, scale), contrastive(right, left, scale))


def test_never_falls_below_zero_in_float32():
    rows = torch.nn.functional.normalize(torch.randn(64, 48), dim=1)
    assert 0 <= contrastive(rows, rows, torch.tensor(100.0)).item() < 1e-5


@pytest.mark.usefixtures("unchecked")
def test_unequal_sides_are_refused(unit):
    with pytest.raises(ValueError, match="4 left and 5 right do not pair up"):
        contrastive(unit(4, 8), unit(5, 8), torch.tensor(1.0))
