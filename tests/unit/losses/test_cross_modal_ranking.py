import pytest
import torch

from foveal.losses import RankingThreshold, cross_modal_ranking

OWNER = torch.tensor([2, 0, 2, 2, 1, 0])


@pytest.fixture
def batch(unit, scale):
    return unit(3, 8), unit(3, 8), unit(6, 8), OWNER, scale


def test_parity_matches_a_loop(batch, same_as):
    anchors, positives, negatives, _, scale = batch
    threshold = torch.tensor(0.7, dtype=torch.float64)
    total = 0.0
    for k, i in enumerate(OWNER.tolist()):
        lead = scale * (anchors[i] @ positives[i]) - scale * (anchors[i] @ negatives[k])
        total = total + torch.relu(threshold - lead) / 6
    inputs = (anchors, positives, negatives, scale)
    same_as(cross_modal_ranking(*batch, threshold), total, inputs)


def test_is_the_threshold_when_all_look_alike(unit):
    same = unit(1, 8)
    loss = cross_modal_ranking(
        same.expand(3, 8), same.expand(3, 8), same.expand(6, 8), OWNER, torch.tensor(5.0), torch.tensor(1.5)
    )
    assert loss.item() == pytest.approx(1.5)


def test_threshold_becomes_the_mean_lead_within_its_bounds(unit):
    threshold, anchors = RankingThreshold(), unit(2, 8)
    owner = torch.tensor([0, 1])
    assert threshold.value.item() == 0
    threshold.update(anchors, anchors, -anchors, owner, torch.tensor(3.0))
    assert threshold.value.item() == pytest.approx(6)
    threshold.update(anchors, anchors, -anchors, owner, torch.tensor(30.0))
    assert threshold.value.item() == 10
    threshold.update(anchors, -anchors, anchors, owner, torch.tensor(3.0))
    assert threshold.value.item() == 0


def test_threshold_stays_where_there_are_no_negatives_and_survives_a_checkpoint(unit, scale):
    threshold, anchors = RankingThreshold(), unit(2, 8)
    threshold.load_state_dict({"value": torch.tensor(2.5)})
    threshold.update(anchors, anchors, unit(0, 8), OWNER[:0], scale)
    assert threshold.value.item() == 2.5
    assert not threshold.value.requires_grad
    again = RankingThreshold()
    again.load_state_dict(threshold.state_dict())
    assert again.value == threshold.value


def test_no_negatives_cost_nothing_but_keep_the_graph(unit, scale):
    inputs = (unit(3, 8), unit(3, 8), unit(0, 8), scale)
    loss = cross_modal_ranking(*inputs[:3], OWNER[:0], scale, torch.tensor(1.0))
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, inputs))
