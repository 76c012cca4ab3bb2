"""Learned positions: tables that are stretched for long texts and resized for pictures of any shape."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .config import Interpolation


def stretch_positions(table: Float[Tensor, "old W"], keep: int = 20, ratio: int = 4) -> Float[Tensor, "new W"]:
    """Return positions for a longer context: the first `keep` as they are, straight lines between the rest.

    Long-CLIP's knowledge-preserved stretching (arXiv:2403.15378, section 3.2): CLIP trained only about its first
    20 positions well. 77 positions become 20 + 4 * 57 = 248, SigLIP 2's 64 become 196. Past the last one the
    table goes on along its last line.

    Raises:
        ValueError: If there is nothing to stretch beyond the kept rows.
    """
    old = len(table)
    if keep < 0 or old - keep < 2:
        raise ValueError(f"Cannot keep {keep} of {old} positions and stretch the rest. Keep at most {old - 2}.")
    position = keep + torch.arange(ratio * (old - keep), device=table.device) / ratio
    low = position.long().clamp(max=old - 2)
    step = table[low + 1] - table[low]
    return torch.cat([table[:keep], table[low] + (position - low)[:, None].to(table.dtype) * step])


class Positions(nn.Module):
    """A table of position embeddings whose first rows may be stored apart, so that they can be frozen.

    Long-CLIP and FineLIP freeze the kept rows. Their code loses that when a checkpoint is loaded again; here it
    is part of the model's config.
    """

    def __init__(self, length: int, width: int, *, kept_rows: int = 0, freeze_kept: bool = False) -> None:
        super().__init__()
        self.kept = nn.Parameter(torch.randn(kept_rows, width) * 0.01, not freeze_kept) if kept_rows else None
        self.rest = nn.Parameter(torch.randn(length - kept_rows, width) * 0.01)

    def forward(self) -> Float[Tensor, "L W"]:
        """Return the whole table."""
        return self.rest if self.kept is None else torch.cat([self.kept, self.rest])

    @torch.no_grad()
    def set(self, table: Float[Tensor, "L W"]) -> None:
        """Take over a table of the same shape."""
        kept_rows = 0 if self.kept is None else len(self.kept)
        if self.kept is not None:
            self.kept.copy_(table[:kept_rows])
        self.rest.copy_(table[kept_rows:])


def resize_grid(
    table: Float[Tensor, "G W"], rows: int, columns: int, interpolation: Interpolation
) -> Float[Tensor, "P W"]:
    """Return a square grid's positions for a grid of another size and aspect, in reading order.

    "bicubic" as CLIP's towers in `transformers`; "bilinear_antialias" as NaFlex (arXiv:2502.14786).
    """
    side = round(len(table) ** 0.5)
    if (rows, columns) == (side, side):
        return table
    square = table.to(torch.promote_types(table.dtype, torch.float32)).T.reshape(1, -1, side, side)
    bicubic = interpolation == "bicubic"
    resized = F.interpolate(
        square,
        (rows, columns),
        mode="bicubic" if bicubic else "bilinear",
        align_corners=False,
        antialias=not bicubic,
    )
    return resized.flatten(2)[0].T.to(table.dtype)


def grid_positions(
    table: Float[Tensor, "G W"], grid: Int[Tensor, "B 2"], interpolation: Interpolation
) -> list[Float[Tensor, "_p W"]]:
    """Return for each image the positions of its own grid. Each distinct grid is computed once."""
    shapes = [(int(rows), int(columns)) for rows, columns in grid.tolist()]
    tables = {shape: resize_grid(table, *shape, interpolation) for shape in set(shapes)}
    return [tables[shape] for shape in shapes]
