"""Configs of models, as frozen values. A config travels with its weights and rebuilds the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from torch import nn

from ..outside import shown
from ..types import Batch, Kind

Activation = Literal["quick_gelu", "gelu", "tanh_gelu"]
Pooling = Literal["class", "first_eos", "last", "attention", "mean"]
Dense = Literal["plain", "identity_attention", "attention_head", "value_path"]
Interpolation = Literal["bicubic", "bilinear_antialias"]
Tokens = Literal["none", "raw", "refined"]

# Least and largest of each number. The upper ends are several times those of any published model: what lies beyond is
# a mistake or an attack, and would take all memory before a tensor is compared with it.
_RANGES: Mapping[str, tuple[float, float]] = {
    "width": (1, 16_384),
    "layers": (1, 256),
    "heads": (1, 1_024),
    "mlp_width": (1, 131_072),
    "norm_eps": (0, 1),
    "image_size": (1, 4_096),
    "patch_size": (1, 4_096),
    "vocabulary": (1, 4_000_000),
    "context": (1, 65_536),
    "long_context": (1, 65_536),
    "kept_positions": (0, 65_536),
    "slots": (1, 65_536),
    "hidden_ratio": (0, 64),
    "embed_width": (1, 65_536),
    "initial_scale": (0, 1e6),
    "initial_bias": (-1e6, 1e6),
}


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """A pre-norm transformer. Towers of another make (`tower`) say 0 where a number means nothing to them.

    Attributes:
        width: Of the residual stream (W), and of the features that come out.
        layers: Number of blocks.
        heads: Attention heads; must divide `width`.
        mlp_width: Hidden width of each block's MLP.
        activation: Of the MLP. OpenAI's CLIP has QuickGELU, SigLIP tanh-GELU.
        norm_eps: Of every LayerNorm.
        pooling: Where the pooled feature is read.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation = "quick_gelu"
    norm_eps: float = 1e-5
    pooling: Pooling


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerConfig):
    """The image tower. The defaults are CLIP's.

    Attributes:
        image_size: Side of the square the position table was made for, in pixels.
        patch_size: Side of a patch, in pixels.
        pooling: "class" (a class token) or "attention" (SigLIP's MAP head).
        dense: How patch features are read: "plain" (output of the last block, FineLIP), "identity_attention"
            (last block with its attention map replaced by the identity, FG-CLIP), "attention_head"
            (a second MAP head with patches as queries, FG-CLIP 2) or "value_path" (the MAP head with its attention
            map replaced by the identity, C2LIP).
        interpolation: How positions are resized to another grid.
        input_norm: LayerNorm before the first block.
        patch_bias: Bias of the patch embedding.
        projection: A linear map to the shared space; without it the tower's width is the space's.
        tower: The network: our transformer, the starter model's network, or "own": one that is given to `DualEncoder`.
    """

    image_size: int = 224
    patch_size: int = 16
    pooling: Pooling = "class"
    dense: Dense = "plain"
    interpolation: Interpolation = "bicubic"
    input_norm: bool = True
    patch_bias: bool = False
    projection: bool = True
    tower: Literal["transformer", "efficientnet_lite0", "own"] = "transformer"

    @property
    def grid(self) -> int:
        """Patches along each side of the picture that the position table was made for."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, kw_only=True)
class TextConfig(TowerConfig):
    """The text tower. The defaults are CLIP's.

    Attributes:
        vocabulary: Number of token ids.
        eos_id: End of text; its first occurrence ends a text where `pooling` is "first_eos" or "attention".
        pad_id: Fills texts on the right. Only a tower that pools at the last position reads it.
        start: Texts begin with a start token.
        context: Positions of the table that every kind uses, or all but long captions if `long_context` is set.
        long_context: Positions of long captions' own table (FG-CLIP). None: they share the one table.
        kept_positions: First rows of the longest table that stretching keeps, stored apart from the rest.
        freeze_kept: Those rows are never trained (Long-CLIP, FineLIP).
        causal: A token sees only those before it.
        pooling: "first_eos" (CLIP), "last" (SigLIP: padding is part of the text) or "attention".
        own_projection: Kinds that have a projection of their own beside captions'.
        projection_bias: Bias of the projections.
        tower: What reads: our transformer, the starter model's network, or "own": one that is given to `DualEncoder`.
    """

    vocabulary: int = 49408
    eos_id: int = 49407
    pad_id: int = 0
    start: bool = True
    context: int = 77
    long_context: int | None = None
    kept_positions: int = 0
    freeze_kept: bool = False
    causal: bool = True
    pooling: Pooling = "first_eos"
    own_projection: tuple[Kind, ...] = ()
    projection_bias: bool = False
    tower: Literal["transformer", "minilm", "own"] = "transformer"

    def length(self, kind: Kind) -> int:
        """Return most tokens that a text of this kind may have."""
        return self.long_context if kind == "long_caption" and self.long_context else self.context


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """FineLIP's token refinement (ATRM): many tokens in, a fixed number of slots out, per modality.

    Attributes:
        slots: Tokens that come out, for any number that go in. FineLIP has 39.
        hidden_ratio: Hidden width of the scoring MLP as a share of E. FineLIP has 0.2.
    """

    slots: int = 39
    hidden_ratio: float = 0.2


@runtime_checkable
class Part(Protocol):
    """A learned part that a recipe adds to a dual encoder. A frozen dataclass: its fields are its configuration.

    Its module is called without arguments and gives tensors by name, which the objective finds in `Output.parts`: what
    is to be compared across a batch and its ranks is compared there. A part may be a score, too, see `encoder.scores`.
    """

    @property
    def name(self) -> str:
        """Name of the part, in `Output.parts` and in the names of its weights."""

    def build(self, config: "ModelConfig") -> nn.Module:
        """Return the module, at its start."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A dual encoder: two towers, one space.

    Attributes:
        vision: The picture tower.
        text: The text tower.
        embed_width: Width of the shared space (E).
        tokens: Which token sets a forward pass gives for late interaction.
        refine: Token refinement; needed where `tokens` is "refined".
        parts: Learned parts of a recipe's own.
        own_scales: Regions and hard negatives have temperatures of their own (FG-CLIP).
        bias: A bias for the sigmoid loss (SigLIP).
        initial_scale: Inverse temperature at the start. CLIP starts at 1 / 0.07.
        initial_bias: SigLIP starts at -10.
    """

    vision: VisionConfig
    text: TextConfig
    embed_width: int
    tokens: Tokens = "none"
    refine: RefineConfig | None = None
    parts: tuple[Part, ...] = ()
    own_scales: bool = False
    bias: bool = False
    initial_scale: float = 1 / 0.07
    initial_bias: float = -10.0

    def build(self) -> nn.Module:
        """Return a dual encoder with fresh weights."""
        from .dual_encoder import DualEncoder  # which is made of this config, as are the others below

        return DualEncoder(self)

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a dual encoder as a model folder, see `weights.save`."""
        from .weights import save

        save(cast(Any, module), folder)

    def open(self, folder: Path) -> nn.Module:
        """Return a dual encoder of this config from a checkpoint of any family: what it lacks is added.

        What makes this config's own parts may make those of the checkpoint.

        Raises:
            ValueError: If there is no model that fits, see `weights.load` and `upgrade`.
        """
        from .parts import TRUSTED_MODULES
        from .upgrade import upgrade
        from .weights import load

        return upgrade(load(folder, (*TRUSTED_MODULES, *(type(part).__module__ for part in self.parts))), self)

    def save_config(self, folder: Path) -> None:
        """Write what belongs beside the weights in a model folder, see `weights.save_config`."""
        from .weights import save_config

        save_config(self, folder)

    def count_tokens(self, batch: Batch) -> int:
        """Count the text tokens of a batch, padding left out."""
        return sum(int(torch.count_nonzero(rows.ids != self.text.pad_id)) for rows in batch.texts.values())


def check(config: ModelConfig) -> None:
    """Refuse a config whose numbers no model has, before anything is built of it.

    Raises:
        ValueError: If there is one. The message names field, value and range.
    """
    parts = {"": config, "vision: ": config.vision, "text: ": config.text, "refine: ": config.refine}
    for where, part in parts.items():
        foreign = getattr(part, "tower", "transformer") != "transformer"
        for name, (least, largest) in _RANGES.items():
            value = getattr(part, name, None)
            low = 0 if foreign else least  # towers of another make say 0 where a number means nothing to them
            if value is not None and not low <= value <= largest:
                raise ValueError(f"{where}{name} is {shown(value)}. It must be from {low:,} to {largest:,}.")
    text = config.text
    for name, token in (("eos_id", text.eos_id), ("pad_id", text.pad_id)):
        if text.tower == "transformer" and not 0 <= token < text.vocabulary:
            raise ValueError(f"text: {name} is {shown(token)}. It must be from 0 to {text.vocabulary - 1:,}.")
