"""Options of open_clip are read, harmless, off, or refused by name; none is ignored."""

import pytest

from foveal.models.open_clip_options import check_options

# What open_clip writes for a model of its own transformers, options at their defaults included.
COMPLETE = {
    "model_cfg": {
        "embed_dim": 512,
        "quick_gelu": True,
        "vision_cfg": {},
        "text_cfg": {},
        "custom_text": True,
        "cast_dtype": "fp16",
        "init_logit_scale": 2.6,
        "init_logit_bias": None,
        "multimodal_cfg": {},
        "nonscalar_logit_scale": False,
    },
    "vision_cfg": {
        "image_size": 224,
        "layers": 12,
        "width": 768,
        "head_width": 64,
        "mlp_ratio": 4.0,
        "patch_size": 16,
        "ls_init_value": None,
        "patch_dropout": 0.5,
        "attentional_pool": False,
        "attn_pooler_queries": 256,
        "attn_pooler_heads": 8,
        "no_ln_pre": False,
        "pos_embed_type": "learnable",
        "final_ln_after_pool": False,
        "pool_type": "tok",
        "output_tokens": False,
        "act_kwargs": {},
        "norm_kwargs": None,
        "input_patchnorm": False,
        "timm_model_name": None,
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "timm_proj_bias": False,
        "timm_drop": 0.0,
        "timm_drop_path": None,
        "qk_norm": False,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 512,
        "heads": 8,
        "layers": 12,
        "mlp_ratio": 4.0,
        "hf_tokenizer_name": "",
        "tokenizer_kwargs": None,
        "ls_init_value": None,
        "embed_cls": False,
        "pad_id": 0,
        "no_causal_mask": False,
        "final_ln_after_pool": False,
        "pool_type": "argmax",
        "proj_bias": False,
        "proj_type": "linear",
        "output_tokens": False,
        "act_kwargs": {},
        "norm_kwargs": {},
        "hf_model_name": None,
        "hf_model_pretrained": True,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "mean_pooler",
    },
}


@pytest.mark.parametrize("where", COMPLETE)
def test_a_config_at_its_defaults_passes(where):
    check_options(where, COMPLETE[where])


@pytest.mark.parametrize(
    ("where", "option", "value", "said"),
    [
        ("vision_cfg", "timm_model_name", "vit_base_patch16_224", "image towers of timm are not supported"),
        ("vision_cfg", "layers", [3, 4, 6, 3], "ResNets are not supported"),
        ("text_cfg", "hf_model_name", "roberta-base", "text towers of transformers are not supported"),
        ("text_cfg", "hf_tokenizer_name", "xlm-roberta-base", "other tokenizers than CLIP's are not supported"),
        ("model_cfg", "multimodal_cfg", {"width": 512}, "CoCa's text decoder is not supported"),
        ("model_cfg", "init_logit_bias", -10, "not known here"),
        ("model_cfg", "nonscalar_logit_scale", True, "not known here"),
        ("model_cfg", "quick_gelu", "yes", "not known here"),
        ("vision_cfg", "attentional_pool", "parallel", "not known here"),
        ("vision_cfg", "ls_init_value", 1e-5, "not known here"),
        ("vision_cfg", "pool_type", "avg", "not known here"),
        ("vision_cfg", "pool_type", "argmax", "not known here"),
        ("vision_cfg", "norm_kwargs", {"eps": 1e-6}, "not known here"),
        ("vision_cfg", "no_ln_pre", True, "not known here"),
        ("vision_cfg", "pos_embed_type", "sin_cos_2d", "not known here"),
        ("text_cfg", "no_causal_mask", True, "not known here"),
        ("text_cfg", "embed_cls", True, "not known here"),
        ("text_cfg", "pool_type", "last", "not known here"),
        ("text_cfg", "proj_type", "mlp", "not known here"),
        ("text_cfg", "proj_bias", True, "not known here"),
        ("text_cfg", "pad_id", 1, "not known here"),
        ("text_cfg", "tokenizer_kwargs", {"clean": "canonicalize"}, "not known here"),
        ("vision_cfg", "invented", False, "not known here"),
        ("text_cfg", "image_size", 224, "not known here"),
    ],
)
def test_an_option_that_changes_the_model_is_refused_by_name_and_value(where, option, value, said):
    with pytest.raises(ValueError, match=rf"option {where}\.{option} = .*: {said}\. Choose") as caught:
        check_options(where, COMPLETE[where] | {option: value})
    assert repr(value) in str(caught.value)
