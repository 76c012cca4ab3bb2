"""F-ViT on a tower of random weights: what it may learn from, and how its scores are joined."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.models.detector import BoxDetector, Candidates, DetectorConfig, Fusion, best_boxes
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.recipes.fvit import Objective
from foveal.types import BoxedBatch

SIDE = 32
CONFIG = DetectorConfig(
    taps=(0, 0, 1, 1), image_size=SIDE, width=16, hidden=16, convs=1, anchor_size=4.0, proposals=20,
    anchor_samples=32, region_samples=16,
)  # fmt: skip
NOVEL = torch.tensor([False, True, False])


@pytest.fixture
def detector():
    torch.manual_seed(0)
    model = DualEncoder(tiny())
    width = model.config.embed_width
    texts = F.normalize(torch.randn(4, width), dim=1)
    return BoxDetector(model, CONFIG, texts[:3], NOVEL, texts[3])


@pytest.fixture
def batch():
    boxes = torch.tensor([[2.0, 2, 14, 14], [16, 10, 30, 28], [4, 4, 24, 20]])
    return BoxedBatch(
        ids=("a", "b"),
        pixels=torch.randn(2, 3, SIDE, SIDE),
        sizes=torch.tensor([[32.0, 32], [32, 20]]),
        boxes=boxes,
        region_image=torch.tensor([0, 0, 1]),
        region_class=torch.tensor([0, 2, 0]),
        seed=torch.tensor([5, 6]),
    )


def loss(detector, batch):
    return sum(Objective()(detector(batch)).values())


def test_novel_texts_change_no_loss_and_get_no_gradient(detector, batch):
    before = loss(detector, batch)
    detector.classes = detector.classes.clone().requires_grad_()
    loss(detector, batch).backward()
    assert not detector.classes.grad[NOVEL].any()
    assert detector.classes.grad[~NOVEL].abs().sum() > 0
    with torch.no_grad():
        detector.classes[1] = F.normalize(torch.randn_like(detector.classes[1]), dim=0)
    torch.testing.assert_close(loss(detector, batch), before)


def test_the_encoder_is_frozen_and_all_else_learns(detector, batch):
    loss(detector, batch).backward()
    for name, parameter in detector.named_parameters():
        assert (parameter.grad is None) == name.startswith("encoder."), name
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all()


def test_proposals_know_no_classes(detector, batch):
    permuted = replace(batch, region_class=torch.tensor([2, 0, 2]))
    first, second = (Objective()(detector(boxes)) for boxes in (batch, permuted))
    for term in ("proposal", "proposal_box", "box"):
        torch.testing.assert_close(first[term], second[term])


def test_micro_batches_and_ranks_add_up_to_the_batch(detector, batch):
    whole = Objective()(detector(batch))
    parts = [Objective()(detector(part)) for part in batch.split(2)]
    for name, term in whole.items():
        torch.testing.assert_close(term, sum(part[name] for part in parts) / 2, rtol=1e-4, atol=1e-6)


def test_a_batch_without_boxes_has_a_loss_and_gradients_everywhere(detector, batch):
    empty = replace(
        batch, boxes=batch.boxes[:0], region_image=batch.region_image[:0], region_class=batch.region_class[:0]
    )
    loss(detector, empty).backward()
    assert all(p.grad is not None for n, p in detector.named_parameters() if not n.startswith("encoder."))


def test_weights_of_a_batch_sum_to_one(detector, batch):
    output = detector(batch)
    torch.testing.assert_close(output.anchor_weight.sum(), torch.tensor(1.0))
    torch.testing.assert_close(output.region_weight.sum(), torch.tensor(1.0))
    assert output.allowed.tolist() == [True, False, True, True]


def candidates(detector, batch, **fusion):
    detector.eval()
    return detector.candidates(batch.pixels, batch.sizes, detector.classes, detector.novel, Fusion(**fusion))


def test_the_ends_of_the_fusion_are_head_and_encoder(detector, batch):
    head, vlm, both = (candidates(detector, batch, base=a, novel=a)[0].score for a in (0.0, 1.0, 0.3))
    torch.testing.assert_close(both, head**0.7 * vlm**0.3)
    mixed = candidates(detector, batch, base=0.0, novel=1.0)[0].score
    torch.testing.assert_close(mixed, torch.where(NOVEL, vlm, head))


def test_permuting_classes_permutes_scores(detector, batch):
    order = torch.tensor([2, 0, 1])
    plain = candidates(detector, batch)[0]
    turned = detector.candidates(batch.pixels, batch.sizes, detector.classes[order], detector.novel[order])[0]
    torch.testing.assert_close(turned.score, plain.score[:, order])
    torch.testing.assert_close(turned.refined, plain.refined)


def test_boxes_stay_within_their_picture(detector, batch):
    for boxes, size in zip(candidates(detector, batch), batch.sizes, strict=True):
        assert len(boxes.boxes) <= CONFIG.proposals
        for corners in (boxes.boxes, boxes.refined):
            assert (corners >= 0).all()
            assert (corners <= size.repeat(2)).all()
        assert ((boxes.objectness > 0) & (boxes.objectness < 1)).all()


def test_anchors_are_as_many_as_published(detector):
    maps = [torch.zeros(1, 1, side, side) for side in (160, 80, 40, 20, 10)]
    anchors, levels = detector._anchors(maps)
    assert len(anchors) == 3 * sum(side**2 for side in (160, 80, 40, 20, 10))
    assert levels.bincount().tolist() == [3 * side**2 for side in (160, 80, 40, 20, 10)]


def test_regions_are_read_from_the_level_of_their_size(detector, monkeypatch):
    maps = [torch.full((1, 1, 8, 8), float(level)) for level in range(5)]
    stride = detector.stride(0)
    sides = torch.tensor([1.0, 20.0, 28.0, 60.0, 200.0]) * stride
    boxes = torch.stack([torch.zeros(5), torch.zeros(5), sides, sides], dim=1)
    read = detector._read(maps, boxes, torch.zeros(5, dtype=torch.long))
    assert read[:, 0, 0, 0].tolist() == pytest.approx([0.0, 0.0, 1.0, 2.0, 3.0])


def test_doubles_of_a_name_go_and_weak_ones(detector):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    score = torch.tensor([[0.9, 0.0], [0.8, 0.5], [0.005, 0.3]])
    best, scores, label = best_boxes(Candidates(boxes, torch.ones(3), boxes, score))
    assert scores.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert label.tolist() == [0, 1, 1]
    assert torch.equal(best, boxes)


def test_a_picture_that_cannot_be_cut_into_patches_is_refused():
    model = DualEncoder(tiny())
    texts = torch.randn(2, model.config.embed_width)
    with pytest.raises(ValueError, match="no multiple of the patch"):
        BoxDetector(model, replace(CONFIG, image_size=33), texts, torch.tensor([False, True]), texts[0])
