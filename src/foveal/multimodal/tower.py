"""Image towers as `transformers` has them, with what a LLaVA must know to count image tokens rightly."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..encoder.encoder import Encoder
from ..encoder.protocol import Protocol
from ..models.config import VisionConfig
from ..models.positions import resize_grid
from ..models.publish import hf_clip
from ..models.vision import VisionTower
from ..writing import new_place

Layer = Literal["penultimate", "dense"]
Shape = Literal["pad", "squash", "crop"]
SETTINGS = "vision_tower.json"
_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers
_ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "tanh_gelu": "gelu_pytorch_tanh"}


@dataclass(frozen=True)
class Reading:
    """How a LLaVA reads an image tower: settings of its config and its processor that must agree.

    Attributes:
        vision_feature_layer: Which hidden state is taken.
        vision_feature_select_strategy: "default" drops the first token, which is CLIP's class token; "full" does not.
        patch_size: Side of a patch, in pixels.
        num_additional_image_tokens: Tokens that are no patches: 1 in CLIP's towers, 0 in SigLIP's.
        image_size: Side of a picture, in pixels.
    """

    vision_feature_layer: int
    vision_feature_select_strategy: Literal["default", "full"]
    patch_size: int
    num_additional_image_tokens: int
    image_size: int

    def __post_init__(self) -> None:
        dropped = 1 if self.vision_feature_select_strategy == "default" else 0
        if self.image_size % self.patch_size:
            raise ValueError(
                f"A picture of {self.image_size} pixels has no whole number of patches of {self.patch_size}: the last"
                f" ones would be dropped in silence. Take {self.image_size - self.image_size % self.patch_size}."
            )
        if dropped > self.num_additional_image_tokens:
            raise ValueError(
                "Strategy 'default' drops the first token, and this tower has no class token: a patch would be dropped"
                " in silence. Take strategy 'full'."
            )

    @property
    def tokens(self) -> int:
        """How many tokens of a picture the language model sees."""
        dropped = 1 if self.vision_feature_select_strategy == "default" else 0
        return (self.image_size // self.patch_size) ** 2 + self.num_additional_image_tokens - dropped


def vision_tower(encoder: Encoder, layer: Layer = "penultimate", size: int | None = None) -> tuple[Any, Reading]:
    """Return the image tower as a model of `transformers`, in float32 on the CPU, and how to read it.

    Args:
        encoder: Of a model whose image tower is CLIP's (CLIP, Long-CLIP, FineLIP, FG-CLIP: `CLIPVisionModel`) or
            SigLIP's (SigLIP, SigLIP 2, FG-CLIP 2: `SiglipVisionModel` at a fixed square).
        layer: "penultimate", as LLaVA takes it, or "dense": the patches that regions are pooled from, before the final
            norm. FG-CLIP reads them from its last block without attention; see `_add_value_block`.
        size: Side of the square, in pixels; SigLIP's positions are resized to it. None: the model's own.

    Raises:
        ValueError: If there is no such tower, patches would be dropped, or the layer is read in a way that the tower
            of `transformers` has not.
    """
    config = encoder.model.config.vision
    if not isinstance(encoder.model.vision, VisionTower):
        raise ValueError(  # noqa: TRY004  # a user's mistake
            f"The image tower is of another make ({config.tower}), which LLaVA does not have."
        )
    if config.pooling == "class":
        return _clip_tower(encoder, layer, size)
    return _siglip_tower(encoder.model.vision, layer, size or config.image_size)


def save_vision_tower(
    encoder: Encoder,
    folder: Path,
    layer: Layer = "penultimate",
    shape: Shape = "pad",
    size: int | None = None,
) -> Reading:
    """Write a folder that `CLIPVisionModel` or `SiglipVisionModel` and a LLaVA's processor open, all or nothing.

    Args:
        encoder: As for `vision_tower`, like `layer` and `size`.
        folder: Not there, or empty.
        layer: What is read.
        shape: How a picture becomes a square: "pad" (with the mean color, as LLaVA-1.5), "squash" or "crop".
        size: Side of the square.

    Raises:
        ValueError: As `vision_tower`, or if the folder is in use.
    """
    with new_place(folder) as partial:
        model, reading = vision_tower(encoder, layer, size)
        model.save_pretrained(partial)
        _write(partial / "preprocessor_config.json", picture_settings(encoder.protocol, reading.image_size, shape))
        _write(partial / SETTINGS, asdict(reading))
    return reading


def picture_settings(protocol: Protocol, size: int, shape: Shape) -> dict[str, Any]:
    """Return the settings of the `LlavaImageProcessor` that prepares pictures for a tower.

    Args:
        protocol: Of the tower: normalization and interpolation.
        size: Side of the square, in pixels.
        shape: How a picture becomes one.
    """
    square = {"height": size, "width": size}
    return {
        "image_processor_type": "LlavaImageProcessor",
        "do_pad": shape == "pad",
        "do_resize": True,
        "size": {"shortest_edge": size} if shape == "crop" else square,
        "do_center_crop": shape == "crop",
        "crop_size": square,
        "resample": _RESAMPLE[protocol.resample],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(protocol.mean),
        "image_std": list(protocol.std),
        "do_convert_rgb": True,
    }


def _clip_tower(encoder: Encoder, layer: Layer, size: int | None) -> tuple[Any, Reading]:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = encoder.model.config.vision
    if size not in (None, config.image_size):
        raise ValueError(f"This tower sees {config.image_size} pixels, not {size}. Leave the size out.")
    published = hf_clip(encoder.model)
    prefix = "vision_model."
    tensors = {name.removeprefix(prefix): tensor for name, tensor in published.tensors.items() if prefix in name}
    values = dict(published.config["vision_config"])
    if layer == "dense" and config.dense == "identity_attention":
        values["num_hidden_layers"] += 1
        tensors = _add_value_block(tensors, config)
    model_class: Any = CLIPVisionModel
    model = model_class(CLIPVisionConfig(**values)).eval()
    getattr(model, "vision_model", model).load_state_dict(tensors)
    return model, Reading(-1 if layer == "dense" else -2, "default", config.patch_size, 1, config.image_size)


def _add_value_block(tensors: dict[str, Tensor], config: VisionConfig) -> dict[str, Tensor]:
    """Write a last block without attention as two blocks that `CLIPVisionModel` has.

    FG-CLIP's last block replaces the attention map by the identity: x + O V norm1(x), then the MLP. A block of CLIP
    whose attention gives nothing computes x + fc2 f(fc1 norm2(x)), and every GELU has f(z) - f(-z) = z, so that
    fc1 = [V, -V] and fc2 = [O, -O] give the linear map exactly. Its MLP must be twice as wide as the tower.

    Raises:
        ValueError: If it is not.
    """
    width, last = config.width, config.layers - 1
    if config.mlp_width < 2 * width:
        raise ValueError(
            f"Layer 'dense' needs an MLP at least twice as wide as the tower, {2 * width}, and this one's is"
            f" {config.mlp_width}. Take --layer penultimate."
        )
    old, new = f"encoder.layers.{last}.", f"encoder.layers.{last + 1}."
    block = {name.removeprefix(old): tensor for name, tensor in tensors.items() if name.startswith(old)}
    silent = {
        name: torch.zeros_like(tensor) if "out_proj" in name else tensor.clone()
        for name, tensor in block.items()
        if name.startswith(("self_attn", "layer_norm1"))
    }
    value, bias = block["self_attn.v_proj.weight"], block["self_attn.v_proj.bias"]
    out = block["self_attn.out_proj.weight"]
    rest = config.mlp_width - 2 * width
    first = silent | {
        "layer_norm2.weight": block["layer_norm1.weight"].clone(),
        "layer_norm2.bias": block["layer_norm1.bias"].clone(),
        "mlp.fc1.weight": torch.cat([value, -value, value.new_zeros(rest, width)]),
        "mlp.fc1.bias": torch.cat([bias, -bias, bias.new_zeros(rest)]),
        "mlp.fc2.weight": torch.cat([out, -out, out.new_zeros(width, rest)], dim=1),
        "mlp.fc2.bias": block["self_attn.out_proj.bias"].clone(),
    }
    second = silent | {name: tensor for name, tensor in block.items() if name.startswith(("layer_norm2", "mlp"))}
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(old)}
    return (
        kept
        | {old + name: tensor for name, tensor in first.items()}
        | {new + name: tensor for name, tensor in second.items()}
    )


def _siglip_tower(tower: VisionTower, layer: Layer, size: int) -> tuple[Any, Reading]:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    config = tower.config
    if layer == "dense" and config.dense != "plain":
        raise ValueError(
            f"This model reads patches by '{config.dense}', which SiglipVisionModel has not. Take --layer penultimate."
        )
    reading = Reading(-1 if layer == "dense" else -2, "full", config.patch_size, 0, size)
    values: dict[str, Any] = {
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "image_size": size,
        "patch_size": config.patch_size,
        "hidden_act": _ACTIVATIONS[config.activation],
        "layer_norm_eps": config.norm_eps,
        "vision_use_head": False,
    }
    model_class: Any = SiglipVisionModel
    model = model_class(SiglipVisionConfig(**values)).eval()
    inner = getattr(model, "vision_model", model)
    with torch.no_grad():
        grid = size // config.patch_size
        inner.embeddings.position_embedding.weight.copy_(resize_grid(tower.position, grid, grid, config.interpolation))
        inner.embeddings.patch_embedding.weight.copy_(_kernel(tower.patch_embedding, config.patch_size))
        inner.embeddings.patch_embedding.bias.copy_(tower.patch_embedding.bias)
    for theirs, ours in zip(inner.encoder.layers, tower.transformer.blocks, strict=True):
        theirs.load_state_dict(_siglip_block(ours.state_dict()))
    inner.post_layernorm.load_state_dict(tower.norm.state_dict())
    return model, reading


def _kernel(embedding: nn.Linear, side: int) -> Tensor:
    """Return the convolution of a patch embedding, whose numbers stand by row, column, color."""
    return embedding.weight.detach().unflatten(1, (side, side, 3)).permute(0, 3, 1, 2)


def _siglip_block(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a block's weights by the names of `transformers`."""
    names = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attention.out": "self_attn.out_proj"}
    tensors = {}
    for name, tensor in state.items():
        part, _, end = name.rpartition(".")
        if part == "attention.qkv":
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                tensors[f"self_attn.{letter}_proj.{end}"] = third
        else:
            tensors[f"{names.get(part, part)}.{end}"] = tensor
    return tensors


def _write(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
