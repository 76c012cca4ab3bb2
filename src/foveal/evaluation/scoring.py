"""How a picture and a text are compared: by whole embeddings, token by token, or both."""

from math import ceil
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..encoder.encodings import EncodedImages, EncodedTexts
from ..encoder.scores import compare, find_score
from ..types import Kind
from .encoded import Encoded
from .ranking import Tiles

_TEXTS = 1024  # compared with all pictures at once
_TOKENS = 16 * 2**20  # bytes of token sets on either side of a tile
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
    parts = [_block(encoded, kind, left_part, picture, similarity) for left_part in distinct.split(_TEXTS)]
    return torch.cat(parts)[inverse]


def tiles(
    encoded: Encoded,
    kind: Kind,
    row: Int[Tensor, " D"],
    picture: Int[Tensor, " I"],
    similarity: str = "global",
) -> Tiles:
    """Return what gives the similarities of distinct texts to pictures, tile by tile, on the CPU.

    Args:
        encoded: Where both are.
        kind: Of the texts.
        row: Distinct texts, by their place in `encoded.texts[kind]`.
        picture: Distinct pictures.
        similarity: How to compare.
    """

    def compute(rows: slice, columns: slice) -> Tensor:
        return _block(encoded, kind, row[rows], picture[columns], similarity)

    texts, images = encoded.texts[kind], encoded.images
    height, width = _side(len(row), texts.tokens, Tiles.height), _side(len(picture), images.tokens, Tiles.width)
    return Tiles(len(row), len(picture), compute, height, width)


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
    distinct, counts = picture[order].unique_consecutive(return_counts=True)
    for single, queries in zip(distinct.split(1), order.split(counts.tolist()), strict=True):
        scores[queries] = _block(encoded, kind, row[queries], single, similarity)[:, 0]
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
    parts = [(left[left_part].float() * right[right_part].float()).sum(dim=1) for left_part, right_part in pairs]
    return torch.cat(parts)


def _block(encoded: Encoded, kind: Kind, row: Tensor, picture: Tensor, similarity: str) -> Float[Tensor, "T I"]:
    texts, images = encoded.texts[kind], encoded.images
    some_texts = EncodedTexts(_rows(texts.embedding, row), *_sets(texts, row, similarity))
    tokens, mask = _sets(images, picture, similarity)
    some_images = EncodedImages(_rows(images.embedding, picture), tokens=tokens, token_mask=mask)
    return compare(some_texts, some_images, find_score(similarity, encoded.scores), encoded.device)


def _sets(encoded: EncodedTexts | EncodedImages, row: Tensor, similarity: str) -> tuple[Any, Any]:
    """Token sets of some, where they are compared at all."""
    if similarity == "global" or encoded.tokens is None or encoded.token_mask is None:
        return None, None
    return _rows(encoded.tokens, row), _rows(encoded.token_mask, row)


def _rows(values: Tensor, row: Tensor) -> Tensor:
    """Rows of a tensor, without copying those that lie one behind another."""
    first = int(row[0])
    if torch.equal(row, torch.arange(first, first + len(row))):
        return values[first : first + len(row)]
    return values[row]


def _side(number: int, tokens: Tensor | None, most: int) -> int:
    """How many of a number of texts or images a tile takes, all about alike, so that their token sets stay small."""
    most = most if tokens is None else max(1, min(most, _TOKENS // max(1, tokens[:1].nbytes)))
    return ceil(number / ceil(number / most))
