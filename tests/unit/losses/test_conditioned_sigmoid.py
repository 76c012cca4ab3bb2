import math

import pytest
import torch
import torch.nn.functional as F

from foveal.losses import conditioned_sigmoid

OWNER = torch.tensor([0, 0, 0, 1, 2, 2])


@pytest.fixture
def bias():
    return torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)


def pool(queries, patches, mask=None):
    """Attention of one head without weights."""
    logits = 3 * queries @ patches.transpose(1, 2)
    shares = (logits if mask is None else logits.masked_fill(~mask[:, None], -torch.inf)).softmax(dim=-1)
    return F.normalize(shares @ patches, dim=-1)


@pytest.mark.parametrize("budget", [1, 700, 10**6])
def test_parity_matches_a_loop_for_any_block(unit, scale, bias, same_as, budget):
    patches, texts = unit(3, 4, 8), unit(6, 8)
    first = {0: 0, 1: 3, 2: 4}
    total = 0.0
    for image in range(3):
        asked = [(text, 1) for text in range(6) if OWNER[text] == image]
        asked += [(first[other], -1) for other in range(3) if other != image]
        for text, sign in asked:
            pooled = pool(texts[text][None, None], patches[image][None])[0, 0]
            total = total - F.logsigmoid(sign * (scale * (pooled @ texts[text]) + bias)) / 3
    inputs = (patches, texts, scale, bias)
    same_as(conditioned_sigmoid(patches, texts, OWNER, scale, bias, pool, budget=budget), total, inputs)


def test_patches_that_are_not_real_are_never_seen(unit, scale, bias):
    patches, texts, mask = unit(3, 4, 8), unit(6, 8), torch.tensor([[1, 1, 1, 0]] * 3) > 0
    other = torch.cat([patches[:, :3], unit(3, 1, 8)], dim=1)
    losses = [conditioned_sigmoid(x, texts, OWNER, scale, bias, pool, mask=mask, budget=700) for x in (patches, other)]
    assert losses[0] == losses[1] != conditioned_sigmoid(patches, texts, OWNER, scale, bias, pool)


def test_is_log_2_times_the_poolings_when_all_logits_are_zero(unit):
    zero = torch.tensor(0.0)
    owner = torch.arange(5).repeat_interleave(3)
    loss = conditioned_sigmoid(unit(5, 4, 8), unit(15, 8), owner, zero, zero, pool)
    assert loss.item() == pytest.approx((3 + 5 - 1) * math.log(2))


def test_an_image_without_text_is_named(unit, scale, bias):
    with pytest.raises(ValueError, match="Image 1 has no text"):
        conditioned_sigmoid(unit(3, 4, 8), unit(2, 8), torch.tensor([0, 2]), scale, bias, pool)
