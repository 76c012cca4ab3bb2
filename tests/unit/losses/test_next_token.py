import pytest
import torch

from foveal.losses import next_token


def test_equally_likely_tokens_cost_the_log_of_their_number():
    loss = next_token(torch.zeros(4, 11, dtype=torch.float64), torch.tensor([0, 3, 10, 3]))
    assert loss.item() == pytest.approx(torch.tensor(11.0, dtype=torch.float64).log().item())


def test_parity_matches_a_loop(unit, same_as):
    logits, targets = unit(5, 8), torch.tensor([7, 0, 3, 3, 1])
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        total = total - (row.exp()[target] / row.exp().sum()).log() / 5
    same_as(next_token(logits, targets), total, (logits,))


def test_without_tokens_it_costs_nothing_and_keeps_the_graph(unit):
    logits = unit(0, 8)
    loss = next_token(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert logits.grad.shape == (0, 8)
