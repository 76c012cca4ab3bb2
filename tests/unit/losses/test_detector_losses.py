"""Losses of a detector in closed form."""

import math

import pytest
import torch
import torch.nn.functional as F

from foveal.losses import box_regression, masked_classification, proposal

THIRDS = torch.full((3,), 1 / 3)


def test_proposals_without_opinion_cost_log_two():
    assert float(proposal(torch.zeros(3), torch.tensor([True, False, True]), THIRDS)) == pytest.approx(math.log(2))


def test_sure_and_right_costs_nothing():
    sure = torch.tensor([50.0, -50.0, 50.0])
    assert float(proposal(sure, sure > 0, THIRDS)) == pytest.approx(0)


def test_regression_is_the_weighted_sum_of_differences():
    deltas = torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert float(box_regression(deltas, torch.zeros(2, 4), torch.tensor([0.5, 0.25]))) == 1.5
    assert float(box_regression(deltas[:0], deltas[:0], torch.zeros(0))) == 0


def test_equal_logits_cost_the_log_of_the_names_that_are_allowed():
    allowed = torch.tensor([True, False, True, False, True])
    loss = masked_classification(torch.zeros(3, 5), torch.tensor([0, 2, 0]), allowed, THIRDS)
    assert float(loss) == pytest.approx(math.log(3))
    background = masked_classification(torch.zeros(3, 5), torch.tensor([4, 4, 4]), allowed, THIRDS, 0.6)
    assert float(background) == pytest.approx(0.6 * math.log(3))


def test_novel_names_get_no_gradient():
    logits = torch.randn(6, 5, requires_grad=True)
    allowed = torch.tensor([True, False, True, False, True])
    masked_classification(logits, torch.tensor([0, 2, 4, 0, 2, 4]), allowed, torch.full((6,), 1 / 6)).backward()
    assert not logits.grad[:, ~allowed].any()
    assert (logits.grad[:, allowed] != 0).all()


def test_parity_all_allowed_is_cross_entropy():
    logits, label = torch.randn(8, 4), torch.randint(3, (8,))
    loss = masked_classification(logits, label, torch.ones(4, dtype=torch.bool), torch.full((8,), 1 / 8))
    torch.testing.assert_close(loss, F.cross_entropy(logits, label))
