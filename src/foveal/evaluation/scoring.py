"""How a picture and a text are compared: by whole embeddings, token by token, or both."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..encoder.encodings import EncodedImages, EncodedTexts
from ..encoder.scores import compare, find_score
from ..types import Kind
from .encoded import Encoded
from .ranking import Blocks

_TEXTS = 1024  # compared with all pictures at once
_KEPT = 320 * 2**20  # bytes of similarities kept for a second look
_PAIRS = 16_384  # multiplied at once


def all_pairs(
    encoded: Encoded,
    kind: Kind,
    row: Int[Tensor, " T"],
    picture: Int[Tensor, " I"],
    similarity: str = "global",
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
    parts = [_block(encoded, kind, some, picture, similarity) for some in distinct.split(_TEXTS)]
    return torch.cat(parts)[inverse]


def blocks(
    encoded: Encoded,
    kind: Kind,
    row: Int[Tensor, " D"],
    picture: Int[Tensor, " I"],
    similarity: str = "global",
) -> Blocks:
    """Return what gives the similarities of distinct texts to pictures, block by block, as often as it is called.

    The first blocks are kept, as far as memory allows; the others are computed again each time.

    Args:
        encoded: Where both are.
        kind: Of the texts.
        row: Distinct texts, by their place in `encoded.texts[kind]`.
        picture: Distinct pictures.
        similarity: How to compare.
    """
    most = _KEPT // (4 * _TEXTS * len(picture))
    kept: dict[int, Tensor] = {}

    def computed() -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(row), _TEXTS):
            block = kept.get(start)
            if block is None:
                block = _block(encoded, kind, row[start : start + _TEXTS], picture, similarity)
            if len(kept) < most:
                kept[start] = block
            yield start, block

    return computed


def some_pairs(
    encoded: Encoded,
    kind: Kind,
    row: Int[Tensor, " Q"],
    picture: Int[Tensor, " Q"],
    similarity: str = "global",
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
        scores[queries] = _block(encoded, kind, row[queries], one, similarity)[:, 0]
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


def _block(encoded: Encoded, kind: Kind, row: Tensor, picture: Tensor, similarity: str) -> Float[Tensor, "T I"]:
    texts, images = encoded.texts[kind], encoded.images
    some_texts = EncodedTexts(texts.embedding[row], *_some(texts.tokens, texts.token_mask, row, similarity))
    shown = _some(images.tokens, images.token_mask, picture, similarity)
    some_images = EncodedImages(images.embedding[picture], tokens=shown[0], token_mask=shown[1])
    return compare(some_texts, some_images, find_score(similarity, encoded.scores), encoded.device)


def _some(tokens: Tensor | None, mask: Tensor | None, row: Tensor, similarity: str) -> tuple[Any, Any]:
    """Rows of token sets, where they are compared at all."""
    if similarity == "global" or tokens is None or mask is None:
        return None, None
    return tokens[row], mask[row]
