"""Dense maps without training: the last block of an image tower read with another attention map.

Everything before the last block stays as it was trained; after it come the last normalization and the projection, on
every patch. x is the block's input, v its values, O its output projection.

| attention | map A of the last block | after it |
|---|---|---|
| model | what the model's config says: a dense head, or one of the two below, or the trained map | |
| identity | A = 1 (FG-CLIP, arXiv:2505.05071) | x + O A v, then the MLP |
| maskclip | A = 1 (arXiv:2112.01071) | O A v alone |
| sclip | A = softmax(q qT / root d) + softmax(k kT / root d) (arXiv:2312.01597) | x + O A v, then the MLP |
| clearclip | A = softmax(q qT / root d) (arXiv:2407.12442) | O A v alone |
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .dual_encoder import DualEncoder, ImageEncoding, Pixels
from .layers import Block
from .vision import VisionTower

Attention = Literal["model", "identity", "maskclip", "sclip", "clearclip"]


def dense_encoding(model: DualEncoder, pixels: Pixels, attention: Attention = "model") -> ImageEncoding:
    """Return what one pass over pictures gives, its dense map read with an attention map of choice.

    Args:
        model: Whose image tower is read.
        pixels: Pictures.
        attention: See the module.

    Raises:
        ValueError: If there is no such attention, or the tower is no transformer with a class token: of others patches
            lie in the space of texts by their own head alone.
    """
    if attention == "model":
        return model.image_encoding(pixels)
    if attention not in get_args(Attention):
        raise ValueError(f"There is no attention '{attention}'. Choose among {', '.join(get_args(Attention))}.")
    tower = model.vision
    if not isinstance(tower, VisionTower) or tower.config.pooling != "class":
        raise ValueError(f"attention='{attention}' needs CLIP's tower with a class token. Use attention='model'.")
    before, mask, grid = tower.before_last(pixels)
    block = tower.transformer.blocks[-1]
    assert isinstance(block, Block)
    tokens = tower.norm(last_block(block, before, F.pad(mask, (1, 0), value=True), attention))
    embedding = F.normalize(model.image_projection(tokens[:, 0]), dim=-1)
    return ImageEncoding(embedding, model.image_projection(tokens[:, 1:]), mask, grid)


def last_block(
    block: Block, x: Float[Tensor, "B T W"], mask: Bool[Tensor, "B T"], attention: Attention
) -> Float[Tensor, "B T W"]:
    """Return a block's output with another attention map.

    Args:
        block: Pre-norm.
        x: Its input.
        mask: True where a token is real.
        attention: See the module.
    """
    weights = block.attention
    query, key, value = weights.qkv(block.norm1(x)).unflatten(-1, (3, weights.heads, -1)).permute(2, 0, 3, 1, 4)
    if attention in ("identity", "maskclip"):
        mixed = value
    else:
        mixed = _softmax(query, mask) @ value
        if attention == "sclip":
            mixed = mixed + _softmax(key, mask) @ value
    out: Tensor = weights.out(mixed.transpose(1, 2).flatten(2))
    if attention in ("maskclip", "clearclip"):
        return out
    x = x + out
    return x + block.mlp(block.norm2(x))


def _softmax(rows: Float[Tensor, "B H T d"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B H T T"]:
    """Return how alike rows are to each other, as weights of the real ones."""
    alike = rows @ rows.mT / rows.shape[-1] ** 0.5
    return alike.masked_fill(~mask[:, None, None], -torch.inf).softmax(dim=-1)
