"""How a picture and a text are compared: by whole embeddings, token by token, or both."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..similarity import cosine, fused, late_interaction
from ..types import Kind
from .encoded import Encoded

Similarity = Literal["global", "late", "fused"]
"""Cosine; late interaction in both directions as FineLIP has it (half of its R); FineLIP's mix of the two."""

LEAK = 0.1
COSINE_WEIGHT = 2 / 3  # ranks as FineLIP's 0.8 * cosine + 0.2 * R, since R is twice the late similarity here
_TEXTS = 1024  # compared with all pictures at once
_PAIRS = 16_384  # multiplied at once


def all_pairs(
    encoded: Encoded,
    kind: Kind,
    row: Int[Tensor, " T"],
    picture: Int[Tensor, " I"],
    similarity: Similarity = "global",
) -> Float[Tensor, "T I"]:
    """Similarity of every text to every picture, on the CPU. Equal texts are compared once.

    Args:
        encoded: Where both are.
        kind: Of the texts.
        row: Texts, by their place in `encoded.texts[kind]`; duplicates are welcome.
        picture: Distinct pictures.
        similarity: How to compare.
    """
    distinct, inverse = row.unique(return_inverse=True)
    parts = [_block(encoded, kind, some, picture, similarity).cpu().float() for some in distinct.split(_TEXTS)]
    return torch.cat(parts)[inverse]


def some_pairs(
    encoded: Encoded,
    kind: Kind,
    row: Int[Tensor, " Q"],
    picture: Int[Tensor, " Q"],
    similarity: Similarity = "global",
) -> Float[Tensor, " Q"]:
    """Similarity of text i and picture i.

    Args:
        encoded: Where both are.
        kind: Of the texts.
        row: Texts, by their place in `encoded.texts[kind]`.
        picture: The picture that goes with each text.
        similarity: How to compare.
    """
    if similarity == "global":
        return rowwise(encoded.images.embedding, encoded.texts[kind].embedding, picture, row)
    scores = torch.empty(len(row))
    order = picture.argsort(stable=True)
    shown, counts = picture[order].unique_consecutive(return_counts=True)
    for one, queries in zip(shown.split(1), order.split(counts.tolist()), strict=True):
        scores[queries] = _block(encoded, kind, row[queries], one, similarity)[:, 0].cpu().float()
    return scores


def rowwise(
    left: Float[Tensor, "B E"],
    right: Float[Tensor, "N E"],
    left_row: Int[Tensor, " Q"],
    right_row: Int[Tensor, " Q"],
) -> Float[Tensor, " Q"]:
    """Cosine of chosen pairs. Equal rows give equal numbers to the last bit, so draws are seen as draws.

    Args:
        left: Unit length.
        right: Unit length.
        left_row: Of each pair.
        right_row: Of each pair.
    """
    pairs = zip(left_row.split(_PAIRS), right_row.split(_PAIRS), strict=True)
    parts = [(left[some].float() * right[others].float()).sum(dim=1) for some, others in pairs]
    return torch.cat(parts)


def _block(encoded: Encoded, kind: Kind, row: Tensor, picture: Tensor, similarity: Similarity) -> Float[Tensor, "T I"]:
    texts, images, device = encoded.texts[kind], encoded.images, encoded.device
    whole = cosine(texts.embedding[row].to(device), images.embedding[picture].to(device))
    if similarity == "global":
        return whole
    assert texts.tokens is not None and texts.token_mask is not None
    assert images.tokens is not None and images.token_mask is not None
    late = late_interaction(
        texts.tokens[row].to(device),
        images.tokens[picture].to(device),
        texts.token_mask[row].to(device),
        images.token_mask[picture].to(device),
        direction="both",
        leak=LEAK,
    )
    return late if similarity == "late" else fused(whole, late, COSINE_WEIGHT)
