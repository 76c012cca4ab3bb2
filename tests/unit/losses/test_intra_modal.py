import math

import pytest
import torch
import torch.nn.functional as F

from foveal.losses import intra_modal


@pytest.mark.parametrize(("count", "budget"), [(2, 10**6), (7, 10**6), (16, 10**6), (16, 400)])
def test_parity_matches_a_loop_for_any_number_of_phrases(unit, same_as, count, budget):
    phrases = unit(count, 3)  # so few dimensions that some are more alike than 0.95
    losses = []
    for i in range(count):
        row = [phrases[i] @ phrases[j] for j in range(count)]
        row = [0 * s if i == j or s > 0.95 else s for j, s in enumerate(row)]
        nearest = sorted(row, key=torch.Tensor.item, reverse=True)[: min(10, count - 1)]
        losses.append(torch.stack(nearest).exp().sum().log())
    same_as(intra_modal(phrases, budget=budget), torch.stack(losses).mean(), (phrases,))


def test_is_log_10_when_all_are_orthogonal():
    assert intra_modal(torch.eye(16)).item() == pytest.approx(math.log(10))


def test_equal_phrases_count_as_unrelated():
    assert intra_modal(F.normalize(torch.ones(12, 4), dim=1)).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_phrases_cost_nothing_but_keep_the_graph(unit, count):
    phrases = unit(count, 8)
    loss = intra_modal(phrases)
    assert loss.item() == 0
    torch.testing.assert_close(*torch.autograd.grad(loss, phrases), torch.zeros_like(phrases))
