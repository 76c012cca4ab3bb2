"""Key maps: checkpoints of public models, in their own layouts, become a foveal config and tensors.

Shapes say most of a config. What no shape says (heads, activation, epsilon) is read from the checkpoint's own config,
with the defaults of `transformers`, which leaves out of its files what is at its default. A tensor that no map knows
keeps its name, and building the model refuses it by that name. Every tensor is copied, in float32.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..outside import shown
from .config import Activation, ModelConfig, TextConfig, VisionConfig
from .open_clip_options import COCA, HUGGING_FACE, RESNET, SUPPORTED, TIMM, check_options
from .sizes import fg_clip, fg_clip2, finelip, long_text, vit_b_16, vit_b_32, vit_l_14, vit_l_14_336

State = dict[str, Tensor]

KEPT_POSITIONS = 20  # positions that Long-CLIP, and all who follow it, do not stretch, and
RATIO = 4  # how far they stretch the others
SIGLIP_VOCABULARY = 32_000  # of SigLIP's own tokenizer, which fills texts with its end mark and drops punctuation

_LARGEST = 4_000_000  # of the numbers that configs state here; a foveal model's limits are lower, see `config`

_PUT_CONFIG = "Put the open_clip_config.json that was published with these weights beside them."

_ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "tanh_gelu",
}

_TRANSFORMERS_NAMES = (
    ("text_model.embeddings.token_embedding.", "text.token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "text.positions.rest"),
    ("text_model.encoder.layers.", "text.transformer.blocks."),
    ("text_model.final_layer_norm.", "text.norm."),
    ("text_model.head.", "text_projections.caption."),
    ("text_projection.", "text_projections.caption."),
    ("text_filip_projection.", "text_projections.long_caption."),
    ("longtext_head.", "text_projections.long_caption."),
    ("boxtext_head.", "text_projections.phrase."),
    ("vision_model.embeddings.class_embedding", "vision.class_token"),
    ("vision_model.embeddings.position_embedding.weight", "vision.position"),
    ("vision_model.embeddings.patch_embedding.", "vision.patch_embedding."),
    ("vision_model.pre_layrnorm.", "vision.input_norm."),  # a typing error of the library, for good now
    ("vision_model.encoder.layers.", "vision.transformer.blocks."),
    ("vision_model.post_layernorm.", "vision.norm."),
    ("vision_model.head.", "vision.head."),
    ("dense_feature_head.", "vision.dense_head."),
    ("visual_projection.", "image_projection."),
    (".attention.in_proj_", ".qkv."),
    (".attention.out_proj.", ".out."),
    (".layernorm.", ".norm."),
    (".self_attn.out_proj.", ".attention.out."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    ("logit_scale_finegraind", "log_region_scale"),
    ("logit_scale_hardneg", "log_negative_scale"),
    ("logit_scale", "log_scale"),
    ("logit_bias", "bias"),
)

_OPENAI_NAMES = (
    ("visual.transformer.resblocks.", "vision.transformer.blocks."),
    ("transformer.resblocks.", "text.transformer.blocks."),
    ("token_embedding.", "text.token_embedding."),
    ("ln_final.", "text.norm."),
    ("visual.conv1.", "vision.patch_embedding."),
    ("visual.class_embedding", "vision.class_token"),
    ("visual.positional_embedding", "vision.position"),
    ("visual.ln_pre.", "vision.input_norm."),
    ("visual.ln_post.", "vision.norm."),
    (".attn.in_proj_", ".attention.qkv."),
    (".attn.out_proj.", ".attention.out."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    ("logit_scale", "log_scale"),
    ("cross_net.aggr_net.", "image_refiner."),
    ("cross_net.cap_aggr_net.", "text_refiner."),
    (".weight.0.", ".norm."),
    (".weight.1.", ".hidden."),
    (".weight.3.", ".slots."),
)

# OpenAI's archives hold these beside the weights.
_ARCHIVE_NUMBERS = ("input_resolution", "context_length", "vocab_size")

# What is not known here, in files without a config, by how their tensors' names begin.
_OTHER_TOWERS = {
    "visual.layer1.": RESNET,
    "visual.trunk.": TIMM,
    "text.transformer.embeddings.": HUGGING_FACE,
    "text_decoder.": COCA,
}

_FAMILIES = {
    ("class", "first_eos", False, "plain", (), False, False, "none"): "clip",
    ("class", "first_eos", False, "plain", (), False, True, "none"): "long_clip",
    ("class", "first_eos", False, "plain", (), False, True, "refined"): "finelip",
    ("class", "first_eos", False, "identity_attention", ("long_caption",), True, True, "none"): "fg_clip",
    ("attention", "last", False, "plain", (), False, False, "none"): "siglip",
    ("attention", "last", True, "plain", (), False, False, "none"): "siglip2",
    ("attention", "last", True, "attention_head", ("long_caption", "phrase"), True, True, "none"): "fg_clip2",
}


def is_openai(state: Mapping[str, Tensor]) -> bool:
    """True if tensors are named as OpenAI's code names them: CLIP, Long-CLIP, FineLIP, open_clip."""
    return any(name.startswith("visual.") for name in state)


def is_open_clip(config: Mapping[str, Any]) -> bool:
    """True if a config is open_clip's: as its hub has it, or as its package has it for each model's name."""
    return "model_cfg" in config or "vision_cfg" in config


def needs_no_config(state: Mapping[str, Tensor]) -> bool:
    """True if tensors in OpenAI's layout show their model by themselves, and so its heads and activation.

    OpenAI's archives hold numbers beside the weights, Long-CLIP and FineLIP a second table of positions. Without them
    the tensors of open_clip's models look the same.
    """
    return "positional_embedding_res" in state or state.keys() >= set(_ARCHIVE_NUMBERS)


def from_public(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> tuple[ModelConfig, State]:
    """Read a public checkpoint in whichever layout its config and its tensors' names show.

    Args:
        state: The checkpoint's tensors.
        config: The checkpoint's `config.json`, open_clip's `open_clip_config.json`. OpenAI's layout has none.

    Returns:
        What `weights.build` needs.

    Raises:
        ValueError: If the layout needs a config and there is none, the two contradict each other, or the checkpoint is
            not complete.
    """
    if config is not None and is_open_clip(config):
        return open_clip(state, config)
    if is_openai(state):
        return openai_clip(state)
    if config is None:
        raise ValueError("These tensors need the config.json that was published with them. Put it beside them.")
    return siglip2(state, config) if "text_model.head.weight" in state else clip(state, config)


def clip(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> tuple[ModelConfig, State]:
    """Read CLIPModel and MetaClip2Model of `transformers`, and FG-CLIP 1 (arXiv:2505.05071), which adds to its tensors.

    FG-CLIP stores two tables for long captions and reads the first rows of one, the rest of the other; the rows
    that are never read are dropped. A scale that a checkpoint lacks starts as the global one, as in stage 2.

    Raises:
        ValueError: If a tensor is missing, or the config names an unknown activation or other sizes than the tensors'.
    """
    tensors = _from_transformers(state)
    _split_class_position(tensors)
    vision, text = _sections(config, heads=(12, 8), activation="quick_gelu", eps=1e-5)
    shape, words = _shapes(tensors, config)
    eos = _whole(_section(config, "text_config"), "text_config", "eos_token_id", 49407)
    # Configs of OpenAI's own models say 2, for which `transformers` pools at the highest id; MetaCLIP 2 means 2.
    highest = eos == 2 and config.get("model_type") != "metaclip_2"
    model_config = ModelConfig(
        vision=VisionConfig(**shape, **vision),
        text=TextConfig(**words, **text, eos_id=words["vocabulary"] - 1 if highest else eos),
        embed_width=len(_get(tensors, "image_projection.weight")),
    )
    if "text_projections.long_caption.weight" in tensors:
        model_config = fg_clip(model_config, keep=KEPT_POSITIONS, ratio=RATIO)
        _add_long_captions(tensors)
    return model_config, tensors


def siglip2(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> tuple[ModelConfig, State]:
    """Read Siglip2Model of `transformers` (NaFlex), and FG-CLIP 2 (arXiv:2510.10921), which adds to its tensors.

    SiglipModel too (SigLIP, arXiv:2303.15343, and SigLIP 2 for pictures of one size), whose patch embedding is a
    convolution. The end of a text is id 1 in all their tokenizers, whatever their configs name. The dense head's
    probe is never read and is dropped; scales that a checkpoint lacks start as the global one.

    Raises:
        ValueError: As `clip`.
    """
    tensors = _from_transformers(state)
    for name in ("log_scale", "bias"):
        tensors[name] = _take(tensors, name).reshape(())
    tensors["vision.head.probe"] = _take(tensors, "vision.head.probe").flatten()
    tensors.pop("vision.dense_head.probe", None)
    vision, text = _sections(config, heads=(12, 12), activation="gelu_pytorch_tanh", eps=1e-6)
    one_size = _get(tensors, "vision.patch_embedding.weight").ndim == 4
    if one_size:
        _flatten_kernel(tensors)
    shape, words = _shapes(tensors, config, naflex=not one_size)
    model_config = ModelConfig(
        vision=VisionConfig(
            **shape,
            **vision,
            pooling="attention",
            interpolation="bicubic" if one_size else "bilinear_antialias",
            input_norm=False,
            patch_bias=True,
            projection=False,
        ),
        text=TextConfig(
            **words,
            **text,
            eos_id=1,
            pad_id=int(words["vocabulary"] == SIGLIP_VOCABULARY),
            start=False,
            causal=False,
            pooling="last",
            projection_bias=True,
        ),
        embed_width=len(_get(tensors, "text_projections.caption.weight")),
        bias=True,
        initial_scale=10.0,
    )
    if "text_projections.long_caption.weight" in tensors:
        model_config = fg_clip2(model_config, keep=KEPT_POSITIONS, ratio=RATIO)
        _add_long_captions(tensors)
    return model_config, tensors


def openai_clip(state: Mapping[str, Tensor]) -> tuple[ModelConfig, State]:
    """Read OpenAI's CLIP, and models that add tensors: Long-CLIP (arXiv:2403.15378), FineLIP (arXiv:2504.01916).

    There is no config: heads are 64 wide and the activation is QuickGELU in all these models. Bias of the refinement's
    last layer has no effect and is dropped.

    Raises:
        ValueError: If a tensor is missing, or nothing shows that the tensors are of one of these models: neither what
            `needs_no_config` looks at nor sizes that OpenAI published.
    """
    for beginning, reason in _OTHER_TOWERS.items():
        if any(name.startswith(beginning) for name in state):
            raise ValueError(f"It has tensors named {beginning}*: {reason}. {SUPPORTED}")
    config, tensors = _openai(state)
    for tower in (config.vision, config.text):
        if tower.width != 64 * tower.heads:
            raise ValueError(f"A tower is {tower.width} wide, which heads of 64 do not fill. {_PUT_CONFIG}")
    if not needs_no_config(state) and config not in (vit_b_32(), vit_b_16(), vit_l_14(), vit_l_14_336()):
        raise ValueError(
            f"These tensors have sizes of no model of OpenAI's, and do not say activation and heads. {_PUT_CONFIG}"
        )
    return config, tensors


def _openai(state: Mapping[str, Tensor]) -> tuple[ModelConfig, State]:
    """Map tensors named as OpenAI's code names them, with OpenAI's heads and activation."""
    state = {name: tensor for name, tensor in state.items() if name not in _ARCHIVE_NUMBERS}
    tensors = _renamed(state, _OPENAI_NAMES)
    _split_class_position(tensors)
    tensors["image_projection.weight"] = _take(tensors, "visual.proj").T.contiguous()
    tensors["text_projections.caption.weight"] = _take(tensors, "text_projection").T.contiguous()
    table, longer = _take(tensors, "positional_embedding"), tensors.pop("positional_embedding_res", None)
    tensors["text.positions.rest"] = table if longer is None else longer[KEPT_POSITIONS:].clone()
    vision, text = _vision_shape(tensors), _text_shape(tensors)
    config = ModelConfig(
        vision=VisionConfig(**vision, heads=vision["width"] // 64),
        text=TextConfig(**text, heads=text["width"] // 64),
        embed_width=len(tensors["image_projection.weight"]),
    )
    if longer is not None:
        tensors["text.positions.kept"] = table[:KEPT_POSITIONS].clone()
        before = KEPT_POSITIONS + (len(table) - KEPT_POSITIONS) // RATIO
        config = replace(config, text=replace(config.text, context=before))
        config = _refined(config, tensors) if "image_refiner.scale" in tensors else long_text(config)
    return config, tensors


def open_clip(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> tuple[ModelConfig, State]:
    """Read open_clip's own transformers (https://github.com/mlfoundations/open_clip), in OpenAI's layout but for names.

    What its config says beyond the shapes is read: GELU or QuickGELU, the width of heads. Towers of other libraries
    (timm, Hugging Face), ResNets, attention pools and the like are refused by the option's name, and so is whatever
    option is not known here.

    Raises:
        ValueError: If a tensor is missing, an option is one that this model has not, or states another size than the
            tensors have.
    """
    model = _section(config, "model_cfg") if "model_cfg" in config else config
    check_options("model_cfg", model)
    vision, text = _section(model, "vision_cfg"), _section(model, "text_cfg")
    check_options("vision_cfg", vision)
    check_options("text_cfg", text)
    base, tensors = _openai({name.removeprefix("text."): tensor for name, tensor in state.items()})
    activation: Activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    _agree("model_cfg", model, {"embed_dim": base.embed_width})
    sizes = {"width": base.vision.width, "layers": base.vision.layers, "patch_size": base.vision.patch_size}
    _agree("vision_cfg", vision, sizes)
    sizes = {"width": base.text.width, "layers": base.text.layers, "vocab_size": base.text.vocabulary}
    _agree("text_cfg", text, sizes | {"context_length": base.text.context})
    shape = {"image_size": base.vision.image_size, "patch_size": base.vision.patch_size}
    changed = replace(
        base,
        vision=replace(
            base.vision,
            heads=base.vision.width // _whole(vision, "vision_cfg", "head_width", 64),
            activation=activation,
            image_size=_image_size("vision_cfg", vision, shape),
        ),
        text=replace(base.text, heads=_whole(text, "text_cfg", "heads", 8), activation=activation),
    )
    return changed, tensors


def family(config: ModelConfig) -> str:
    """Return which public family a model is built like; "foveal" if none is.

    Returns:
        "clip", "long_clip", "finelip", "fg_clip", "siglip" (pictures of one size), "siglip2", "fg_clip2" or "foveal".
    """
    vision, text = config.vision, config.text
    naflex = vision.interpolation == "bilinear_antialias"
    long = text.long_context is not None
    build = (vision.pooling, text.pooling, naflex, vision.dense, text.own_projection, long, text.kept_positions > 0)
    return _FAMILIES.get((*build, config.tokens), "foveal")


def _refined(config: ModelConfig, tensors: State) -> ModelConfig:
    for side in ("image_refiner", "text_refiner"):
        tensors[f"{side}.scale"] = _take(tensors, f"{side}.scale").reshape(())
        tensors.pop(f"{side}.slots.bias", None)
    slots, hidden = _get(tensors, "image_refiner.slots.weight").shape
    refined = finelip(config, slots=slots)
    assert refined.refine is not None
    if int(refined.embed_width * refined.refine.hidden_ratio) == hidden:
        return refined
    return replace(refined, refine=replace(refined.refine, hidden_ratio=(hidden + 0.5) / refined.embed_width))


def _from_transformers(state: Mapping[str, Tensor]) -> State:
    """Return tensors under foveal's names, with queries, keys and values in one."""
    # Old releases stored these buffers; some checkpoints hold garbage there.
    state = {name: tensor for name, tensor in state.items() if not name.endswith("embeddings.position_ids")}
    tensors = _renamed(state, _TRANSFORMERS_NAMES)
    for name in [name for name in tensors if ".self_attn.q_proj." in name]:
        parts = [_take(tensors, name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        tensors[name.replace("self_attn.q_proj", "attention.qkv")] = torch.cat(parts)
    return tensors


def _renamed(state: Mapping[str, Tensor], names: tuple[tuple[str, str], ...]) -> State:
    """Copy tensors under other names: beginnings of names are replaced, and inner parts, which start with a dot."""
    renamed = {}
    for name, tensor in state.items():
        for old, new in names:
            if old.startswith(".") or name.startswith(old):
                name = name.replace(old, new, 1)
        renamed[name] = tensor.to(torch.float32, copy=True)
    return renamed


def _split_class_position(tensors: State) -> None:
    """Take the class token's position out of the patches' table and flatten CLIP's convolution of patches."""
    table = _take(tensors, "vision.position")
    tensors["vision.class_position"], tensors["vision.position"] = table[0].clone(), table[1:].clone()
    _flatten_kernel(tensors)


def _flatten_kernel(tensors: State) -> None:
    """Turn the convolution by whole patches into a linear map of their pixels."""
    kernel = _take(tensors, "vision.patch_embedding.weight")
    if kernel.ndim != 4 or kernel.shape[1] != 3 or kernel.shape[2] != kernel.shape[3]:
        raise ValueError(f"The patch embedding has shape {tuple(kernel.shape)}, no square patches of 3 colors.")
    tensors["vision.patch_embedding.weight"] = kernel.permute(0, 2, 3, 1).flatten(1).contiguous()


def _add_long_captions(tensors: State) -> None:
    original = _take(tensors, "text_model.embeddings.position_embedding_ori.weight")
    rest = _take(tensors, "text_model.embeddings.position_embedding_res.weight")
    tensors["text.long_positions.kept"], tensors["text.long_positions.rest"] = (
        original[:KEPT_POSITIONS].clone(),
        rest[KEPT_POSITIONS:].clone(),
    )
    for name in ("log_region_scale", "log_negative_scale"):
        tensors[name] = tensors.get(name, _get(tensors, "log_scale")).reshape(()).clone()


def _shapes(
    tensors: State, config: Mapping[str, Any], *, naflex: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sizes of both towers of a checkpoint of `transformers`, which its config may not contradict."""
    vision, text = _vision_shape(tensors), _text_shape(tensors)
    options = {"hidden_size": "width", "intermediate_size": "mlp_width", "num_hidden_layers": "layers"}
    for where, shape, more in (
        ("vision_config", vision, {"patch_size": "patch_size"}),
        ("text_config", text, {"vocab_size": "vocabulary"}),
    ):
        _agree(where, _section(config, where), {option: shape[name] for option, name in (options | more).items()})
    if not naflex:
        vision["image_size"] = _image_size("vision_config", _section(config, "vision_config"), vision)
    return vision, text


def _agree(where: str, section: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Refuse a config that states other sizes than the tensors have. What it leaves out is not compared but for layers.

    Tensors of the last layers may be missing without a trace; `transformers` and open_clip take 12 where none is said.
    """
    for option, size in sizes.items():
        stated = section.get(option, 12 if option.endswith("layers") else size)
        if stated != size:
            raise ValueError(
                f"{where}.{option} is {shown(stated)}, the tensors have {size}. Use the weights of this config."
            )


def _image_size(where: str, section: Mapping[str, Any], shape: Mapping[str, int]) -> int:
    """Return the side that a config states for pictures: patches may not fill it, 27 of 14 pixels leave 6 of 384."""
    stated = _whole(section, where, "image_size", shape["image_size"])
    if stated // shape["patch_size"] != shape["image_size"] // shape["patch_size"]:
        raise ValueError(
            f"{where}.image_size is {stated}, the tensors have {shape['image_size']}. Use the weights of this config."
        )
    return stated


def _vision_shape(tensors: State) -> dict[str, Any]:
    patch_size = round((_get(tensors, "vision.patch_embedding.weight").shape[1] / 3) ** 0.5)
    grid = round(len(_get(tensors, "vision.position")) ** 0.5)
    return {**_tower_shape(tensors, "vision"), "patch_size": patch_size, "image_size": grid * patch_size}


def _text_shape(tensors: State) -> dict[str, Any]:
    context = len(_get(tensors, "text.positions.rest"))
    return {
        **_tower_shape(tensors, "text"),
        "context": context,
        "vocabulary": len(_get(tensors, "text.token_embedding.weight")),
    }


def _tower_shape(tensors: State, tower: str) -> dict[str, int]:
    blocks = f"{tower}.transformer.blocks."
    mlp_width, width = _get(tensors, f"{blocks}0.mlp.fc1.weight").shape
    layers = {name.removeprefix(blocks).split(".")[0] for name in tensors if name.startswith(blocks)}
    return {"width": width, "mlp_width": mlp_width, "layers": len(layers)}


def _sections(
    config: Mapping[str, Any], *, heads: tuple[int, int], activation: str, eps: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of both towers, of a checkpoint of `transformers`, that no tensor's shape shows."""
    vision, text = (
        _details(where, _section(config, where), heads=default, activation=activation, eps=eps)
        for where, default in zip(("vision_config", "text_config"), heads, strict=True)
    )
    return vision, text


def _details(where: str, section: Mapping[str, Any], *, heads: int, activation: str, eps: float) -> dict[str, Any]:
    name, norm_eps = section.get("hidden_act", activation), section.get("layer_norm_eps", eps)
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(f"There is no activation {shown(name)}. Those known are: {', '.join(_ACTIVATIONS)}.")
    if type(norm_eps) not in (int, float) or not 0 <= norm_eps <= 1:
        raise ValueError(f"{where}.layer_norm_eps is {shown(norm_eps)}. It must be a number from 0 to 1.")
    return {
        "heads": _whole(section, where, "num_attention_heads", heads),
        "activation": _ACTIVATIONS[name],
        "norm_eps": float(norm_eps),
    }


def _whole(section: Mapping[str, Any], where: str, name: str, default: int) -> int:
    """Return a whole number of a config."""
    value = section.get(name, default)
    if type(value) is not int or not 0 < value <= _LARGEST:
        raise ValueError(f"{where}.{name} is {shown(value)}. It must be a whole number from 1 to {_LARGEST:,}.")
    return value


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of a config. Old configs of `transformers` hold it twice; the one named with _dict counts."""
    override = config.get(f"{name}_dict")
    section = config.get(name) if override is None else override
    if not isinstance(section, Mapping):
        raise ValueError(  # noqa: TRY004
            f"The checkpoint's config has no section '{name}'. Take the config.json published with it."
        )
    return section


def _get(tensors: State, name: str) -> Tensor:
    if name not in tensors:
        raise ValueError(f"The checkpoint has no tensor for '{name}'. It is not complete, or of an unknown layout.")
    return tensors[name]


def _take(tensors: State, name: str) -> Tensor:
    tensor = _get(tensors, name)
    del tensors[name]
    return tensor
