"""Features of boxes: RoIAlign over all boxes of a batch at once, in plain torch.

The weight of a cell in a bilinear sample is a weight per row times a weight per column, and a bin is a mean over
a lattice of samples, so a bin is one weighted sum of cells whose weights factor likewise. There are two ways to the
sums, without a loop over boxes or a copy of a map per box. `roi_align` and `pool_regions` multiply matrices: quickest
for few bins, as the weights hold a number for every cell of the map. `sample_regions` gathers the cells that count, so
that its memory grows with boxes and bins alone: for 7 x 7 bins over the fine maps of a detector.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

TOLERANCE = 1e-4  # of box corners beyond the image: files round to four digits
_GATHERED = 2**22  # cells gathered at once, in boxes of like size


def roi_align(
    maps: Float[Tensor, "B E Y X"],
    boxes: Float[Tensor, "R 4"],
    region_image: Int[Tensor, " R"],
    output_size: int | tuple[int, int],
    sampling_ratio: int = -1,
) -> Float[Tensor, "R E _h _w"]:
    """Average bilinear samples in each bin of a raster over each box.

    Mask R-CNN's RoIAlign (arXiv:1703.06870, section 3) with the semantics of torchvision's `roi_align` with
    `aligned=True`: cell i of a map covers [i, i + 1]; a sample more than half a cell outside the map counts as zero,
    one less far outside as the border; a box without area gives zero under adaptive sampling. Computed in float32
    at least, also under autocast. Boxes get no gradient. The weights take R * h * w * Y * X numbers.

    Args:
        maps: Feature maps.
        boxes: (x0, y0, x1, y1) in cells of the map; any finite values.
        region_image: Which map each box lies in.
        output_size: Rows and columns of bins, or one number for both.
        sampling_ratio: Samples along each side of a bin. Not positive: the length of the side in cells, rounded up.

    Returns:
        A raster per box. One bin over the full map: the mean of all cells. No boxes: no rows, in the graph.

    Raises:
        ValueError: If a box holds NaN or infinity, or `region_image` names no map.
    """
    corners, bins = _corners(maps, boxes, region_image), _bins(output_size)
    x, y = (
        _axis_weights(corners[:, axis::2], torch.full_like(region_image, cells), cells, count, sampling_ratio)
        for axis, (cells, count) in enumerate(zip(maps.shape[:1:-1], bins[::-1], strict=True))
    )
    weights = (y[:, :, None, :, None] * x[:, None, :, None, :]).flatten(3).flatten(1, 2)  # (R, h * w, Y * X)
    sums = _weighted_sums(maps.flatten(2).mT, weights, region_image)
    return sums.mT.reshape(len(boxes), maps.shape[1], *bins)


def sample_regions(
    maps: Float[Tensor, "B E Y X"],
    boxes: Float[Tensor, "R 4"],
    region_image: Int[Tensor, " R"],
    output_size: int | tuple[int, int] = 7,
    sampling_ratio: int = -1,
) -> Float[Tensor, "R E _h _w"]:
    """Average bilinear samples in each bin of a raster over each box, by gathering.

    The same numbers as `roi_align`. Takes 2 * samples cells along each side of a bin, whatever the map's size: on
    a map of 160 x 160 cells 128 boxes of 7 x 7 bins take a fraction of the memory and of the time.

    Args:
        maps: Feature maps.
        boxes: (x0, y0, x1, y1) in cells of the map; any finite values.
        region_image: Which map each box lies in.
        output_size: Rows and columns of bins, or one number for both.
        sampling_ratio: Samples along each side of a bin. Not positive: the length of the side in cells, rounded up.

    Returns:
        A raster per box. No boxes: no rows, in the graph.

    Raises:
        ValueError: If a box holds NaN or infinity, or `region_image` names no map.
    """
    corners, bins = _corners(maps, boxes, region_image), _bins(output_size)
    table = maps.to(corners.dtype).permute(0, 2, 3, 1).flatten(0, 2)  # (B * Y * X, E)
    parts = [table.new_zeros(0, *bins, table.shape[1]) + table[:0].sum()]
    order, sizes = _portions(corners, bins, sampling_ratio)
    for rows in order.split(sizes):
        cells, weights = _bags(corners[rows], region_image[rows], maps.shape[2:], bins, sampling_ratio)
        with torch.autocast(maps.device.type, enabled=False):
            starts = torch.arange(cells.shape[:3].numel(), device=cells.device) * cells.shape[3]
            sums = F.embedding_bag(cells.flatten(), table, starts, per_sample_weights=weights.flatten(), mode="sum")
        parts.append(sums.unflatten(0, (len(rows), *bins)))
    return torch.cat(parts).index_select(0, order.argsort()).permute(0, 3, 1, 2)


def pool_regions(
    dense: Float[Tensor, "B P E"],
    grid: Int[Tensor, "B 2"],
    boxes: Float[Tensor, "R 4"],
    region_image: Int[Tensor, " R"],
) -> Float[Tensor, "R E"]:
    """Return one vector per box from patch features, by RoIAlign with one bin and adaptive sampling.

    What FG-CLIP (arXiv:2505.05071) and FG-CLIP 2 pool regions with. Images may differ in their grids, so that
    packed patches of any aspect need no reshaping.

    Args:
        dense: Patch features in reading order; what lies beyond an image's rows * columns is ignored.
        grid: Rows and columns of patches of each image.
        boxes: (x0, y0, x1, y1) in fractions of the image.
        region_image: Which image each box lies in.

    Returns:
        Not normalized. Of the full image: the mean of its patches. No boxes: no rows, in the graph.

    Raises:
        ValueError: If a box leaves its image, has no area or holds NaN; if `region_image` names no image; if a grid
            has more patches than `dense`.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    fits = ((low >= -TOLERANCE) & (high <= 1 + TOLERANCE) & (low < high)).all(dim=1)  # False for NaN
    _check_boxes(boxes, fits, "0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 must hold, in fractions of the image")
    _check_region_image(region_image, len(dense))
    patches = dense.shape[1]
    _check_grid(grid, patches)
    dtype = torch.promote_types(dense.dtype, torch.float32)
    rows, columns = grid[region_image].unbind(dim=1)
    x, y = (
        _axis_weights(boxes[:, axis::2].to(dtype) * cells[:, None] - 0.5, cells, patches, 1, -1)[:, 0]
        for axis, cells in enumerate((columns, rows))
    )
    patch = torch.arange(patches, device=dense.device).expand(len(dense), -1)
    row, column = patch // grid[:, 1:], patch % grid[:, 1:]  # (B, P)
    weights = y.gather(1, row[region_image]) * x.gather(1, column[region_image])
    weights = weights * (patch < grid.prod(dim=1, keepdim=True))[region_image]
    return _weighted_sums(dense, weights[:, None], region_image)[:, 0]


@torch.no_grad()
def _corners(
    maps: Float[Tensor, "B E Y X"], boxes: Float[Tensor, "R 4"], region_image: Int[Tensor, " R"]
) -> Float[Tensor, "R 4"]:
    """Return checked boxes in float32 at least, moved so that the centers of cells are whole numbers."""
    _check_boxes(boxes, boxes.isfinite().all(dim=1), "coordinates must be finite")
    _check_region_image(region_image, len(maps))
    return boxes.to(torch.promote_types(maps.dtype, torch.float32)) - 0.5


def _bins(output_size: int | tuple[int, int]) -> tuple[int, int]:
    return (output_size, output_size) if isinstance(output_size, int) else output_size


def _axis_weights(
    ends: Float[Tensor, "R 2"], cells: Int[Tensor, " R"], most_cells: int, bins: int, sampling_ratio: int
) -> Float[Tensor, "R _bins _cells"]:
    """Return how much each cell along one axis counts in each bin of each box; cell i has its center at i."""
    below, above, near, far = _axis_samples(ends, cells, bins, sampling_ratio)
    weights = near.new_zeros(len(ends), bins, most_cells)
    return weights.scatter_add_(2, below, near).scatter_add_(2, above, far)


@torch.no_grad()
def _axis_samples(
    ends: Float[Tensor, "R 2"], cells: Int[Tensor, " R"], bins: int, sampling_ratio: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the two cells of each sample in each bin of each box along one axis, and how much each of them counts.

    All are of (R, bins, samples); boxes of fewer samples than the most have cells that count nothing.
    """
    start, length = ends[:, 0], ends[:, 1] - ends[:, 0]
    samples = _sample_counts(length, bins, sampling_ratio)
    most = int(max(samples.tolist(), default=0))
    start, length, samples, cells = (values[:, None, None] for values in (start, length, samples, cells))
    step = torch.arange(most, device=ends.device)
    part = (torch.arange(bins, device=ends.device)[:, None] + (step + 0.5) / samples.clamp(min=1)) / bins
    position = start + part * length  # (R, bins, most)
    real = (step < samples) & (position >= -1) & (position <= cells)
    share = real / samples.clamp(min=1)
    position = torch.minimum(position.clamp(min=0), cells - 1)
    below = position.long()
    beyond = share * (position - below)
    return below, torch.minimum(below + 1, cells - 1), share - beyond, beyond


def _sample_counts(length: Float[Tensor, " R"], bins: int, sampling_ratio: int) -> Float[Tensor, " R"]:
    """Return samples along each side of a bin."""
    if sampling_ratio > 0:
        return torch.full_like(length, sampling_ratio)
    return (length / bins).ceil().clamp(min=0)


def _portions(
    corners: Float[Tensor, "R 4"], bins: tuple[int, int], sampling_ratio: int
) -> tuple[Int[Tensor, " R"], list[int]]:
    """Return boxes by falling number of samples, and how many of them to gather at once."""
    sides = corners[:, 2:] - corners[:, :2]
    counts = [_sample_counts(sides[:, axis], bins[1 - axis], sampling_ratio) for axis in (0, 1)]
    most = torch.maximum(*counts)
    order = most.argsort(descending=True)
    falling, sizes, start = most[order].tolist(), list[int](), 0
    while start < len(falling):
        gathered = bins[0] * bins[1] * max(1, 2 * int(falling[start])) ** 2
        size = min(max(1, _GATHERED // gathered), len(falling) - start)
        sizes.append(size)
        start += size
    return order, sizes


@torch.no_grad()
def _bags(
    corners: Float[Tensor, "R 4"],
    region_image: Int[Tensor, " R"],
    shape: tuple[int, ...],
    bins: tuple[int, int],
    sampling_ratio: int,
) -> tuple[Int[Tensor, "R _h _w _cells"], Float[Tensor, "R _h _w _cells"]]:
    """Return the cells of each bin, as rows of all maps' cells, and how much each counts."""
    sides = []
    for axis, (length, count) in enumerate(zip(shape[::-1], bins[::-1], strict=True)):
        extent = torch.full_like(region_image, length)
        below, above, near, far = _axis_samples(corners[:, axis::2], extent, count, sampling_ratio)
        sides.append((torch.cat([below, above], dim=2), torch.cat([near, far], dim=2)))
    (column, x), (row, y) = sides  # (R, w, 2 samples), (R, h, 2 samples)
    row = (row + (region_image * shape[0])[:, None, None]) * shape[1]
    cells = row[:, :, None, :, None] + column[:, None, :, None, :]
    return cells.flatten(3), (y[:, :, None, :, None] * x[:, None, :, None, :]).flatten(3)


def _weighted_sums(
    cells: Float[Tensor, "B P E"], weights: Float[Tensor, "R _o P"], region_image: Int[Tensor, " R"]
) -> Float[Tensor, "R _o E"]:
    """Return weighted sums of each region's own image.

    It is a batched matrix product, with regions padded to the most per image.
    """
    (_, patches, width), bins = cells.shape, weights.shape[1]
    counts = torch.bincount(region_image, minlength=len(cells))
    most = max(counts.tolist(), default=0)
    order = region_image.argsort()
    first = counts.cumsum(0) - counts  # where an image's regions begin in that order
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - first[region_image[order]]
    place += region_image * most
    padded = weights.new_zeros(len(cells) * most, bins, patches).index_copy(0, place, weights)
    with torch.autocast(cells.device.type, enabled=False):
        # bmm, not @: that copies maps whose channels come first.
        sums = torch.bmm(padded.reshape(len(cells), most * bins, patches), cells.to(weights.dtype))
    return sums.reshape(len(padded), bins, width).index_select(0, place)


def _check_boxes(boxes: Float[Tensor, "R 4"], fits: Tensor, rule: str) -> None:
    if not bool(fits.all()):
        first = int(fits.logical_not().nonzero()[0])
        values = ", ".join(f"{value:g}" for value in boxes[first].tolist())
        raise ValueError(f"Box {first} is ({values}), but {rule}. Correct the box or drop the region.")


def _check_region_image(region_image: Int[Tensor, " R"], images: int) -> None:
    valid = (region_image >= 0) & (region_image < images)
    if not bool(valid.all()):
        first = int(valid.logical_not().nonzero()[0])
        raise ValueError(
            f"Region {first} lies in image {int(region_image[first])}, but the batch has {images}. "
            "Count images from 0, within the batch."
        )


def _check_grid(grid: Int[Tensor, "B 2"], patches: int) -> None:
    fits = (grid > 0).all(dim=1) & (grid.prod(dim=1) <= patches)
    if not bool(fits.all()):
        first = int(fits.logical_not().nonzero()[0])
        rows, columns = grid[first].tolist()
        raise ValueError(
            f"Image {first} has a grid of {rows} x {columns} patches, but there are features of {patches}. "
            "Give the grid of the picture that was encoded."
        )
