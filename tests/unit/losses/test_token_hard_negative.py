import math

import pytest
import torch

from foveal.losses import hard_negative, token_hard_negative
from foveal.similarity import late_interaction

OWNER = torch.tensor([2, 0, 2, 2, 0])


def masked(rows, *counts):
    return rows, torch.arange(rows.shape[1]) < torch.tensor(counts)[:, None]


def test_parity_matches_a_loop_over_token_sets(unit, scale, same_as):
    images, texts, negatives = unit(3, 6, 8), unit(3, 5, 8), unit(5, 4, 8)
    sets = (masked(images, 6, 2, 4), masked(texts, 5, 1, 3), masked(negatives, 4, 2, 3, 1, 4))
    losses = []
    for i in (0, 2):
        own = images[i, : (6, 2, 4)[i]]
        candidates = [texts[i, : (5, 1, 3)[i]]]
        candidates += [negatives[k, : (4, 2, 3, 1, 4)[k]] for k in range(5) if OWNER[k] == i]
        logits = []
        for tokens in candidates:
            similarity = tokens @ own.T
            forth = torch.nn.functional.leaky_relu(similarity.max(dim=1).values, 0.1).mean()
            back = torch.nn.functional.leaky_relu(similarity.max(dim=0).values, 0.1).mean()
            logits.append(scale * (forth + back) / 2)
        logits = torch.stack(logits)
        losses.append(logits.logsumexp(0) - logits[0])
    same_as(token_hard_negative(*sets, OWNER, scale), torch.stack(losses).mean(), (images, texts, negatives, scale))


def test_single_tokens_make_it_the_loss_of_embeddings(unit, scale, same_as):
    images, texts, negatives = unit(3, 1, 8), unit(3, 1, 8), unit(5, 1, 8)
    tokens = token_hard_negative((images, None), (texts, None), (negatives, None), OWNER, scale, leak=1.0)
    rows = hard_negative(images[:, 0], texts[:, 0], negatives[:, 0], OWNER, scale)
    same_as(tokens, rows, (images, texts, negatives, scale))


def test_is_log_1_plus_k_when_all_look_alike(unit):
    same = unit(1, 1, 8)
    owner = torch.arange(2).repeat(3)
    sets = [(same.expand(count, 4, 8), None) for count in (2, 2, 6)]
    assert token_hard_negative(*sets, owner, torch.tensor(7.0)).item() == pytest.approx(math.log(4))


def test_no_near_misses_cost_nothing_but_keep_the_graph(unit, scale):
    images, texts, negatives = unit(3, 6, 8), unit(3, 5, 8), unit(0, 4, 8)
    none = torch.zeros(0, dtype=torch.long)
    loss = token_hard_negative((images, None), (texts, None), (negatives, None), none, scale)
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, (images, texts, negatives)):
        assert gradient.abs().sum() == 0


def test_its_similarity_is_the_one_that_evaluation_uses(unit):
    """One image, one text, one hard negative: the loss is a function of late interaction in both directions."""
    images, texts, negatives = unit(1, 6, 8), unit(1, 5, 8), unit(1, 4, 8)
    both = {"direction": "both", "leak": 0.1}
    lead = late_interaction(negatives, images, **both) - late_interaction(texts, images, **both)
    found = token_hard_negative((images, None), (texts, None), (negatives, None), torch.tensor([0]), torch.tensor(3.0))
    assert found.item() == pytest.approx(math.log1p(math.exp(3 * lead.item())))


@pytest.mark.usefixtures("unchecked")
def test_owners_must_fit_the_near_misses(unit, scale):
    sets = [(unit(count, 4, 8), None) for count in (3, 3, 4)]
    with pytest.raises(ValueError, match="4 negatives and 5 owner do not pair up"):
        token_hard_negative(*sets, OWNER, scale)
