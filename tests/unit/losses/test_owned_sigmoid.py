import math

import pytest
import torch
import torch.nn.functional as F

from foveal.losses import owned_sigmoid, sigmoid_contrastive

OWNER = torch.tensor([0, 0, 2, 4, 4, 4])


@pytest.fixture
def bias():
    return torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("budget", [1, 100, 10**6])
def test_parity_matches_a_loop_for_any_block(unit, scale, bias, same_as, budget):
    images, texts = unit(5, 8), unit(6, 8)
    total = 0.0
    for i in range(5):
        for j in range(6):
            sign = 1 if OWNER[j] == i else -1
            total = total - torch.sigmoid(sign * (scale * (images[i] @ texts[j]) + bias)).log() / 6
    inputs = (images, texts, scale, bias)
    same_as(owned_sigmoid(images, texts, OWNER, scale, bias, budget=budget), total, inputs)


def test_one_text_an_image_gives_the_sigmoid_loss(unit, scale, bias):
    images, texts = unit(5, 8), unit(5, 8)
    ours = owned_sigmoid(images, texts, torch.arange(5), scale, bias)
    torch.testing.assert_close(ours, sigmoid_contrastive(images, texts, scale, bias))


def test_is_b_log_2_when_all_logits_are_zero(unit):
    zero = torch.tensor(0.0)
    assert owned_sigmoid(unit(5, 4), unit(6, 4), OWNER, zero, zero).item() == pytest.approx(5 * math.log(2))


def test_another_similarity_compares_sets(unit, scale, bias, same_as):
    patches, texts = unit(5, 3, 8), unit(6, 8)
    best = torch.stack([torch.stack([(rows @ text).max() for text in texts]) for rows in patches])
    labels = 2.0 * (torch.arange(5)[:, None] == OWNER) - 1
    expected = -F.logsigmoid(labels * (scale * best + bias)).sum() / 6
    ours = owned_sigmoid(
        patches, texts, OWNER, scale, bias, similarity=lambda sets, rows: (sets @ rows.T).amax(1), budget=99
    )
    same_as(ours, expected, (patches, texts, scale, bias))


def test_without_texts_it_costs_nothing_and_keeps_the_graph(unit, scale, bias):
    images, texts = unit(5, 8), unit(0, 8)
    loss = owned_sigmoid(images, texts, torch.zeros(0, dtype=torch.long), scale, bias)
    assert loss == 0
    assert torch.autograd.grad(loss, images)[0].abs().sum() == 0


@pytest.mark.usefixtures("unchecked")
def test_owners_of_other_texts_are_refused(unit, scale, bias):
    with pytest.raises(ValueError, match="3 texts and 6 owner"):
        owned_sigmoid(unit(5, 8), unit(3, 8), OWNER, scale, bias)
