import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counting import Work
from foveal.models.config import VisionConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.inference import InferenceCopies, PackedLinear, for_inference
from foveal.models.layers import MLP
from foveal.models.sizes import finelip, siglip2_b_16, tiny
from foveal.models.starter_towers import CHANNELS, EfficientNetLite0

BF16 = torch.bfloat16
PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TEXTS = torch.tensor([[1, 5, 7, 3, 9], [1, 8, 9, 0, 0]])


def model_of(activation: str = "quick_gelu") -> DualEncoder:
    torch.manual_seed(0)
    config = finelip(tiny(), slots=3)
    vision, text = replace(config.vision, activation=activation), replace(config.text, activation=activation)
    return DualEncoder(replace(config, vision=vision, text=text)).eval()


def ids(model: DualEncoder) -> Tensor:
    return torch.where(TEXTS == 9, model.config.text.eos_id, TEXTS)


def outputs(model: DualEncoder) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        return (
            model.encode_images(PIXELS),
            model.encode_texts(ids(model)),
            model.encode_image_tokens(PIXELS)[0],
            model.encode_regions(PIXELS, torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.tensor([1])),
        )


def test_the_factor_of_quick_gelu_goes_into_both_maps() -> None:
    torch.manual_seed(0)
    mlp = MLP(8, 12, "quick_gelu")
    x = torch.randn(5, 8)
    hidden = mlp.fc1(x)
    expected = mlp.fc2(hidden * torch.sigmoid(1.702 * hidden))
    ready = for_inference(mlp)
    torch.testing.assert_close(ready(x), expected)
    torch.testing.assert_close(ready.fc1(x), 1.702 * hidden)
    assert torch.equal(ready.fc2.bias, mlp.fc2.bias)
    assert mlp.activation == "quick_gelu"


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "tanh_gelu"])
def test_in_float32_a_copy_gives_the_same(activation: str) -> None:
    model = model_of(activation)
    for ready, plain in zip(outputs(for_inference(model)), outputs(model), strict=True):
        assert F.cosine_similarity(ready, plain, dim=-1).min() > 1 - 1e-6


def test_a_model_keeps_its_bits_and_shares_what_is_not_cast() -> None:
    model = model_of()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ready = for_inference(model, BF16)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert ready.vision.norm.weight is model.vision.norm.weight
    assert ready.text.token_embedding.weight is model.text.token_embedding.weight
    assert ready.vision.transformer.blocks[0].mlp.fc1.packed.dtype == BF16


@pytest.mark.parametrize("shape", [(5, 24), (2, 3, 24), (0, 24), (24,)])
def test_a_packed_map_gives_what_the_map_gives(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    for bias in (True, False):
        linear = nn.Linear(24, 20, bias=bias).to(BF16)
        packed = PackedLinear(linear)
        x = torch.randn(shape)
        torch.testing.assert_close(packed(x), linear(x.to(BF16)), rtol=0.01, atol=0.01)
        assert torch.equal(packed.packed.to_dense(), linear.weight)


def test_weights_are_cast_once_and_not_in_every_call() -> None:
    model = model_of()
    shapes = {layer.weight.shape for layer in model.modules() if isinstance(layer, nn.Linear)}
    copies: InferenceCopies[DualEncoder] = InferenceCopies()

    def casts(ready: Callable[[], DualEncoder]) -> int:
        with torch.no_grad(), torch.autocast("cpu", BF16), Work() as work:
            ready().encode_images(PIXELS)
            ready().encode_texts(ids(model))
        packed = work.calls["_reorder_linear_weight"]
        return sum(shape in shapes for shape in work.casts) + packed

    copies.of(model, BF16)
    assert casts(lambda: model) > 10
    assert casts(lambda: copies.of(model, BF16)) == 0


def test_folding_leaves_one_pass_over_the_hidden_values() -> None:
    model = for_inference(model_of(), BF16)
    with torch.no_grad(), torch.autocast("cpu", BF16), Work() as work:
        model.encode_images(PIXELS)
    layers = len(model.vision.transformer.blocks)
    assert work.calls["silu_"] == layers and not work.calls["mul_"]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.vision.norm.weight.mul_(2),
        lambda model: setattr(model.vision.norm, "weight", nn.Parameter(model.vision.norm.weight * 2)),
        lambda model: model.load_state_dict({k: 2 * v for k, v in model.state_dict().items()}, assign=True),
        lambda model: setattr(model.vision.norm.weight, "data", 2 * model.vision.norm.weight.data),
    ],
)
def test_a_copy_is_made_anew_when_weights_have_changed(change: Callable[[DualEncoder], object]) -> None:
    model = model_of()
    copies: InferenceCopies[DualEncoder] = InferenceCopies()
    first = copies.of(model, BF16)
    assert copies.of(model, BF16) is first
    with torch.no_grad():
        change(model)
    second = copies.of(model, BF16)
    assert second is not first and torch.equal(second.vision.norm.weight, model.vision.norm.weight)
    assert copies.of(model, torch.float32) is model


def test_eight_bit_layers_stand_in_for_plain_ones() -> None:
    model = model_of()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves this function to another package
        small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    for coarse, plain in zip(outputs(small), outputs(model), strict=True):
        assert F.cosine_similarity(coarse, plain, dim=-1).min() > 0.99


def test_coarse_copies_stay_near() -> None:
    torch.manual_seed(0)
    config = siglip2_b_16()
    tower = {"width": 32, "mlp_width": 48, "layers": 2, "heads": 2}
    vision = replace(config.vision, **tower, image_size=32)
    model = DualEncoder(
        replace(config, vision=vision, text=replace(config.text, **tower, vocabulary=50), embed_width=32)
    ).eval()
    with torch.inference_mode():
        fine = model.encode_images(PIXELS)
        with torch.autocast("cpu", BF16):
            coarse = for_inference(model, BF16).encode_images(PIXELS)
    assert F.cosine_similarity(coarse.float(), fine).min() > 0.999


def test_a_picture_of_the_starter_writes_little_fresh_memory() -> None:
    """Fresh memory is what a picture cost: the system fills every page with zeros."""
    size = {"layers": 0, "heads": 0, "mlp_width": 0, "image_size": 64, "patch_size": 32}
    tower = EfficientNetLite0(
        VisionConfig(tower="efficientnet_lite0", width=CHANNELS + 8, pooling="mean", **size)
    ).eval()
    with torch.no_grad(), Work() as work:
        tower.maps(torch.randn(2, 3, 64, 64))
    wide = sum(out.numel() * 4 for out in _convolved(tower))
    assert work.calls["hardtanh_"] == 2 * (2 + 31)  # in place, behind all but the last convolution of a block
    assert work.fresh < 1.15 * 2 * wide  # the rest are turned pictures and results
    assert not work.calls["constant_pad_nd"] and not work.calls["native_batch_norm"]


def _convolved(tower: EfficientNetLite0) -> list[Tensor]:
    """Return what the convolutions give for one picture."""
    results: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda *args: results.append(args[2].clone()))
        for layer in tower.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.inference_mode():
        tower.maps(torch.randn(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    return results
