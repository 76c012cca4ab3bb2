import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.encoder.proposals import best_windows, propose_regions
from foveal.models.regions import pool_regions


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def test_what_stands_out_gets_a_box():
    ground, thing = unit(8), unit(8)
    grid = ground.repeat(12, 12, 1)
    grid[3:6, 6:10] = thing
    regions, boxes = propose_regions(F.normalize(grid + 0.05 * torch.randn(12, 12, 8), dim=-1)[None], 4)
    torch.testing.assert_close(boxes[0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    x0, y0, x1, y1 = (boxes[0, 1] * 12).tolist()
    shared = (min(x1, 10) - max(x0, 6)) * (min(y1, 6) - max(y0, 3))
    assert shared / ((x1 - x0) * (y1 - y0) + 12 - shared) > 0.5
    assert regions[0, 1] @ thing > 0.9


def test_regions_are_the_means_that_pooling_gives():
    grid = unit(3, 7, 9, 16)
    regions, boxes = propose_regions(grid, 6)
    owner = torch.arange(3).repeat_interleave(boxes.shape[1])
    pooled = pool_regions(grid.flatten(1, 2), torch.tensor([[7, 9]] * 3), boxes.flatten(0, 1), owner)
    torch.testing.assert_close(regions.flatten(0, 1), F.normalize(pooled, dim=-1), atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 24), columns=st.integers(1, 24), most=st.integers(1, 16))
def test_boxes_of_any_grid_lie_inside_and_apart(rows, columns, most):
    boxes = propose_regions(unit(2, rows, columns, 4), most)[1]
    assert 1 <= boxes.shape[1] <= most
    assert (boxes[..., :2] < boxes[..., 2:]).all()
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    for own in boxes:
        low = torch.maximum(own[:, None, :2], own[None, :, :2])
        high = torch.minimum(own[:, None, 2:], own[None, :, 2:])
        shared = (high - low).clamp(min=0).prod(dim=-1)
        area = (own[:, 2:] - own[:, :2]).prod(dim=-1)
        overlap = shared / (area[:, None] + area - shared)
        overlap.fill_diagonal_(0)
        assert overlap.max() <= 0.5 + 1e-5


def test_pictures_do_not_depend_on_their_neighbors():
    grid = unit(4, 6, 6, 8)
    whole, alone = propose_regions(grid, 5), propose_regions(grid[2:3], 5)
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(one[2:3], other)


def test_the_best_window_is_the_best_of_all():
    grid, phrases = unit(5, 5, 8), unit(3, 8)
    boxes, alike = best_windows(grid, phrases)
    for box, value, phrase in zip(boxes, alike, phrases, strict=True):
        x0, y0, x1, y1 = (box * 5).round().int().tolist()
        inside = F.normalize(grid[y0:y1, x0:x1].mean(dim=(0, 1)), dim=0)
        assert value.item() == pytest.approx((inside @ phrase).item(), abs=1e-5)
    assert (alike >= (grid.flatten(0, 1) @ phrases.T).amax(0) - 1e-5).all()  # single cells are windows too
