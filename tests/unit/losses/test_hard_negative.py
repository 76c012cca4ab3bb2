import math

import pytest
import torch

from foveal.losses import hard_negative

OWNER = torch.tensor([2, 0, 2, 2, 4, 0])


def test_parity_matches_a_loop_for_any_number_of_negatives(unit, scale, same_as):
    anchors, positives, negatives = unit(5, 8), unit(5, 8), unit(6, 8)
    losses = []
    for i in (0, 2, 4):
        texts = [positives[i]] + [negatives[k] for k in range(6) if OWNER[k] == i]
        logits = torch.stack([scale * (anchors[i] @ text) for text in texts])
        losses.append(logits.logsumexp(0) - logits[0])
    inputs = (anchors, positives, negatives, scale)
    same_as(hard_negative(anchors, positives, negatives, OWNER, scale), torch.stack(losses).mean(), inputs)


def test_is_log_1_plus_k_when_all_look_alike(unit):
    same = unit(1, 8)
    owner = torch.arange(3).repeat(10)
    loss = hard_negative(same.expand(3, 8), same.expand(3, 8), same.expand(30, 8), owner, torch.tensor(5.0))
    assert loss.item() == pytest.approx(math.log(11))


def test_a_large_scale_stays_finite(unit):
    anchors = unit(2, 8)
    loss = hard_negative(anchors, -anchors, anchors[:1], torch.tensor([1]).int() * 0, torch.tensor(1e4))
    assert loss.item() == pytest.approx(2e4)
    assert torch.autograd.grad(loss, anchors)[0].isfinite().all()


def test_no_negatives_cost_nothing_but_keep_the_graph(unit, scale):
    inputs = (unit(3, 8), unit(3, 8), unit(0, 8), scale)
    loss = hard_negative(*inputs[:3], torch.zeros(0, dtype=torch.long), scale)
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, inputs):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.usefixtures("unchecked")
def test_owners_must_fit_the_negatives(unit, scale):
    with pytest.raises(ValueError, match="6 negatives and 4 owner do not pair up"):
        hard_negative(unit(5, 8), unit(5, 8), unit(6, 8), OWNER[:4], scale)
