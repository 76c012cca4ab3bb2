"""A tiny model, small pictures made on the spot, and ways to index them."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.search import Indexing, Searcher


def picture(seed, size=(48, 32), kind="JPEG", **options):
    """The bytes of a mosaic of random colors."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(content, kind, **options)
    return content.getvalue()


def encoder_of(seed=0, mode="squash"):
    torch.manual_seed(seed)
    transform = ImageTransform(size=32, mode=mode)
    return Encoder(DualEncoder(tiny()).eval(), Tokenizer.clip(), transform, batch_size=8, progress=False)


@pytest.fixture(scope="session")
def encoder():
    return encoder_of()


@pytest.fixture(scope="session")
def make_encoder():
    return encoder_of


@pytest.fixture(scope="session")
def jpeg():
    return picture


@pytest.fixture(scope="session")
def fill():
    """Puts numbered pictures into a folder."""

    def fill(folder, seeds):
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            (folder / f"{seed:03d}.jpg").write_bytes(picture(seed))
        return folder

    return fill


@pytest.fixture
def photos(tmp_path, fill):
    """A folder of ten pictures, two of them in a folder of their own."""
    fill(tmp_path / "photos", range(8))
    fill(tmp_path / "photos" / "more", range(8, 10))
    return tmp_path / "photos"


@pytest.fixture
def run(tmp_path, encoder):
    """Brings the index of a source up to date."""

    def run(source, opened=encoder, **options):
        options = {"batch": 4, "tokens": 4, "regions": 4, **options}
        return Indexing(str(source), str(tmp_path / "index"), **options)(lambda: opened)

    return run


@pytest.fixture(scope="session")
def searcher(tmp_path_factory, encoder, fill):
    """An open index of forty pictures."""
    folder = tmp_path_factory.mktemp("searched")
    photos = fill(folder / "photos", range(40))
    Indexing(str(photos), str(folder / "index"), batch=16, tokens=6, regions=5)(lambda: encoder)
    return Searcher.open(folder / "index", encoder)
