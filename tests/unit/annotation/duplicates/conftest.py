"""Pictures of which each number looks another way, and copies of them."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def noisy():
    """Encoded pictures of blurred noise, by number; the same number is the same picture in any size and format."""

    def make(number: int, size: tuple[int, int] = (160, 120), kind: str = "JPEG", **settings) -> bytes:
        coarse = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        data = BytesIO()
        picture = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
        (picture if size == picture.size else picture.resize(size)).save(data, kind, **settings)
        return data.getvalue()

    return make
