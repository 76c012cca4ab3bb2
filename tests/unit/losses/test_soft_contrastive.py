import math

import pytest
import torch
import torch.nn.functional as F

from foveal.losses import contrastive, soft_contrastive

GROUP = torch.tensor([7, 7, 3, 5, 5, 5])


@pytest.mark.parametrize("budget", [1, 200, 10**6])
@pytest.mark.parametrize("form", ["ce", "bce"])
def test_parity_matches_a_loop_for_any_block(unit, scale, same_as, form, budget):
    left, right = unit(6, 8), unit(6, 8)
    total = 0.0
    for a, b in ((left, right), (right, left)):
        for i in range(6):
            weights = [1.0 if i == j else 0.3 if GROUP[i] == GROUP[j] else 0.0 for j in range(6)]
            logits = torch.stack([scale * (a[i] @ b[j]) for j in range(6)])
            if form == "ce":
                targets = torch.tensor(weights, dtype=torch.float64) / sum(weights)
                total = total - (targets * logits.log_softmax(0)).sum() / 12
                continue
            for j in range(6):
                sign = 1 if weights[j] else -1
                total = total - (weights[j] or 1.0) * F.logsigmoid(sign * logits[j]) / 72
    inputs = (left, right, scale)
    same_as(soft_contrastive(*inputs[:2], GROUP, scale, beta=0.3, form=form, budget=budget), total, inputs)


def test_without_partial_positives_it_is_info_nce(unit, scale):
    left, right = unit(6, 8), unit(6, 8)
    expected = contrastive(left, right, scale)
    torch.testing.assert_close(soft_contrastive(left, right, GROUP, scale, beta=0.0), expected)
    torch.testing.assert_close(soft_contrastive(left, right, torch.arange(6), scale, beta=0.7), expected)


def test_known_values(unit):
    same, zero = unit(1, 4).expand(9, 4), torch.tensor(0.0)
    alone = torch.arange(9)
    assert soft_contrastive(same, same, alone, torch.tensor(5.0)).item() == pytest.approx(math.log(9))
    assert soft_contrastive(same, same, alone, zero, form="bce").item() == pytest.approx(math.log(2))


def test_without_rows_it_costs_nothing(unit, scale):
    assert soft_contrastive(unit(0, 8), unit(0, 8), torch.zeros(0, dtype=torch.long), scale) == 0
