import math

import pytest
import torch

from foveal.losses import pooled_negatives

OWNER = torch.tensor([2, 0, 2, 2, 4, 0])


def test_parity_matches_a_loop_over_anchors_with_negatives(unit, scale, same_as):
    anchors, positives, negatives = unit(5, 8), unit(5, 8), unit(6, 8)
    total, kept = 0.0, [0, 2, 4]
    for i in kept:
        texts = [positives[i]] + [positives[j] for j in kept if j != i] + list(negatives)
        for logits in (
            torch.stack([scale * (anchors[i] @ text) for text in texts]),
            torch.stack([scale * (positives[i] @ anchors[j]) for j in [i, *(j for j in kept if j != i)]]),
        ):
            total = total + (logits.logsumexp(0) - logits[0]) / 6
    inputs = (anchors, positives, negatives, scale)
    same_as(pooled_negatives(anchors, positives, negatives, OWNER, scale), total, inputs)


def test_closed_form_when_all_look_alike(unit):
    same = unit(1, 8)
    loss = pooled_negatives(same.expand(5, 8), same.expand(5, 8), same.expand(6, 8), OWNER, torch.tensor(5.0))
    assert loss.item() == pytest.approx((math.log(3 + 6) + math.log(3)) / 2)


def test_no_negatives_cost_nothing_but_keep_the_graph(unit, scale):
    inputs = (unit(3, 8), unit(3, 8), unit(0, 8), scale)
    loss = pooled_negatives(*inputs[:3], OWNER[:0], scale)
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, inputs))
