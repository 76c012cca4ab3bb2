import pytest
import torch
import torch.nn.functional as F

from foveal.losses import token_triplet


@pytest.fixture
def sets(unit):
    text_mask = torch.ones(5, 4, dtype=torch.bool)
    text_mask[1, 2:] = False
    image_mask = torch.ones(5, 6, dtype=torch.bool)
    image_mask[3, 1:] = False
    return unit(5, 4, 8), unit(5, 6, 8), text_mask, image_mask


def slow(text, image, text_mask, image_mask, ids, *, hardest):
    """FineLIP's equations, pair by pair: the total and how many negatives were taken."""
    count = len(text)

    def late(i, j):
        s = F.leaky_relu(text[j][text_mask[j]] @ image[i][image_mask[i]].T, 0.1)
        return s.amax(1).mean() + s.amax(0).mean()

    r = [[late(i, j) for j in range(count)] for i in range(count)]
    by_image, by_text, pairs = [[] for _ in ids], [[] for _ in ids], 0
    for i in range(count):
        for j in range(count):
            if ids[i] != ids[j]:
                by_image[i].append(torch.relu(0.2 + r[i][j] - r[i][i]))
                by_text[j].append(torch.relu(0.2 + r[i][j] - r[j][j]))
                pairs += 1
    if hardest:
        worst = [max(costs) for costs in by_image + by_text if costs]
        return sum(worst), len(worst) // 2
    return sum(sum(costs) for costs in by_image + by_text), pairs


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4], [0, 1, 0, 0, 1]])
@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_parity_matches_a_loop(sets, same_as, ids, hardest, reduction):
    ours = token_triplet(*sets, image_id=torch.tensor(ids), hardest=hardest, reduction=reduction)
    total, taken = slow(*sets, ids, hardest=hardest)
    same_as(ours, total / taken if reduction == "mean" else total, sets[:2])


def test_costs_two_margins_a_negative_when_all_look_alike(unit):
    text, image = unit(1, 3, 8).expand(6, 3, 8), unit(1, 5, 8).expand(6, 5, 8)
    assert token_triplet(text, image, margin=0.3).item() == pytest.approx(0.6 * 6 * 5)
    assert token_triplet(text, image, margin=0.3, hardest=True).item() == pytest.approx(0.6 * 6)
    for hardest in (False, True):
        mean = token_triplet(text, image, margin=0.3, hardest=hardest, reduction="mean")
        assert mean.item() == pytest.approx(0.6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("hardest", [False, True])
def test_one_image_costs_nothing_but_keeps_the_graph(unit, reduction, hardest):
    text, image = unit(3, 2, 8), unit(3, 2, 8)
    loss = token_triplet(text, image, image_id=torch.zeros(3, dtype=torch.long), reduction=reduction, hardest=hardest)
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, (text, image)))


@pytest.mark.usefixtures("unchecked")
def test_unequal_sides_are_refused(unit):
    with pytest.raises(ValueError, match="2 text_tokens and 3 image_tokens"):
        token_triplet(unit(2, 3, 8), unit(3, 3, 8))
