"""Inverse key maps: our tensors under the names, and in the shapes, of public layouts.

A layout holds one image tower and one text tower. What our model has beyond them is left out by name; what a layout
stores and never reads is made again: both of Long-CLIP's tables hold the whole table (rows 20 and
above of one and the first 20 of the other are dead), and the refinement's last bias, which changes nothing, is zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..types import Kind
from .config import Activation, ModelConfig, TowerConfig
from .dual_encoder import DualEncoder
from .layouts import KEPT_POSITIONS, RATIO, State
from .text import TextTower

_BLOCK_NAMES = {
    "transformers": {
        "attention.out": "self_attn.out_proj",
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    },
    "openai": {
        "attention.qkv": "attn.in_proj_",
        "attention.out": "attn.out_proj",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    },
}

_REFINER_NAMES = {"norm": "weight.0", "hidden": "weight.1", "slots": "weight.3"}
_ACTIVATIONS: dict[Activation, str] = {"quick_gelu": "quick_gelu", "gelu": "gelu", "tanh_gelu": "gelu_pytorch_tanh"}


@dataclass(frozen=True)
class Published:
    """A model in a public layout.

    Attributes:
        tensors: Under the layout's names, in memory of their own.
        config: The layout's config. Empty where it has none.
        left_out: Our tensors that have no place in the layout.
    """

    tensors: State
    config: dict[str, Any]
    left_out: tuple[str, ...]


def hf_clip(model: DualEncoder, kind: Kind = "caption") -> Published:
    """Put a model into the layout of `CLIPModel` of `transformers`, with any number of positions.

    Args:
        model: With towers as CLIP's.
        kind: Whose positions and projection the text tower has: FG-CLIP's captions have others than its long captions.

    Raises:
        ValueError: If the towers are not CLIP's.
    """
    config = model.config
    _check_towers(config, "hf-clip")
    state = _copied(model, kind)
    tensors = {
        "logit_scale": state.pop("log_scale"),
        "visual_projection.weight": state.pop("image_projection.weight"),
        "text_projection.weight": state.pop("text_projection"),
        "text_model.embeddings.token_embedding.weight": state.pop("text.token_embedding.weight"),
        "text_model.embeddings.position_embedding.weight": state.pop("text.table"),
        "vision_model.embeddings.class_embedding": state.pop("vision.class_token"),
        "vision_model.embeddings.position_embedding.weight": state.pop("vision.table"),
        "vision_model.embeddings.patch_embedding.weight": state.pop("vision.kernel"),
    }
    norms = {"text.norm": "text_model.final_layer_norm", "vision.norm": "vision_model.post_layernorm"}
    norms["vision.input_norm"] = "vision_model.pre_layrnorm"  # a typing error of the library, for good now
    for tower in ("text", "vision"):
        for layer in range(getattr(config, tower).layers):
            block, prefix = f"{tower}.transformer.blocks.{layer}.", f"{tower}_model.encoder.layers.{layer}."
            norms |= {block + part: prefix + name for part, name in _BLOCK_NAMES["transformers"].items()}
            for end in ("weight", "bias"):
                thirds = state.pop(f"{block}attention.qkv.{end}").chunk(3)
                names = (f"{prefix}self_attn.{part}_proj.{end}" for part in "qkv")
                tensors |= zip(names, (third.clone() for third in thirds), strict=True)
    tensors |= _renamed(state, norms)
    return Published(tensors, _hf_config(model, kind), tuple(sorted(state)))


def open_clip(model: DualEncoder, kind: Kind = "caption") -> Published:
    """Put a model into the layout of open_clip's own towers.

    The config is its `model_cfg`. Arguments and errors as `hf_clip`.
    """
    config = model.config
    _check_towers(config, "open-clip", activations=("quick_gelu", "gelu"), epsilon=True, last_id=True)
    vision, text = config.vision, config.text
    state = _copied(model, kind)
    tensors = _openai(model, state)
    tensors["positional_embedding"] = state.pop("text.table")
    described = {
        "embed_dim": config.embed_width,
        "quick_gelu": vision.activation == "quick_gelu",
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.layers,
            "width": vision.width,
            "head_width": vision.width // vision.heads,
            "mlp_ratio": vision.mlp_width / vision.width,
            "patch_size": vision.patch_size,
        },
        "text_cfg": {
            "context_length": len(tensors["positional_embedding"]),
            "vocab_size": text.vocabulary,
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
            "mlp_ratio": text.mlp_width / text.width,
        },
    }
    return Published(tensors, described, tuple(sorted(state)))


def long_clip(model: DualEncoder, kind: Kind = "caption") -> Published:
    """Put a model into the layout of Long-CLIP (arXiv:2403.15378), or FineLIP (arXiv:2504.01916) if it refines tokens.

    There is no config: heads are 64 wide. Arguments as `hf_clip`.

    Raises:
        ValueError: If the towers are not such, or the text tower is not a stretched one.
    """
    config = model.config
    _check_towers(config, "long-clip", activations=("quick_gelu",), epsilon=True, last_id=True)
    for tower in (config.vision, config.text):
        if tower.width != 64 * tower.heads:
            raise ValueError(f"Layout long-clip has heads 64 wide, this model's are {tower.width // tower.heads} wide.")
    state = _copied(model, kind)
    table = state.pop("text.table")
    if (len(table) - KEPT_POSITIONS) % RATIO:
        raise ValueError(
            f"Layout long-clip has {KEPT_POSITIONS} + {RATIO} * n positions, this model has {len(table)} for kind"
            f" '{kind}'. Choose another kind, or stretch it first: foveal upgrade MODEL --out OUT --to long."
        )
    tensors = _openai(model, state) | {"positional_embedding": table, "positional_embedding_res": table.clone()}
    for side, prefix in (("image_refiner", "cross_net.aggr_net"), ("text_refiner", "cross_net.cap_aggr_net")):
        if f"{side}.scale" in state:
            tensors[f"{prefix}.scale"] = state.pop(f"{side}.scale").reshape(1, 1, 1)
            tensors[f"{prefix}.weight.3.bias"] = table.new_zeros(len(state[f"{side}.slots.weight"]))
            tensors |= _renamed(state, {f"{side}.{part}": f"{prefix}.{name}" for part, name in _REFINER_NAMES.items()})
    return Published(tensors, {}, tuple(sorted(state)))


LAYOUTS: Mapping[str, Callable[[DualEncoder, Kind], Published]] = {
    "hf-clip": hf_clip,
    "open-clip": open_clip,
    "long-clip": long_clip,
}


def _copied(model: DualEncoder, kind: Kind) -> State:
    """Return copies of all tensors, with the tables, the kernel and the projection that CLIP has in other shapes."""
    state = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()}
    separate = kind == "long_caption" and model.config.text.long_context is not None
    for part in ("kept", "rest"):
        state.pop(f"text.{'long_positions' if separate else 'positions'}.{part}", None)
    assert isinstance(model.text, TextTower)
    state["text.table"] = model.text.table(kind).detach().to("cpu", copy=True)
    projection = kind if kind in model.text_projections else "caption"
    state["text_projection"] = state.pop(f"text_projections.{projection}.weight")
    state["vision.table"] = torch.cat([state.pop("vision.class_position")[None], state.pop("vision.position")])
    side = model.config.vision.patch_size
    kernel = state.pop("vision.patch_embedding.weight").unflatten(1, (side, side, 3))
    state["vision.kernel"] = kernel.permute(0, 3, 1, 2).contiguous()
    return state


def _openai(model: DualEncoder, state: State) -> State:
    """Take all but the text tower's positions from the state, under the names that OpenAI gave them."""
    tensors = {
        "logit_scale": state.pop("log_scale"),
        "text_projection": state.pop("text_projection").T.contiguous(),
        "token_embedding.weight": state.pop("text.token_embedding.weight"),
        "visual.proj": state.pop("image_projection.weight").T.contiguous(),
        "visual.class_embedding": state.pop("vision.class_token"),
        "visual.positional_embedding": state.pop("vision.table"),
        "visual.conv1.weight": state.pop("vision.kernel"),
    }
    names = {"text.norm": "ln_final", "vision.norm": "visual.ln_post", "vision.input_norm": "visual.ln_pre"}
    for tower, prefix in (("text", "transformer"), ("vision", "visual.transformer")):
        for layer in range(getattr(model.config, tower).layers):
            block = f"{tower}.transformer.blocks.{layer}."
            names |= {
                block + part: f"{prefix}.resblocks.{layer}.{name}" for part, name in _BLOCK_NAMES["openai"].items()
            }
    return tensors | _renamed(state, names)


def _renamed(state: State, names: Mapping[str, str]) -> State:
    """Take weights and biases of these parts from the state, under their new names."""
    renamed = {}
    for old, new in names.items():
        for end in ("weight", "bias"):
            if f"{old}.{end}" in state:
                renamed[new + end if new.endswith("_") else f"{new}.{end}"] = state.pop(f"{old}.{end}")
    return renamed


def _hf_config(model: DualEncoder, kind: Kind) -> dict[str, Any]:
    config = model.config
    vision, text = config.vision, config.text

    def tower(part: TowerConfig) -> dict[str, Any]:
        return {
            "hidden_size": part.width,
            "intermediate_size": part.mlp_width,
            "num_hidden_layers": part.layers,
            "num_attention_heads": part.heads,
            "hidden_act": _ACTIVATIONS[part.activation],
            "layer_norm_eps": part.norm_eps,
            "projection_dim": config.embed_width,
        }

    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": config.embed_width,
        "logit_scale_init_value": model.log_scale.item(),
        "text_config": tower(text)
        | {
            "model_type": "clip_text_model",
            "max_position_embeddings": text.length(kind),
            "vocab_size": text.vocabulary,
            "bos_token_id": text.eos_id - 1,
            "eos_token_id": text.eos_id,
            "pad_token_id": text.eos_id,
        },
        "vision_config": tower(vision)
        | {"model_type": "clip_vision_model", "image_size": vision.image_size, "patch_size": vision.patch_size},
    }


def _check_towers(
    config: ModelConfig,
    layout: str,
    *,
    activations: tuple[Activation, ...] = tuple(_ACTIVATIONS),
    epsilon: bool = False,
    last_id: bool = False,
) -> None:
    """Refuse towers that are not CLIP's.

    Args:
        config: Of the model.
        layout: For the message.
        activations: That the layout has, one for both towers unless it has all.
        epsilon: The layout knows only CLIP's.
        last_id: The layout pools at the highest token id.
    """
    vision, text = config.vision, config.text
    activation_fits = {vision.activation, text.activation} <= set(activations)
    if len(activations) < len(_ACTIVATIONS):
        activation_fits &= vision.activation == text.activation
    fits = {
        "two transformers": vision.tower == text.tower == "transformer",
        "a class token": vision.pooling == "class",
        "a norm before the first block": vision.input_norm,
        "a patch embedding without bias": not vision.patch_bias,
        "a picture projection": vision.projection,
        "causal texts that are read at their first end": text.causal and text.pooling == "first_eos",
        "a start token": text.start,
        "text projections without bias": not text.projection_bias,
        f"the activation {' or '.join(activations)}": activation_fits,
        "norms with an epsilon of 1e-5": not epsilon or {vision.norm_eps, text.norm_eps} == {1e-5},
        "an end of text with the highest id": not last_id or text.eos_id == text.vocabulary - 1,
    }
    lacking = [name for name, holds in fits.items() if not holds]
    if lacking:
        raise ValueError(f"Layout {layout} is for models with {lacking[0]}, and this one has none. Convert to foveal.")
