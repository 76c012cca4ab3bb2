import math
from io import BytesIO

import pytest
import torch
from PIL import Image

from foveal.annotation.duplicates.near_duplicates import near_duplicates, similar_pictures
from foveal.types import Sample


def samples_of(*images: bytes) -> list[Sample]:
    return [Sample(str(index), image) for index, image in enumerate(images)]


def test_later_copies_are_near_duplicates(noisy):
    assert near_duplicates(samples_of(noisy(0), noisy(1), noisy(0, (320, 240)), noisy(2), noisy(0))) == {"2", "4"}


def test_pictures_of_a_single_color_are_no_copies_of_one_another():
    data = BytesIO()
    Image.new("RGB", (40, 40), "red").save(data, "PNG")
    assert near_duplicates(samples_of(data.getvalue(), data.getvalue())) == frozenset()


def test_a_broken_picture_is_refused(noisy):
    with pytest.raises(ValueError, match="cannot be read"):
        near_duplicates(samples_of(noisy(0), b"broken"))


class Angles:
    """Stands in for an encoder: a picture is an angle, its embedding the point of the circle there."""

    def encode_images(self, pictures):
        angle = torch.tensor([float(picture) for picture in pictures])
        return torch.stack([angle.cos(), angle.sin()], 1)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_embeddings_find_copies_of_what_is_kept_only(unchecked, batch_size):
    angles = ["0", "0.1", "0.25", "1.5", "0.3"]  # 0.1 is near 0; 0.25 is near 0.1 only, which is gone
    samples = samples_of(*(angle.encode() for angle in angles))
    assert similar_pictures(samples, Angles(), least=math.cos(0.2), batch_size=batch_size) == {"1", "4"}


@pytest.mark.parametrize("seed", range(3))
def test_batches_of_any_size_keep_what_looking_one_by_one_keeps(unchecked, seed):
    torch.manual_seed(seed)
    angles = (6 * torch.rand(40)).tolist()
    kept = []
    for angle in angles:
        if all(math.cos(angle - other) < math.cos(0.2) for other in kept):
            kept.append(angle)
    expected = {str(index) for index, angle in enumerate(angles) if angle not in kept}
    samples = samples_of(*(str(angle).encode() for angle in angles))
    for batch_size in (1, 7, 40):
        assert similar_pictures(samples, Angles(), least=math.cos(0.2), batch_size=batch_size) == expected
