"""Options of open_clip's configs: those that are known, and those that change a model in an unsupported way."""

from collections.abc import Mapping
from typing import Any

from ..outside import shown

# Options that are read, or compared with the tensors.
_READ: Mapping[str, frozenset[str]] = {
    "model_cfg": frozenset(("embed_dim", "quick_gelu", "vision_cfg", "text_cfg")),
    "vision_cfg": frozenset(("image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio")),
    "text_cfg": frozenset(("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio")),
}
# Options that only matter in training, in another precision, or beside an option that is refused.
_HARMLESS: Mapping[str, frozenset[str]] = {
    "model_cfg": frozenset(("custom_text", "init_logit_scale", "cast_dtype")),
    "vision_cfg": frozenset(
        (
            *("patch_dropout", "attn_pooler_heads", "attn_pooler_queries", "output_tokens", "timm_model_pretrained"),
            *("timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"),
        )
    ),
    "text_cfg": frozenset(("output_tokens", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type")),
}
_BLOCKS: Mapping[str, Any] = {
    **dict.fromkeys(("ls_init_value", "act_kwargs", "norm_kwargs", "block_type")),
    **dict.fromkeys(("final_ln_after_pool", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner"), False),
    **dict.fromkeys(("scale_attn", "scale_fc"), False),
}
# The other options, with the value under which they change nothing. Whatever is not named here is refused.
_OFF: Mapping[str, Mapping[str, Any]] = {
    "model_cfg": {"multimodal_cfg": None, "init_logit_bias": None, "nonscalar_logit_scale": False},
    "vision_cfg": {
        **_BLOCKS,
        **dict.fromkeys(("attentional_pool", "input_patchnorm", "global_average_pool", "no_ln_pre"), False),
        "pos_embed_type": "learnable",
        "pool_type": "tok",
        "timm_model_name": None,
        "eva_model_name": None,
    },
    "text_cfg": {
        **_BLOCKS,
        **dict.fromkeys(("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode")),
        **dict.fromkeys(("embed_cls", "no_causal_mask", "proj_bias"), False),
        "pad_id": 0,
        "pool_type": "argmax",
        "proj_type": "linear",
    },
}
SUPPORTED = "Choose a model with open_clip's own transformers."
RESNET = "ResNets are not supported"
TIMM = "image towers of timm are not supported"
HUGGING_FACE = "text towers of transformers are not supported"
COCA = "CoCa's text decoder is not supported"
_WHY = {
    "timm_model_name": TIMM,
    "hf_model_name": HUGGING_FACE,
    "hf_tokenizer_name": "other tokenizers than CLIP's are not supported",
    "multimodal_cfg": COCA,
    "layers": RESNET,
}


def check_options(where: str, section: Mapping[str, Any]) -> None:
    """Refuse options that change a model's results in an unsupported way.

    Args:
        where: "model_cfg", "vision_cfg" or "text_cfg".
        section: That part of a config.

    Raises:
        ValueError: If there is one. The message names option, value and, where it is known, what is lacking.
    """
    for option, value in section.items():
        if not _is_known(where, option, value):
            why = _WHY.get(option, "not known here")
            raise ValueError(f"open_clip's option {where}.{option} = {shown(value)}: {why}. {SUPPORTED}")


def _is_known(where: str, option: str, value: Any) -> bool:
    if option == "layers" and isinstance(value, list):
        return False
    if option == "quick_gelu" and type(value) is not bool:
        return False
    if option in _READ[where] or option in _HARMLESS[where]:
        return True
    if option not in _OFF[where]:
        return False
    off = _OFF[where][option]
    return value is None or value == off or (not value and not off)
