"""RoIAlign against a loop over every sample, written from what torchvision's operator is documented to do."""

import math

import pytest
import torch
from torch import Tensor

from foveal.models import regions
from foveal.models.regions import pool_regions, roi_align, sample_regions


def bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    """One sample of (E, Y, X): zero beyond a cell outside, held at the border within it."""
    rows, columns = plane.shape[1:]
    if y < -1 or y > rows or x < -1 or x > columns:
        return plane.new_zeros(len(plane))
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    down, along = y - top, x - left
    upper = (1 - along) * plane[:, top, left] + along * plane[:, top, right]
    lower = (1 - along) * plane[:, bottom, left] + along * plane[:, bottom, right]
    return (1 - down) * upper + down * lower


def slow_roi_align(maps: Tensor, boxes: Tensor, region_image: Tensor, size: tuple[int, int], ratio: int) -> Tensor:
    output = maps.new_zeros(len(boxes), maps.shape[1], *size)
    for r, (x0, y0, x1, y1) in enumerate((boxes - 0.5).tolist()):
        high, wide = (y1 - y0) / size[0], (x1 - x0) / size[1]
        down = ratio if ratio > 0 else math.ceil(high)
        along = ratio if ratio > 0 else math.ceil(wide)
        for i in range(size[0]):
            for j in range(size[1]):
                for a in range(down):
                    for b in range(along):
                        y = y0 + i * high + (a + 0.5) * high / down
                        x = x0 + j * wide + (b + 0.5) * wide / along
                        sample = bilinear(maps[region_image[r]], y, x)
                        output[r, :, i, j] = output[r, :, i, j] + sample / max(down * along, 1)
    return output


def sequences(grid: Tensor, width: int = 5, patches: int = 40) -> Tensor:
    """Patch features with garbage behind the real ones."""
    dense = torch.randn(len(grid), patches, width, dtype=torch.float64)
    for image, (rows, columns) in enumerate(grid.tolist()):
        dense[image, rows * columns :] = 1e6
    return dense


BOXES = torch.tensor(
    [
        [0.0, 0.0, 9.0, 7.0],  # the full map
        [1.3, 0.4, 5.9, 6.2],
        [4.0, 3.0, 5.0, 4.0],  # one cell
        [2.2, 2.2, 2.3, 2.4],  # within one cell
        [-4.0, -3.0, 3.0, 2.0],  # beyond the top left corner
        [6.5, 5.5, 15.0, 12.0],  # beyond the bottom right corner
        [20.0, 20.0, 25.0, 25.0],  # nowhere near
        [3.0, 2.0, 3.0, 5.0],  # no width
        [5.0, 5.0, 2.0, 6.0],  # ends before it begins
        [5.0, 5.0, 2.0, 1.0],  # so on both axes
    ],
    dtype=torch.float64,
)
OWNER = torch.tensor([2, 0, 0, 2, 1, 2, 0, 0, 2, 0])

GRID = torch.tensor([[4, 9], [7, 5], [1, 1], [6, 6]])
FRACTIONS = torch.tensor(
    [
        [0.0, 0.0, 1.0, 1.0],
        [0.1, 0.2, 0.55, 0.9],
        [0.3, 0.0, 0.31, 1.0],
        [0.5, 0.5, 1.0, 1.0],
        [0.2, 0.1, 0.8, 0.3],
    ],
    dtype=torch.float64,
)
IMAGE = torch.tensor([3, 0, 1, 3, 2])


@pytest.mark.parametrize("align", [roi_align, sample_regions])
@pytest.mark.parametrize("ratio", [-1, 0, 1, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7)])
def test_parity_alignment_matches_a_loop_over_samples(align, size, ratio):
    fast = torch.randn(3, 4, 7, 9, dtype=torch.float64, requires_grad=True)
    slow = fast.detach().clone().requires_grad_()
    ours, theirs = align(fast, BOXES, OWNER, size, ratio), slow_roi_align(slow, BOXES, OWNER, size, ratio)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    upstream = torch.randn_like(ours)
    ours.backward(upstream)
    theirs.backward(upstream)
    torch.testing.assert_close(fast.grad, slow.grad, rtol=0, atol=1e-12)


def test_gathering_in_portions_changes_nothing(monkeypatch):
    maps = torch.randn(3, 4, 7, 9, dtype=torch.float64)
    whole = sample_regions(maps, BOXES, OWNER, (2, 3))
    monkeypatch.setattr(regions, "_GATHERED", 20)
    torch.testing.assert_close(sample_regions(maps, BOXES, OWNER, (2, 3)), whole, rtol=0, atol=1e-12)


def test_gathering_and_multiplying_agree_on_a_fine_map():
    low = torch.rand(40, 2) * 100
    boxes = torch.cat([low, low + 1 + torch.rand(40, 2) * 40], dim=1)
    maps, owner = torch.randn(2, 8, 120, 120), torch.randint(2, (40,))
    gathered, multiplied = sample_regions(maps, boxes, owner), roi_align(maps, boxes, owner, 7)
    torch.testing.assert_close(gathered, multiplied, rtol=0, atol=1e-5)


def test_gathering_takes_no_more_memory_on_a_finer_map(monkeypatch):
    """The largest tensor beside the map itself holds cells of bins; the matrix form holds cells of the map."""
    gathered: list[int] = []
    bags = regions._bags

    def watched(*arguments):
        cells, weights = bags(*arguments)
        gathered.append(max(cells.numel(), weights.numel()))
        return cells, weights

    monkeypatch.setattr(regions, "_bags", watched)
    boxes, owner = torch.tensor([[1.0, 1.0, 9.0, 9.0]]).repeat(6, 1), torch.zeros(6, dtype=torch.long)
    for side in (10, 200):
        sample_regions(torch.zeros(1, 2, side, side), boxes, owner, 7, 2)
    assert gathered == [6 * 49 * 16] * 2


def test_a_linear_map_is_read_at_the_center_of_each_bin():
    row, column = torch.arange(8.0)[:, None] + 0.5, torch.arange(10.0) + 0.5
    maps = (3 * row + column)[None, None]
    bins = roi_align(maps, torch.tensor([[2.0, 1.0, 8.0, 5.0]]), torch.tensor([0]), (2, 3))
    y, x = torch.tensor([2.0, 4.0])[:, None], torch.tensor([3.0, 5.0, 7.0])
    torch.testing.assert_close(bins[0, 0], 3 * y + x)


def test_a_box_without_area_gives_zero_and_a_finite_gradient():
    maps = torch.randn(1, 3, 4, 4, requires_grad=True)
    boxes = torch.tensor([[1.0, 1.0, 1.0, 1.0], [3.0, 2.0, 1.0, 1.0], [0.0, 0.0, 1e-3, 1.0]])
    pooled = roi_align(maps, boxes, torch.tensor([0, 0, 0]), 1)
    assert not pooled[:2].any()
    assert pooled[2].all()
    pooled.sum().backward()
    assert maps.grad.isfinite().all()


def test_one_number_means_as_many_rows_as_columns():
    maps = torch.randn(3, 4, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(roi_align(maps, BOXES, OWNER, 2), roi_align(maps, BOXES, OWNER, (2, 2)), rtol=0, atol=0)


def test_the_full_image_gives_the_mean_of_its_patches():
    dense = sequences(GRID)
    pooled = pool_regions(dense, GRID, torch.tensor([[0.0, 0, 1, 1]]).expand(4, 4), torch.arange(4))
    means = [dense[image, : rows * columns].mean(dim=0) for image, (rows, columns) in enumerate(GRID.tolist())]
    torch.testing.assert_close(pooled, torch.stack(means), rtol=0, atol=1e-12)


def test_one_patch_sized_box_gives_that_patch():
    dense = sequences(GRID)
    boxes = torch.tensor([[2 / 9, 1 / 4, 3 / 9, 2 / 4]], dtype=torch.float64)
    torch.testing.assert_close(pool_regions(dense, GRID, boxes, torch.tensor([0]))[0], dense[0, 1 * 9 + 2])


def test_parity_pool_regions_matches_a_loop_over_samples():
    fast = sequences(GRID).requires_grad_()
    slow = fast.detach().clone().requires_grad_()
    ours = pool_regions(fast, GRID, FRACTIONS, IMAGE)
    theirs = []
    for box, image in zip(FRACTIONS, IMAGE.tolist(), strict=True):
        rows, columns = GRID[image].tolist()
        plane = slow[image, : rows * columns].T.reshape(1, -1, rows, columns)
        scaled = box * torch.tensor([columns, rows, columns, rows])
        theirs.append(slow_roi_align(plane, scaled[None], torch.tensor([0]), (1, 1), -1).flatten())
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=0, atol=1e-12)
    upstream = torch.randn_like(ours)
    ours.backward(upstream)
    torch.stack(theirs).backward(upstream)
    torch.testing.assert_close(fast.grad, slow.grad, rtol=0, atol=1e-12)


def test_both_ways_to_pool_agree_where_all_grids_are_equal():
    dense = torch.randn(2, 6 * 8, 5)
    boxes, image = torch.rand(20, 4).sort(dim=1).values, torch.randint(2, (20,))
    pooled = pool_regions(dense, torch.tensor([[6, 8]] * 2), boxes, image)
    maps = dense.mT.unflatten(2, (6, 8))
    aligned = roi_align(maps, boxes * torch.tensor([8.0, 6, 8, 6]), image, 1).flatten(1)
    torch.testing.assert_close(pooled, aligned)


def test_one_at_a_time_and_in_any_order_give_the_same():
    dense = sequences(GRID)
    pooled = pool_regions(dense, GRID, FRACTIONS, IMAGE)
    for r, image in enumerate(IMAGE.tolist()):
        alone = pool_regions(dense[image, None], GRID[image, None], FRACTIONS[r, None], torch.tensor([0]))
        torch.testing.assert_close(pooled[r, None], alone, rtol=0, atol=1e-12)
    order = torch.tensor([4, 2, 0, 3, 1])
    torch.testing.assert_close(pool_regions(dense, GRID, FRACTIONS[order], IMAGE[order]), pooled[order])


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_image_with_mirrored_boxes_gives_mirrored_bins(axis):
    maps = torch.randn(3, 4, 7, 9, dtype=torch.float64)
    boxes, owner = BOXES[:7], OWNER[:7]
    mirrored = boxes.clone()
    mirrored[:, [axis, axis + 2]] = maps.shape[3 - axis] - boxes[:, [axis + 2, axis]]
    expected = roi_align(maps, boxes, owner, (2, 3)).flip(3 - axis)
    torch.testing.assert_close(roi_align(maps.flip(3 - axis), mirrored, owner, (2, 3)), expected)


def test_no_boxes_give_no_rows_and_a_zero_gradient():
    dense, maps = torch.randn(4, 40, 5, requires_grad=True), torch.randn(3, 4, 7, 9, requires_grad=True)
    none, of_none = torch.empty(0, 4), torch.empty(0, dtype=torch.long)
    pooled, aligned = pool_regions(dense, GRID, none, of_none), roi_align(maps, none, of_none, (2, 3))
    gathered = sample_regions(maps, none, of_none, (2, 3))
    assert pooled.shape == (0, 5)
    assert aligned.shape == gathered.shape == (0, 4, 2, 3)
    (pooled.sum() + aligned.sum() + gathered.sum()).backward()
    assert not dense.grad.any()
    assert not maps.grad.any()


def test_half_precision_features_are_pooled_in_full_precision_even_under_autocast():
    dense = torch.randn(4, 40, 5).bfloat16()
    boxes = FRACTIONS.float()
    expected = pool_regions(dense.float(), GRID, boxes, IMAGE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = pool_regions(dense, GRID, boxes, IMAGE)
        aligned = roi_align(dense[:, :36].mT.unflatten(2, (6, 6)), boxes * 6, IMAGE, 2)
    assert pooled.dtype == aligned.dtype == torch.float32
    torch.testing.assert_close(pooled, expected, rtol=0, atol=0)
    torch.testing.assert_close(aligned, roi_align(dense[:, :36].float().mT.unflatten(2, (6, 6)), boxes * 6, IMAGE, 2))


def test_corners_rounded_beyond_the_image_are_accepted():
    dense = torch.randn(4, 40, 5, dtype=torch.float64)
    sloppy = torch.tensor([[-5e-5, 0.0, 1.00005, 1.0]], dtype=torch.float64)
    exact = sloppy.clamp(0, 1)
    near = pool_regions(dense, GRID, sloppy, IMAGE[:1]), pool_regions(dense, GRID, exact, IMAGE[:1])
    torch.testing.assert_close(*near, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([0.2, 0.2, 0.1, 0.6], r"Box 1 is \(0.2, 0.2, 0.1, 0.6\), but 0 <= x0 < x1 <= 1"),
        ([0.2, 0.6, 0.4, 0.6], "Box 1 is"),
        ([-0.2, 0.2, 0.4, 0.6], "Box 1 is"),
        ([10.0, 20.0, 40.0, 60.0], "in fractions of the image"),
        ([0.2, float("nan"), 0.4, 0.6], r"\(0.2, nan, 0.4, 0.6\)"),
    ],
)
def test_a_box_that_is_none_is_refused_by_number_and_value(box, said):
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], box])
    with pytest.raises(ValueError, match=said):
        pool_regions(torch.randn(4, 40, 5), GRID, boxes, IMAGE[:2])


def test_a_box_that_is_not_finite_is_refused():
    boxes = torch.tensor([[0.0, 0.0, float("inf"), 1.0]])
    with pytest.raises(ValueError, match=r"Box 0 is \(0, 0, inf, 1\), but coordinates must be finite"):
        roi_align(torch.randn(3, 4, 7, 9), boxes, torch.tensor([0]), 1)


@pytest.mark.parametrize("image", [-1, 4])
def test_a_region_of_an_image_that_is_not_in_the_batch_is_refused(image):
    with pytest.raises(ValueError, match=f"Region 1 lies in image {image}, but the batch has 4"):
        pool_regions(torch.randn(4, 40, 5), GRID, FRACTIONS[:2], torch.tensor([0, image]))


def test_a_grid_with_more_patches_than_features_is_refused():
    with pytest.raises(ValueError, match="Image 3 has a grid of 6 x 6 patches, but there are features of 35"):
        pool_regions(torch.randn(4, 35, 5), torch.where(GRID == 9, 8, GRID), FRACTIONS, IMAGE)
