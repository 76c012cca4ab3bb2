"""An image tower of your own in a dual encoder: a module with `width` that gives pooled and per-place features."""

from dataclasses import replace

import torch
from torch import nn

from foveal.models import DualEncoder, tiny
from foveal.models.vision import VisionFeatures


class Convolutions(nn.Module):
    """Two convolutions; their cells are the dense features, the cells' mean is the picture."""

    width = 32

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.GELU(), nn.Conv2d(16, self.width, 2, 2))

    def forward(self, pixels, *, dense=True):
        cells = self.layers(pixels)
        count, _, rows, columns = cells.shape
        flat = cells.flatten(2).mT
        mask = torch.ones(flat.shape[:2], dtype=torch.bool)
        grid = torch.tensor([[rows, columns]]).expand(count, 2)
        return VisionFeatures(flat.mean(dim=1), flat if dense else None, mask, grid)


config = tiny()
config = replace(config, vision=replace(config.vision, tower="own", width=Convolutions.width))
model = DualEncoder(config, image=Convolutions())
print(model.encode_images(torch.zeros(2, 3, 32, 32)).shape)
