"""The nouns of the house: what flows between its rooms.

Shape letters, the same in every signature:
    B  images (or texts) in a batch      N  the same on the other side, or gathered from every rank
    L  tokens of a text                  S  members of a token set (refined slots, windows, patches)
    P  patches of an image               T  tokens or patches, whichever
    Y  pixel rows                        X  pixel columns
    R  regions in a batch                K  hard negatives in a batch, of all regions together
    W  width of an encoder               E  width of the shared embedding space
    D  numbers in one flattened patch of pixels, in the order (row, column, channel)

Rows of unequal number per image (regions, negatives) are flat, never padded; an index beside them says whose
each is. A field that is None was not asked for; a field with no rows was asked for and this batch has none.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

Kind = Literal["caption", "long_caption", "phrase"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Negative:
    """A text that nearly fits, and what is wrong with it.

    Attributes:
        text: The near miss.
        kind: What was changed, for example "attribute" or "swapped_position". Empty if unknown.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """A box in an image, the phrase that fits it, and phrases that nearly do.

    Attributes:
        box: (x0, y0, x1, y1) in fractions of the image, so it survives resizing.
        phrase: What the box shows.
        negatives: Phrases that nearly fit.
    """

    box: Box
    phrase: str
    negatives: tuple[Negative, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and everything said about it: what formats yield and annotation enriches.

    Attributes:
        id: Unique within its source.
        image: A file, or the encoded bytes of one.
        captions: Short texts about the whole image.
        long_caption: A detailed text about the whole image.
        regions: Boxes with phrases.
        caption_negatives: Near misses of the first of `captions`.
        long_caption_negatives: Near misses of `long_caption`.
        notes: What its reader left out of it, a line each: "kind: detail". Says nothing about the image, so
            samples that differ in it alone are equal.
    """

    id: str
    image: Path | bytes
    captions: tuple[str, ...] = ()
    long_caption: str = ""
    regions: tuple[Region, ...] = ()
    caption_negatives: tuple[Negative, ...] = ()
    long_caption_negatives: tuple[Negative, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class PhraseBox:
    """Where in a picture a phrase of a query fits best.

    Attributes:
        phrase: A part of the query's text. Empty for a query by picture.
        box: (x0, y0, x1, y1) in fractions of the picture.
        similarity: Cosine of the phrase and what the box shows.
    """

    phrase: str
    box: Box
    similarity: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture that a search found.

    Attributes:
        id: In the index; letters and digits alone.
        path: The picture's file, from the folder that was indexed, or its name in its shard.
        score: How far the picture stands above unrelated ones, in standard deviations of theirs. Ranks hits.
        confidence: Share of hits at least this good that are expected to be no accident, in [0, 1].
        boxes: The best box of each phrase of the query.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        caption: What its source says about it; often nothing.
        similarities: What the score was made of, such as ("global", 0.31).
    """

    id: str
    path: str
    score: float
    confidence: float
    boxes: tuple[PhraseBox, ...] = ()
    width: int = 0
    height: int = 0
    caption: str = ""
    similarities: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class PatchedPixels:
    """Images of any size and aspect, cut into patches (NaFlex, arXiv:2502.14786, section 2.4.2).

    Attributes:
        values: Flattened patches in reading order, padded to the longest image.
        mask: True where a patch is real.
        grid: Rows and columns of patches of each image; their product is its number of real patches.
    """

    values: Float[Tensor, "B P D"]
    mask: Bool[Tensor, "B P"]
    grid: Int[Tensor, "B 2"]


@dataclass(frozen=True)
class Batch:
    """Collated samples. The regions of all images lie in one row; `region_image` says whose each is.

    Attributes:
        ids: The samples' ids.
        pixels: Normalised images of one size, or patches of images of any size.
        caption_ids: Token ids of one short caption per image, padded on the right.
        long_caption_ids: Token ids of the long caption of each image.
        boxes: (x0, y0, x1, y1) in fractions of the image as the model sees it.
        region_image: Which image of the batch each region lies in.
        phrase_ids: Token ids of each region's phrase.
        phrase_key: Equal for equal phrases, on every rank (a hash of the text).
        negative_ids: Token ids of the near misses of all phrases.
        negative_region: Which region of the batch each of them belongs to.
        caption_negative_ids: Token ids of the near misses of the short captions.
        caption_negative_image: Which image of the batch each of them belongs to.
    """

    ids: tuple[str, ...]
    pixels: Float[Tensor, "B 3 Y X"] | PatchedPixels
    caption_ids: Int[Tensor, "B _l0"] | None = None
    long_caption_ids: Int[Tensor, "B _l1"] | None = None
    boxes: Float[Tensor, "R 4"] | None = None
    region_image: Int[Tensor, " R"] | None = None
    phrase_ids: Int[Tensor, "R _l2"] | None = None
    phrase_key: Int[Tensor, " R"] | None = None
    negative_ids: Int[Tensor, "K _l3"] | None = None
    negative_region: Int[Tensor, " K"] | None = None
    caption_negative_ids: Int[Tensor, "C _l4"] | None = None
    caption_negative_image: Int[Tensor, " C"] | None = None


@dataclass(frozen=True)
class Output:
    """What a model makes of a batch. Every embedding and token is of unit length.

    Attributes:
        image: Of the whole image.
        caption: Of the short caption.
        long_caption: Of the long caption.
        image_tokens: The image's token set for late interaction (raw or refined).
        image_token_mask: True where a member is real.
        text_tokens: The token set of the long caption, or of the short one where there is no long one.
        text_token_mask: True where a member is real.
        regions: Of each box.
        region_image: Which image each region lies in.
        phrases: Of each region's phrase.
        phrase_key: Equal for equal phrases.
        negatives: Of the phrases' near misses.
        negative_region: Which region each of them belongs to.
        caption_tokens: The token set of the short caption. Given where captions have near misses.
        caption_token_mask: True where a member is real.
        caption_negatives: Of the captions' near misses.
        caption_negative_image: Which image each of them belongs to.
        caption_negative_tokens: The token set of each of them.
        caption_negative_token_mask: True where a member is real.
        scale: Inverse temperature of the global similarities.
        region_scale: Inverse temperature of region to phrase. `scale` itself if the model has one only.
        negative_scale: Inverse temperature of region to negatives. `scale` itself if the model has one only.
        bias: Added to scaled similarities by the sigmoid loss. Zero if the model has none.
    """

    image: Float[Tensor, "B E"]
    scale: Float[Tensor, ""]
    region_scale: Float[Tensor, ""]
    negative_scale: Float[Tensor, ""]
    bias: Float[Tensor, ""]
    caption: Float[Tensor, "B E"] | None = None
    long_caption: Float[Tensor, "B E"] | None = None
    image_tokens: Float[Tensor, "B _s E"] | None = None
    image_token_mask: Bool[Tensor, "B _s"] | None = None
    text_tokens: Float[Tensor, "B _t E"] | None = None
    text_token_mask: Bool[Tensor, "B _t"] | None = None
    regions: Float[Tensor, "R E"] | None = None
    region_image: Int[Tensor, " R"] | None = None
    phrases: Float[Tensor, "R E"] | None = None
    phrase_key: Int[Tensor, " R"] | None = None
    negatives: Float[Tensor, "K E"] | None = None
    negative_region: Int[Tensor, " K"] | None = None
    caption_tokens: Float[Tensor, "B _u E"] | None = None
    caption_token_mask: Bool[Tensor, "B _u"] | None = None
    caption_negatives: Float[Tensor, "C E"] | None = None
    caption_negative_image: Int[Tensor, " C"] | None = None
    caption_negative_tokens: Float[Tensor, "C _v E"] | None = None
    caption_negative_token_mask: Bool[Tensor, "C _v"] | None = None
