import pytest
import torch

from foveal.losses import margin_negative

OWNER = torch.tensor([2, 0, 0, 1])


def test_parity_matches_a_loop(unit, same_as):
    anchors, positives, negatives = unit(4, 8), unit(4, 8), unit(4, 8)
    total = 0.0
    for negative, owner in zip(negatives, OWNER.tolist(), strict=True):
        margin = 0.7 * (1 - (positives[owner] @ negative).detach())
        total = total + (margin - anchors[owner] @ positives[owner] + anchors[owner] @ negative).relu() / 4
    inputs = (anchors, positives, negatives)
    same_as(margin_negative(*inputs, OWNER, margin=0.7), total, inputs)


def test_an_orthogonal_negative_as_near_as_the_positive_costs_the_margin():
    rows = torch.eye(3, dtype=torch.float64)
    loss = margin_negative(rows[:1], rows[1:2], rows[2:], torch.tensor([0]), margin=0.3)
    assert loss.item() == pytest.approx(0.3)


def test_a_negative_that_says_the_same_costs_nothing(unit):
    positives = unit(3, 8)
    assert margin_negative(unit(3, 8), positives, positives, torch.arange(3)).item() == pytest.approx(0, abs=1e-12)


def test_without_negatives_it_costs_nothing(unit):
    assert margin_negative(unit(3, 8), unit(3, 8), unit(0, 8), torch.zeros(0, dtype=torch.long)) == 0
