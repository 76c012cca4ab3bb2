from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from foveal.models import weights
from foveal.models.config import ModelConfig, TextConfig, VisionConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.vision import patchify

pytest.importorskip("efficientnet_lite_pytorch", reason="foveal[starter] is not installed")
pytest.importorskip("transformers", reason="foveal[starter] is not installed")

from transformers import BertModel

from foveal.models.starter_towers import CHANNELS, CLASSES, EfficientNetLite0, MiniLM

END, WIDTH = 49, 16
TEXT = TextConfig(
    tower="minilm",
    width=WIDTH,
    layers=2,
    heads=2,
    mlp_width=32,
    activation="gelu",
    vocabulary=50,
    eos_id=END,
    context=12,
    causal=False,
    pooling="mean",
    projection_bias=True,
)
VISION = VisionConfig(
    tower="efficientnet_lite0",
    width=CHANNELS + WIDTH,
    layers=0,
    heads=0,
    mlp_width=0,
    pooling="mean",
    image_size=64,
    patch_size=32,
)


@pytest.fixture(scope="module")
def image() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0(VISION).eval()


@pytest.fixture(scope="module")
def language() -> MiniLM:
    torch.manual_seed(0)
    return MiniLM(TEXT).eval()


def text(*lengths: int) -> torch.Tensor:
    ids = torch.randint(1, END, (len(lengths), max(lengths)))
    for row, length in zip(ids, lengths, strict=True):
        row[length - 1 :] = END
    return ids


def test_packed_texts_read_like_texts_one_by_one(language: MiniLM) -> None:
    lengths = (3, 12, 2, 11, 8, 3)
    ids = text(*lengths)
    features = language(ids)
    tokens, mask = features.packing.pad(features.tokens)
    peer = BertModel(language.network.config, add_pooling_layer=False).eval()
    peer.load_state_dict(language.network.state_dict())
    for row, length in enumerate(lengths):
        alone = peer(ids[row : row + 1, :length]).last_hidden_state[0]
        torch.testing.assert_close(features.pooled[row], F.normalize(alone.mean(dim=0), dim=0))
        torch.testing.assert_close(tokens[row, mask[row]], alone / alone.mean(dim=0).norm())


def test_the_mean_of_a_texts_tokens_is_its_pooled_feature(language: MiniLM) -> None:
    features = language(text(5, 9))
    tokens, mask = features.packing.pad(features.tokens)
    torch.testing.assert_close(tokens.sum(dim=1) / mask.sum(dim=1, keepdim=True), features.pooled)
    assert language(text(5)[:0]).pooled.shape == (0, WIDTH)


def test_texts_that_cannot_be_read_are_refused(language: MiniLM, unchecked: None) -> None:
    for ids, message in (
        (text(13), "Text 0 has 13 tokens, the most for kind 'caption' is 12"),
        (torch.ones(2, 4, dtype=torch.long), "no end-of-text token"),
        (torch.tensor([[1, 50, END]]), "Token id 50 is outside the vocabulary of 50"),
    ):
        with pytest.raises(ValueError, match=message):
            language(ids)


def test_a_picture_is_the_mean_of_its_cells(image: EfficientNetLite0) -> None:
    features = image(torch.randn(2, 3, 64, 96))
    assert features.patches is not None
    assert features.patches.shape == (2, 6, VISION.width) and features.grid.tolist() == [[2, 3]] * 2
    torch.testing.assert_close(features.pooled, features.patches.mean(dim=1))
    assert image(torch.randn(1, 3, 64, 64), dense=False).patches is None


def test_a_classifier_without_an_opinion_gives_the_mean_of_all_classes() -> None:
    image = EfficientNetLite0(VISION).eval()
    with torch.no_grad():
        image.network._fc.weight.zero_()
        image.network._fc.bias.zero_()
    features = image(torch.randn(1, 3, 64, 64))
    mean = image.concepts.weight.mean(dim=1)
    torch.testing.assert_close(features.patches[0, :, :WIDTH], mean.expand(4, WIDTH))
    with torch.no_grad():
        image.network._fc.bias[7] = 200.0  # sure of one class: its own vector
    sure = image(torch.randn(1, 3, 64, 64)).pooled[0, :WIDTH]
    torch.testing.assert_close(sure, image.concepts.weight[:, 7])
    assert image.concepts.weight.shape == (WIDTH, CLASSES)


def test_pictures_without_whole_cells_are_refused(image: EfficientNetLite0, unchecked: None) -> None:
    with pytest.raises(ValueError, match="64x70 pixels has no whole cells of 32x32"):
        image(torch.randn(1, 3, 64, 70))
    with pytest.raises(ValueError, match="pictures of one size"):
        image(patchify(torch.randn(1, 3, 64, 64), 32))
    with pytest.raises(ValueError, match="must be above the 1280 channels"):
        EfficientNetLite0(replace(VISION, width=CHANNELS))


def test_training_leaves_the_networks_statistics_alone() -> None:
    image = EfficientNetLite0(VISION).train()
    before = {name: each.clone() for name, each in image.state_dict().items()}
    image(torch.randn(2, 3, 64, 64)).pooled.sum().backward()
    assert all(torch.equal(before[name], each) for name, each in image.state_dict().items())
    assert image.training and image.concepts.weight.grad is not None


def test_a_model_of_these_towers_survives_the_disk(tmp_path: Path) -> None:
    model = DualEncoder(ModelConfig(vision=VISION, text=TEXT, embed_width=WIDTH)).eval()
    weights.save(model, tmp_path)
    back = weights.load(tmp_path).eval()
    assert back.config == model.config
    pixels, ids = torch.randn(1, 3, 64, 64), text(4, 7)
    assert torch.equal(back.encode_images(pixels), model.encode_images(pixels))
    assert torch.equal(back.encode_texts(ids, "long_caption"), model.encode_texts(ids))
