"""Boxes against closed forms and a loop over pairs."""

import time

import pytest
import torch
from torch import Tensor

from foveal.models.boxes import areas, class_nms, clipped, decode_boxes, encode_boxes, grid_anchors, iou, nms


def random_boxes(count: int, size: float = 100.0) -> Tensor:
    low = torch.rand(count, 2) * size
    return torch.cat([low, low + 1 + torch.rand(count, 2) * size / 3], dim=1)


def slow_nms(boxes: Tensor, score: Tensor, label: Tensor, overlap: float) -> list[int]:
    """Greedy suppression as it is written in papers: box by box, pair by pair."""
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda row: -float(score[row])):
        x0, y0, x1, y1 = boxes[row].tolist()
        covered = False
        for better in kept:
            a0, b0, a1, b1 = boxes[better].tolist()
            shared = max(0.0, min(x1, a1) - max(x0, a0)) * max(0.0, min(y1, b1) - max(y0, b0))
            union = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared
            covered |= shared / union > overlap and bool(label[row] == label[better])
        if not covered:
            kept.append(row)
    return kept


def test_squares_shifted_by_half_share_a_third():
    left = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    right = torch.tensor([[0.5, 0.0, 1.5, 1.0], [0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0], [1.0, 0.0, 2.0, 1.0]])
    torch.testing.assert_close(iou(left, right), torch.tensor([[1 / 3, 1.0, 0.0, 0.0]]))


def test_boxes_without_area_overlap_nothing():
    point = torch.zeros(1, 4)
    assert float(iou(point, point)) == 0
    assert areas(torch.tensor([[3.0, 3.0, 1.0, 5.0]])).tolist() == [0.0]


def test_parity_nms_equals_the_loop_over_pairs():
    for count, overlap in ((0, 0.5), (1, 0.5), (300, 0.1), (300, 0.5), (300, 0.9)):
        boxes, score, label = random_boxes(count), torch.rand(count), torch.randint(3, (count,))
        assert nms(boxes, score, overlap).tolist() == slow_nms(boxes, score, torch.zeros(count), overlap)
        assert class_nms(boxes, score, label, overlap).tolist() == slow_nms(boxes, score, label, overlap)


def test_parity_blocks_change_nothing(monkeypatch):
    boxes, score, label = random_boxes(200), torch.rand(200).round(decimals=1), torch.randint(2, (200,))
    whole = class_nms(boxes, score, label, 0.3)
    monkeypatch.setattr("foveal.models.boxes._BLOCK", 7)
    assert torch.equal(class_nms(boxes, score, label, 0.3), whole)


def test_a_chain_of_boxes_keeps_every_second_one():
    """The longest chain of decisions there is: each box covers the next alone."""
    start = torch.arange(50.0)
    boxes = torch.stack([start, torch.zeros(50), start + 2, torch.ones(50)], dim=1)
    assert nms(boxes, -start, 0.3).tolist() == list(range(0, 50, 2))


def test_of_equal_boxes_the_first_stays():
    assert nms(torch.ones(4, 4) * torch.tensor([0, 0, 1, 1]), torch.ones(4), 0.5).tolist() == [0]


def test_suppression_is_fast():
    """300 boxes in less than 20 ms and 2,000 in less than 0.3 s of one core; generous, as machines are busy."""
    for count, seconds in ((300, 0.02), (2000, 0.3)):
        boxes, score = random_boxes(count, 640.0), torch.rand(count)
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            nms(boxes, score, 0.5)
            best = min(best, time.process_time() - start)
        assert best < seconds


def test_a_box_is_no_change_of_itself():
    boxes = random_boxes(5)
    assert encode_boxes(boxes, boxes).abs().max() == 0


@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0, 1.0), (0.1, 0.1, 0.2, 0.2)])
def test_decoding_is_the_inverse_of_encoding(scales):
    boxes, anchors = random_boxes(50), random_boxes(50)
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors, scales), anchors, scales), boxes)


def test_growth_is_bounded():
    wild = decode_boxes(torch.full((1, 4), 100.0), torch.tensor([[0.0, 0.0, 16.0, 16.0]]))
    torch.testing.assert_close(wild[:, 2:] - wild[:, :2], torch.full((1, 2), 1000.0))


def test_a_mirrored_picture_has_mirrored_boxes():
    boxes, anchors, width = random_boxes(9), random_boxes(9), 200.0

    def mirror(boxes: Tensor) -> Tensor:
        return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)

    deltas = encode_boxes(boxes, anchors)
    flipped = deltas * torch.tensor([-1.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(decode_boxes(flipped, mirror(anchors)), mirror(boxes))


def test_clipped_boxes_stay_inside():
    boxes = torch.tensor([[-1.0, -2.0, 0.5, 3.0], [0.1, 0.2, 0.3, 0.4]])
    torch.testing.assert_close(clipped(boxes), torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.1, 0.2, 0.3, 0.4]]))
    assert clipped(boxes, 8.0, 2.0)[0].tolist() == [0, 0, 0.5, 2]


def test_anchors_of_a_picture_of_640_pixels_are_as_many_as_published():
    levels = [grid_anchors(640 // stride, 640 // stride, float(stride), 8.0 * stride) for stride in (4, 8, 16, 32, 64)]
    assert sum(map(len, levels)) == 3 * (160**2 + 80**2 + 40**2 + 20**2 + 10**2)


def test_anchors_lie_around_the_middle_of_their_cell():
    boxes = grid_anchors(2, 3, stride=10.0, size=20.0, ratios=(0.25, 1.0))
    assert boxes.shape == (12, 4)
    torch.testing.assert_close(boxes[0], torch.tensor([-15.0, 0.0, 25.0, 10.0]))  # four times as wide as high
    torch.testing.assert_close(boxes[-1], torch.tensor([15.0, 5.0, 35.0, 25.0]))
