"""Neural networks: towers for pictures and texts, regions, token refinement, weights."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .config import ModelConfig, Part, RefineConfig, TextConfig, TowerConfig, VisionConfig
    from .dual_encoder import DualEncoder, ImageEncoding, TextEncoding
    from .regions import pool_regions
    from .sizes import (
        fg_clip,
        fg_clip2,
        finelip,
        long_text,
        siglip2_b_16,
        siglip2_l_16,
        siglip2_so400m_16,
        tiny,
        vit_b_16,
        vit_b_32,
        vit_l_14,
        vit_l_14_336,
    )
    from .text_pool import TextPool
    from .towers import ImageTower, LanguageTower

__all__ = [
    "DualEncoder",
    "ImageEncoding",
    "ImageTower",
    "LanguageTower",
    "ModelConfig",
    "Part",
    "RefineConfig",
    "TextConfig",
    "TextEncoding",
    "TextPool",
    "TowerConfig",
    "VisionConfig",
    "fg_clip",
    "fg_clip2",
    "finelip",
    "long_text",
    "pool_regions",
    "siglip2_b_16",
    "siglip2_l_16",
    "siglip2_so400m_16",
    "tiny",
    "vit_b_16",
    "vit_b_32",
    "vit_l_14",
    "vit_l_14_336",
]

_HOMES = {
    "DualEncoder": "dual_encoder",
    "ImageEncoding": "dual_encoder",
    "ImageTower": "towers",
    "LanguageTower": "towers",
    "ModelConfig": "config",
    "Part": "config",
    "RefineConfig": "config",
    "TextConfig": "config",
    "TextEncoding": "dual_encoder",
    "TextPool": "text_pool",
    "TowerConfig": "config",
    "VisionConfig": "config",
    "fg_clip": "sizes",
    "fg_clip2": "sizes",
    "finelip": "sizes",
    "long_text": "sizes",
    "pool_regions": "regions",
    "siglip2_b_16": "sizes",
    "siglip2_l_16": "sizes",
    "siglip2_so400m_16": "sizes",
    "tiny": "sizes",
    "vit_b_16": "sizes",
    "vit_b_32": "sizes",
    "vit_l_14": "sizes",
    "vit_l_14_336": "sizes",
}

__getattr__ = lazy_names(__name__, _HOMES)
