import math

import pytest
import torch

from foveal.losses import contrastive, regional


def slow(regions, phrases, scale, key):
    total = 0.0
    for a, b in ((regions, phrases), (phrases, regions)):
        for i in range(len(a)):
            others = [j for j in range(len(b)) if j == i or key[j] != key[i]]
            logits = torch.stack([scale * (a[i] @ b[j]) for j in others])
            total = total + logits.logsumexp(0) - logits[others.index(i)]
    return total / (2 * len(regions))


def test_parity_repeated_phrases_are_no_negatives(unit, scale, same_as):
    inputs = (unit(6, 8), unit(6, 8), scale)
    key = torch.tensor([4, 7, 4, 4, 9, 7])
    same_as(regional(*inputs, phrase_key=key), slow(*inputs, key), inputs)


def test_different_phrases_give_the_contrastive_loss(unit, scale):
    regions, phrases = unit(5, 8), unit(5, 8)
    expected = contrastive(regions, phrases, scale)
    torch.testing.assert_close(regional(regions, phrases, scale), expected)
    torch.testing.assert_close(regional(regions, phrases, scale, phrase_key=torch.arange(5)), expected)


def test_is_log_r_when_all_look_alike(unit):
    same = unit(1, 4).expand(9, 4)
    assert regional(same, same, torch.tensor(10.0)).item() == pytest.approx(math.log(9))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_nothing_to_tell_apart_costs_nothing_but_keeps_the_graph(unit, scale, count):
    regions, phrases = unit(count, 8), unit(count, 8)
    loss = regional(regions, phrases, scale, phrase_key=torch.zeros(count, dtype=torch.long), gather=True)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    for gradient in torch.autograd.grad(loss, (regions, phrases, scale)):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.usefixtures("unchecked")
def test_unequal_sides_are_refused(unit, scale):
    with pytest.raises(ValueError, match="2 regions and 3 phrases"):
        regional(unit(2, 4), unit(3, 4), scale)
    with pytest.raises(ValueError, match="2 regions and 1 phrase_key"):
        regional(unit(2, 4), unit(2, 4), scale, phrase_key=torch.zeros(1, dtype=torch.long))
