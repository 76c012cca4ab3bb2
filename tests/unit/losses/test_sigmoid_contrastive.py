import math

import pytest
import torch

from foveal.losses import sigmoid_contrastive


@pytest.mark.parametrize("budget", [1, 100, 10**6])
def test_parity_matches_a_loop_for_any_block(unit, scale, same_as, budget):
    left, right, bias = unit(5, 8), unit(5, 8), torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    total = 0.0
    for i in range(5):
        for j in range(5):
            sign = 1 if i == j else -1
            total = total - torch.sigmoid(sign * (scale * (left[i] @ right[j]) + bias)).log() / 5
    inputs = (left, right, scale, bias)
    same_as(sigmoid_contrastive(*inputs, budget=budget), total, inputs)


def test_is_n_log_2_when_all_logits_are_zero(unit):
    zero = torch.tensor(0.0)
    assert sigmoid_contrastive(unit(7, 4), unit(7, 4), zero, zero).item() == pytest.approx(7 * math.log(2))


def test_extreme_logits_stay_finite(unit):
    rows = unit(4, 8)
    loss = sigmoid_contrastive(rows, -rows, torch.tensor(1e4), torch.tensor(-10.0))
    assert loss.isfinite()
    assert torch.autograd.grad(loss, rows)[0].isfinite().all()
