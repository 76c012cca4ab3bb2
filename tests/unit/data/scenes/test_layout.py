from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from foveal.data.scenes import COLORS, Scenes
from foveal.data.scenes.truth import BACKGROUNDS


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_tiles_lie_inside_apart_and_in_the_third_they_are_said_to(size):
    source = Scenes(7, size=size, objects=(2, 9))
    for index in range(100):
        boxes = source.boxes(index)
        for (x0, y0, x1, y1), tile in zip(boxes, source.truth(index).tiles, strict=True):
            assert 0 <= x0 < x1 <= size
            assert 0 <= y0 < y1 <= size
            assert x1 - x0 == y1 - y0
            assert (int(1.5 * (x0 + x1) / size), int(1.5 * (y0 + y1) / size)) == tile.place
        for one, two in combinations(boxes, 2):
            assert one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]


def test_large_is_plainly_larger_than_small_at_64_pixels():
    source = Scenes(size=64)
    sides = {"large": set(), "small": set()}
    for index in range(500):
        for tile, box in zip(source.truth(index).tiles, source.boxes(index), strict=True):
            sides[tile.size].add(box[2] - box[0])
    assert min(sides["large"]) >= max(sides["small"]) + 4


def test_pixels_have_the_colors_of_tiles_and_background_and_an_emoji_on_each_tile(source, samples):
    for index, sample in enumerate(samples):
        scene = source.truth(index)
        with Image.open(BytesIO(sample.image)) as picture:
            assert picture.format == "PNG"
            pixels = np.array(picture)
        assert pixels.shape == (64, 64, 3)
        for tile, region in zip(scene.tiles, sample.regions, strict=True):
            x0, y0, x1, y1 = (round(64 * edge) for edge in region.box)
            patch = pixels[y0:y1, x0:x1].copy()
            border = np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]])
            assert (border == COLORS[tile.color]).all()
            is_emoji = (patch != COLORS[tile.color]).any(-1)
            assert is_emoji.mean() > 0.05
            pixels[y0:y1, x0:x1] = BACKGROUNDS[scene.background]
        assert (pixels == BACKGROUNDS[scene.background]).all()


def test_colors_are_far_apart():
    values = np.array([*COLORS.values(), *BACKGROUNDS.values()], dtype=float)
    distances = np.linalg.norm(values[:, None] - values[None], axis=-1) + 1000 * np.eye(len(values))
    assert distances.min() > 80
