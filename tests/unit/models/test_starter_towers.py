import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from foveal.models import weights
from foveal.models.config import ModelConfig, TextConfig, VisionConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.starter_towers import CHANNELS, CLASSES, EfficientNetLite0, MiniLM, folded, from_networks
from foveal.models.vision import patchify

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


def shaken(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Move norms and biases, and the statistics of norms, from where a network begins; return all tensors."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor += torch.rand_like(tensor) if name.endswith("running_var") else 0.1 * torch.randn_like(tensor)
    return network.state_dict()


def test_texts_read_as_by_the_published_network() -> None:
    transformers = pytest.importorskip("transformers", reason="foveal[dev] is not installed")
    torch.manual_seed(0)
    settings = transformers.BertConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        layer_norm_eps=TEXT.norm_eps,
        max_position_embeddings=12,
    )
    peer = transformers.BertModel(settings, add_pooling_layer=False).eval()
    state = {f"text.network.{name}": tensor for name, tensor in shaken(peer).items()}
    language = MiniLM(TEXT).eval()
    language.load_state_dict({name.removeprefix("text."): tensor for name, tensor in from_networks(state).items()})
    ids = text(*(lengths := (3, 12, 2, 11, 8, 3)))
    with torch.inference_mode():
        features = language(ids)
        tokens, mask = features.packing.pad(features.tokens)
        for row, length in enumerate(lengths):
            alone = peer(ids[row : row + 1, :length]).last_hidden_state[0]
            pooled = F.normalize(alone.mean(dim=0), dim=0)
            torch.testing.assert_close(features.pooled[row], pooled, rtol=0, atol=1e-6)
            assert F.cosine_similarity(tokens[row, mask[row]], alone).min() > 1 - 1e-6


@pytest.mark.parametrize("sides", [(64, 96), (32, 32)])
def test_pictures_look_as_to_the_published_network(sides: tuple[int, int]) -> None:
    published = pytest.importorskip("efficientnet_lite_pytorch", reason="foveal[dev] is not installed")
    torch.manual_seed(0)
    peer = published.EfficientNet.from_name("efficientnet-lite0").eval()
    state = {f"vision.network.{name}": tensor for name, tensor in shaken(peer).items()}
    image = EfficientNetLite0(VISION).eval()
    tensors = {name.removeprefix("vision."): tensor for name, tensor in from_networks(state).items()}
    left = image.load_state_dict(tensors, strict=False)
    assert left.missing_keys == ["center", "concepts.weight"] and not left.unexpected_keys
    pixels = torch.rand(1, 3, *sides)  # of no symmetry: padding on the wrong side would show
    with torch.inference_mode():
        expected = peer.extract_features(pixels)
        maps = image.maps(pixels)
    assert expected.std() > 0.01
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_folded_norm_is_the_convolution_and_the_norm() -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 4, 3, bias=False)
    gain, shift, mean, variance = torch.randn(4), torch.randn(4), torch.randn(4), torch.rand(4)
    x = torch.randn(1, 3, 5, 5)
    weight, bias = folded(convolution.weight.detach(), gain, shift, mean, variance)
    expected = F.batch_norm(convolution(x), mean, variance, gain, shift, eps=1e-3)
    torch.testing.assert_close(F.conv2d(x, weight, bias), expected)


def test_a_network_with_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="networks are not whole"):
        from_networks({"vision.network._conv_stem.weight": torch.zeros(32, 3, 3, 3)})


def test_a_starter_model_is_built_without_the_compiler() -> None:
    code = (
        "import sys; from foveal.models.weights import build; from foveal.encoder.starter import CONFIG;"
        "from foveal.models.dual_encoder import DualEncoder; state = DualEncoder(CONFIG).state_dict();"
        "build(CONFIG, state); print(*sorted({'torch._dynamo', 'sympy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


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
        image.classifier.weight.zero_()
        image.classifier.bias.zero_()
    features = image(torch.randn(1, 3, 64, 64))
    mean = image.concepts.weight.mean(dim=1)
    torch.testing.assert_close(features.patches[0, :, :WIDTH], mean.expand(4, WIDTH))
    with torch.no_grad():
        image.classifier.bias[7] = 200.0  # sure of one class: its own vector
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


def test_pictures_teach_every_layer() -> None:
    image = EfficientNetLite0(VISION).train()
    image(torch.randn(2, 3, 64, 64)).pooled.sum().backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in image.parameters())


def test_a_model_of_these_towers_survives_the_disk(tmp_path: Path) -> None:
    model = DualEncoder(ModelConfig(vision=VISION, text=TEXT, embed_width=WIDTH)).eval()
    weights.save(model, tmp_path)
    back = weights.load(tmp_path).eval()
    assert back.config == model.config
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in back.state_dict().items())
    pixels, ids = torch.randn(1, 3, 64, 64), text(4, 7)  # products of matrices depend on where in memory these lie
    torch.testing.assert_close(back.encode_images(pixels), model.encode_images(pixels))
    torch.testing.assert_close(back.encode_texts(ids, "long_caption"), model.encode_texts(ids))
