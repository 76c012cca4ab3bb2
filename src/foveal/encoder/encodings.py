"""Outputs of an encoder."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class EncodedImages:
    """Outputs of one pass over pictures. Every row is of unit length; fields that were not asked for are None.

    Attributes:
        embedding: Of each whole picture.
        regions: Of each box, one tensor per picture.
        tokens: Token sets for late interaction, padded to the largest.
        token_mask: True where a member is real.
        patches: Of each patch, rows by columns, one tensor per picture.
    """

    embedding: Float[Tensor, "N E"]
    regions: tuple[Float[Tensor, "_r E"], ...] | None = None
    tokens: Float[Tensor, "N S E"] | None = None
    token_mask: Bool[Tensor, "N S"] | None = None
    patches: tuple[Float[Tensor, "_h _w E"], ...] | None = None


@dataclass(frozen=True)
class EncodedTexts:
    """Outputs of one pass over texts. Every row is of unit length; fields that were not asked for are None.

    Attributes:
        embedding: Of each whole text.
        tokens: Token sets for late interaction, padded to the largest.
        token_mask: True where a member is real.
    """

    embedding: Float[Tensor, "N E"]
    tokens: Float[Tensor, "N S E"] | None = None
    token_mask: Bool[Tensor, "N S"] | None = None
