"""Fusion in closed form, and both readings of its rule."""

import pytest
import torch

from foveal.detection.proposals import Proposals
from foveal.detection.rescore import Rescoring, fused, probabilities

BOXES = torch.tensor([[0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.4, 0.41]])
LIKELY = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
SCORE = torch.tensor([0.5, 0.9, 0.6])


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_what_both_say_is_the_score_for_any_power(power):
    torch.testing.assert_close(fused(LIKELY, LIKELY, power), LIKELY)


def test_the_ends_of_the_power_are_proposer_and_encoder():
    torch.testing.assert_close(fused(SCORE[:, None], LIKELY, 0.0), SCORE[:, None].expand(-1, 2))
    torch.testing.assert_close(fused(SCORE[:, None], LIKELY, 1.0), LIKELY)
    torch.testing.assert_close(fused(SCORE[:, None], LIKELY), (SCORE[:, None] * LIKELY).sqrt())


def test_an_encoder_without_opinion_keeps_the_order_of_the_proposer():
    flat = torch.full((3, 2), 0.5)
    assert torch.equal(fused(SCORE[:, None], flat)[:, 0].argsort(), SCORE.argsort())


def test_under_the_rule_box_the_encoder_alone_chooses_the_name():
    for score in (SCORE, torch.tensor([0.1, 0.2, 0.9])):
        boxes, scores, label = Rescoring(after=1.0)(Proposals(BOXES, score), LIKELY)
        rows = (boxes[:, None] == BOXES).all(dim=2).nonzero()[:, 1]
        assert torch.equal(label, LIKELY.argmax(dim=1)[rows])
        assert torch.equal(scores, scores.sort(descending=True).values)


def test_under_the_rule_class_a_name_without_score_has_no_chance():
    proposals = Proposals(BOXES, SCORE, torch.tensor([[0.0, 0.4], [0.9, 0.0], [0.0, 0.0]]))
    boxes, scores, label = Rescoring(rule="class", threshold=1e-3)(proposals, LIKELY)
    assert label.tolist() == [0, 1]
    torch.testing.assert_close(scores, torch.tensor([0.9 * 0.2, 0.4 * 0.1]).sqrt())
    assert torch.equal(boxes, BOXES[[1, 0]])
    with pytest.raises(ValueError, match='Use rule="box"'):
        Rescoring(rule="class")(Proposals(BOXES, SCORE), LIKELY)


def test_doubles_go_before_and_after():
    proposals = Proposals(BOXES, SCORE)
    assert Rescoring().thinned(proposals).score.tolist() == pytest.approx([0.9, 0.6])
    assert len(Rescoring(after=0.5)(proposals, torch.ones(3, 1))[0]) == 2
    assert len(Rescoring(after=0.99)(proposals, torch.ones(3, 1))[0]) == 3


def test_several_names_a_box_and_few_boxes_a_picture():
    scores = Rescoring(labels=2, top=3)(Proposals(BOXES, SCORE), LIKELY)[1]
    assert len(scores) == 3
    both = fused(SCORE[:2, None], LIKELY[:2])
    assert scores[0] == both.max()


def test_permuting_names_permutes_labels():
    whole = Rescoring()(Proposals(BOXES, SCORE), LIKELY)
    turned = Rescoring()(Proposals(BOXES, SCORE), LIKELY.flip(1))
    assert torch.equal(whole[2], 1 - turned[2])
    assert torch.equal(whole[1], turned[1])


def test_probabilities_of_names_and_background_sum_to_one():
    similarity, against = torch.randn(4, 3), torch.randn(4, 2)
    names, rest = probabilities(similarity, against, 3.0), probabilities(against, similarity, 3.0)
    torch.testing.assert_close(names.sum(dim=1) + rest.sum(dim=1), torch.ones(4))
    assert torch.equal(probabilities(similarity[:, :1], against[:, :0], 3.0), torch.ones(4, 1))


def test_both_readings_are_named_in_the_output():
    assert str(Rescoring()).startswith("rule=box scale=the model's power=0.5 labels=1 ")
    assert "rule=class scale=20.0" in str(Rescoring(rule="class", scale=20.0))
    assert "labels=all" in str(Rescoring(rule="class"))
