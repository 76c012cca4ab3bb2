"""Named configs. A size is a function; a variant is a function that replaces a few fields of another."""

from collections.abc import Callable
from dataclasses import replace

from .config import ModelConfig, RefineConfig, TextConfig, VisionConfig


def _clip(
    vision: tuple[int, int, int], text_width: int, embed_width: int, *, patch_size: int, image_size: int = 224
) -> ModelConfig:
    width, layers, heads = vision
    return ModelConfig(
        vision=VisionConfig(
            width=width,
            layers=layers,
            heads=heads,
            mlp_width=4 * width,
            patch_size=patch_size,
            image_size=image_size,
        ),
        text=TextConfig(width=text_width, layers=12, heads=text_width // 64, mlp_width=4 * text_width),
        embed_width=embed_width,
    )


def vit_b_32() -> ModelConfig:
    """Return OpenAI CLIP ViT-B/32."""
    return _clip((768, 12, 12), 512, 512, patch_size=32)


def vit_b_16() -> ModelConfig:
    """Return OpenAI CLIP ViT-B/16."""
    return _clip((768, 12, 12), 512, 512, patch_size=16)


def vit_l_14() -> ModelConfig:
    """Return OpenAI CLIP ViT-L/14."""
    return _clip((1024, 24, 16), 768, 768, patch_size=14)


def vit_l_14_336() -> ModelConfig:
    """Return OpenAI CLIP ViT-L/14 at 336 pixels."""
    return _clip((1024, 24, 16), 768, 768, patch_size=14, image_size=336)


def tiny() -> ModelConfig:
    """Return a CLIP of two layers for tests: 32 pixels, 4 x 4 patches, any text that CLIP's tokenizer makes."""
    vision = VisionConfig(width=32, layers=2, heads=2, mlp_width=64, patch_size=8, image_size=32)
    text = TextConfig(width=32, layers=2, heads=2, mlp_width=64)
    return ModelConfig(vision=vision, text=text, embed_width=16)


def _siglip2(width: int, mlp_width: int, layers: int, heads: int) -> ModelConfig:
    return ModelConfig(
        vision=VisionConfig(
            width=width,
            mlp_width=mlp_width,
            layers=layers,
            heads=heads,
            activation="tanh_gelu",
            norm_eps=1e-6,
            image_size=256,
            pooling="attention",
            interpolation="bilinear_antialias",
            input_norm=False,
            patch_bias=True,
            projection=False,
        ),
        text=TextConfig(
            width=width,
            mlp_width=mlp_width,
            layers=layers,
            heads=heads,
            activation="tanh_gelu",
            norm_eps=1e-6,
            vocabulary=256_000,
            eos_id=1,
            start=False,
            context=64,
            causal=False,
            pooling="last",
            projection_bias=True,
        ),
        embed_width=width,
        bias=True,
        initial_scale=10.0,
    )


def siglip2_b_16() -> ModelConfig:
    """Return SigLIP 2 base, patch 16, NaFlex (arXiv:2502.14786)."""
    return _siglip2(768, 3072, 12, 12)


def siglip2_l_16() -> ModelConfig:
    """Return SigLIP 2 large, patch 16, NaFlex."""
    return _siglip2(1024, 4096, 24, 16)


def siglip2_so400m_16() -> ModelConfig:
    """Return SigLIP 2 So400m, patch 16, NaFlex."""
    return _siglip2(1152, 4304, 27, 16)


def long_text(config: ModelConfig, *, keep: int = 20, ratio: int = 4, freeze_kept: bool = True) -> ModelConfig:
    """Return the same model with one stretched table of positions for all kinds of text (Long-CLIP, FineLIP)."""
    context = keep + ratio * (config.text.context - keep)
    text = replace(config.text, context=context, kept_positions=keep, freeze_kept=freeze_kept)
    return replace(config, text=text)


def finelip(config: ModelConfig, *, slots: int = 39) -> ModelConfig:
    """Return FineLIP on a CLIP size (arXiv:2504.01916): stretched text, refined token sets."""
    return replace(long_text(config), tokens="refined", refine=RefineConfig(slots=slots))


def fg_clip(config: ModelConfig, *, keep: int = 20, ratio: int = 4) -> ModelConfig:
    """Return FG-CLIP on a CLIP size (arXiv:2505.05071): long captions have a table and a projection of their own."""
    long_context = keep + ratio * (config.text.context - keep)
    text = replace(config.text, long_context=long_context, kept_positions=keep, own_projection=("long_caption",))
    return replace(config, text=text, vision=replace(config.vision, dense="identity_attention"), own_scales=True)


def fg_clip2(config: ModelConfig, *, keep: int = 20, ratio: int = 4) -> ModelConfig:
    """Return FG-CLIP 2 on a SigLIP 2 size (arXiv:2510.10921): three text heads, a dense head."""
    longer = fg_clip(config, keep=keep, ratio=ratio)
    text = replace(longer.text, own_projection=("long_caption", "phrase"))
    return replace(longer, text=text, vision=replace(config.vision, dense="attention_head"))


SIZES: dict[str, Callable[[], ModelConfig]] = {
    "tiny": tiny,
    "vit_b_32": vit_b_32,
    "vit_b_16": vit_b_16,
    "vit_l_14": vit_l_14,
    "vit_l_14_336": vit_l_14_336,
    "siglip2_b_16": siglip2_b_16,
    "siglip2_l_16": siglip2_l_16,
    "siglip2_so400m_16": siglip2_so400m_16,
}
