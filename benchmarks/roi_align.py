"""One vector per box, forward and backward: all boxes of a batch at once, against a loop over boxes.

    python benchmarks/roi_align.py

Both start from patch features as a tower gives them, channels last. The loop turns them into maps once, splits
those into images once, so that no box's backward pass fills a zero gradient of the whole batch, and samples each
box with `grid_sample`.
"""

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.models.regions import pool_regions

IMAGES, BOXES, SIDE, WIDTH = 64, 16, 14, 512
GOAL = 20  # times as fast as the loop


def loop_over_boxes(dense: Tensor, boxes: Tensor, region_image: Tensor) -> Tensor:
    images = dense.mT.reshape(IMAGES, WIDTH, SIDE, SIDE).contiguous().split(1)
    pooled = []
    for (x0, y0, x1, y1), image in zip((boxes * SIDE).tolist(), region_image.tolist(), strict=True):
        rows, columns = math.ceil(y1 - y0), math.ceil(x1 - x0)
        y = y0 + (torch.arange(rows) + 0.5) * (y1 - y0) / rows
        x = x0 + (torch.arange(columns) + 0.5) * (x1 - x0) / columns
        at = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) * 2 / SIDE - 1
        samples = F.grid_sample(images[image], at[None], padding_mode="border", align_corners=False)
        pooled.append(samples.mean(dim=(2, 3)))
    return torch.cat(pooled)


def all_at_once(dense: Tensor, boxes: Tensor, region_image: Tensor) -> Tensor:
    return pool_regions(dense, torch.full((IMAGES, 2), SIDE), boxes, region_image)


def milliseconds(pool: Callable[..., Tensor], *inputs: Tensor, runs: int) -> float:
    """The fastest of a few runs of forward and backward, after one that does not count."""
    times = []
    for _ in range(runs + 1):
        inputs[0].grad = None
        start = time.perf_counter()
        pool(*inputs).sum().backward()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def main() -> None:
    torch.manual_seed(0)
    dense = torch.randn(IMAGES, SIDE * SIDE, WIDTH, requires_grad=True)
    corners = torch.rand(IMAGES * BOXES, 2, 2).sort(dim=1).values
    region_image = torch.arange(IMAGES).repeat_interleave(BOXES)
    inputs = dense, corners.flatten(1), region_image
    difference = (loop_over_boxes(*inputs) - all_at_once(*inputs)).abs().max().item()
    loop = milliseconds(loop_over_boxes, *inputs, runs=3)
    ours = milliseconds(all_at_once, *inputs, runs=10)
    print(f"{IMAGES} images x {BOXES} boxes, {SIDE} x {SIDE} x {WIDTH}, {torch.get_num_threads()} threads")
    print(f"largest difference between the two: {difference:.1e}\n")
    print("| 1 x 1, forward and backward | ms | times as fast | goal |")
    print("|---|---|---|---|")
    print(f"| loop over boxes | {loop:.1f} | 1 | |")
    print(f"| all at once | {ours:.1f} | {loop / ours:.1f} | {GOAL} |")


if __name__ == "__main__":
    main()
