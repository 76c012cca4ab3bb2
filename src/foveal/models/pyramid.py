"""A feature pyramid over blocks of a plain vision transformer, whose patches all have one size."""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["group", "sync_batch"]
_CHANNELS = 8  # in a group, so that 256 channels have 32 groups


def normalization(channels: int, norm: Norm) -> nn.Module:
    """Return the normalization of a map: by groups of channels, or over the batches of all ranks."""
    return nn.SyncBatchNorm(channels) if norm == "sync_batch" else nn.GroupNorm(max(1, channels // _CHANNELS), channels)


class FeaturePyramid(nn.Module):
    """Five maps of one width, from four taps: a quarter, a half, one, two and four times the patch's stride.

    F-ViT's (arXiv:2310.01403): earlier taps are scaled up by transposed convolutions, the last one is pooled; then
    laterals are added from coarse to fine (arXiv:1612.03144), and the fifth map is every second cell of the fourth.
    """

    def __init__(self, width: int, channels: int, norm: Norm = "group") -> None:
        super().__init__()
        self.scaled = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(width, width, 2, 2),
                    normalization(width, norm),
                    nn.GELU(),
                    nn.ConvTranspose2d(width, width, 2, 2),
                ),
                nn.ConvTranspose2d(width, width, 2, 2),
                nn.Identity(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        )
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1), normalization(channels, norm)) for _ in self.scaled
        )
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), normalization(channels, norm))
            for _ in self.scaled
        )

    def forward(self, taps: Sequence[Float[Tensor, "B W Y X"]]) -> list[Float[Tensor, "B _c _y _x"]]:
        """Return the five maps, the finest first."""
        maps: list[Tensor] = [
            lateral(scaled(tap)) for lateral, scaled, tap in zip(self.lateral, self.scaled, taps, strict=True)
        ]
        for level in range(len(maps) - 1, 0, -1):
            size = maps[level - 1].shape[-2:]
            maps[level - 1] = maps[level - 1] + F.interpolate(maps[level], size=size, mode="nearest")
        maps = [smooth(level) for smooth, level in zip(self.smooth, maps, strict=True)]
        return [*maps, maps[-1][..., ::2, ::2]]
