"""Types that cross between packages: samples, batches, outputs, hits.

Shape letters, the same in every signature:
    B  images (or texts) in a batch      N  the same on the other side, or gathered from every rank
    L  tokens of a text                  S  members of a token set (refined slots, windows, patches)
    P  patches of an image               T  tokens or patches, whichever
    Y  pixel rows                        X  pixel columns
    R  regions in a batch                M  texts of one group of a batch
    W  width of an encoder               E  width of the shared embedding space
    D  numbers in one flattened patch of pixels, in the order (row, column, channel)

Rows of unequal number per image (regions, texts) are flat, never padded; an index beside them says whose each is.
A field or a group of texts that is absent was not asked for; one with no rows was asked for and this batch has none.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from torch import Tensor
else:  # shapes are checked all the same, and what lists files need not wait a second for torch
    Tensor = Any

Kind = Literal["caption", "long_caption", "phrase"]
Box = tuple[float, float, float, float]
Owner = Literal["image", "region"]
TokenSets = tuple[Float[Tensor, "_n _s E"], Bool[Tensor, "_n _s"]]
"""Token sets for late interaction, padded to the largest, and which members are real."""

SETTINGS = {
    "caption": "data.captions=true",
    "long_caption": "data.long_captions=true",
    "phrase": "data.regions=4",
    "negative": "data.negatives=10",
    "caption_negative": "data.caption_negatives=4",
}
"""Groups of texts that every run can ask for, and the setting that does so. A recipe may bring groups of its own."""


@dataclass(frozen=True, slots=True)
class Negative:
    """A hard negative: a text that nearly fits, and the change that makes it wrong.

    Attributes:
        text: The hard negative.
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
    """One image and everything said about it, as formats yield it and annotation enriches it.

    Attributes:
        id: Unique within its source.
        image: A file, or the encoded bytes of one.
        captions: Short texts about the whole image.
        long_caption: A detailed text about the whole image.
        regions: Boxes with phrases.
        caption_negatives: Hard negatives of the first of `captions`.
        long_caption_negatives: Hard negatives of `long_caption`.
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


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture with what they show, surest first.

    Attributes:
        boxes: (x0, y0, x1, y1) in fractions of the picture.
        score: How sure each is, 0 to 1.
        label: What it shows, a number within `names`.
        names: That were looked for.
        width: Of the picture, turned upright, in pixels.
        height: Of the picture, turned upright, in pixels.
    """

    boxes: Float[Tensor, "R 4"]
    score: Float[Tensor, " R"]
    label: Int[Tensor, " R"]
    names: tuple[str, ...]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Segmentation:
    """What every pixel of one picture shows.

    Attributes:
        labels: A number within `names`; -1 for background.
        confidence: How sure each is, 0 to 1.
        names: That competed.
    """

    labels: Int[Tensor, "Y X"]
    confidence: Float[Tensor, "Y X"]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhraseBox:
    """The best box of a query's phrase in a picture.

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
class TextRows:
    """One group of a batch's texts, in flat rows.

    Attributes:
        ids: Token ids, padded on the right.
        owner: The row of the image, or of the region, that each text is about.
        of: What owners are.
        kind: Chooses positions and projection of the text tower.
        key: Equal for equal texts, on every rank (a hash). None: nobody asked.
        start: Position of each text's first token. None: 0.
        tokens: Token sets are wanted too, of models that have any.
    """

    ids: Int[Tensor, "M _l"]
    owner: Int[Tensor, " M"]
    of: Owner = "image"
    kind: Kind = "caption"
    key: Int[Tensor, " M"] | None = None
    start: Int[Tensor, " M"] | None = None
    tokens: bool = False


@dataclass(frozen=True)
class Batch:
    """Collated samples. The regions of all images lie in one row; `region_image` says whose each is.

    Attributes:
        ids: The samples' ids.
        pixels: Normalized images of one size, or patches of images of any size.
        texts: Groups of texts by name, such as those of `SETTINGS`: "caption" and "long_caption" hold one text per
            image, "phrase" one per region, "negative" hard negatives of phrases, "caption_negative" of captions.
        boxes: (x0, y0, x1, y1) in fractions of the image as the model sees it.
        region_image: Which image of the batch each region lies in.
    """

    ids: tuple[str, ...]
    pixels: Float[Tensor, "B 3 Y X"] | PatchedPixels
    texts: Mapping[str, TextRows] = field(default_factory=dict)
    boxes: Float[Tensor, "R 4"] | None = None
    region_image: Int[Tensor, " R"] | None = None


@dataclass(frozen=True)
class BoxedBatch:
    """Pictures with their boxes, as a detector is trained on them.

    Attributes:
        ids: The samples' ids.
        pixels: Normalized squares, each picture in its top left corner.
        sizes: Width and height of each picture in its square, in pixels.
        boxes: (x0, y0, x1, y1) in pixels of the square, in the order of the pictures.
        region_image: Which picture each box lies in.
        region_class: What each box shows.
        seed: Of what is drawn at random from each picture, so that no rank or restart draws anything else.
    """

    ids: tuple[str, ...]
    pixels: Float[Tensor, "B 3 Y X"]
    sizes: Float[Tensor, "B 2"]
    boxes: Float[Tensor, "R 4"]
    region_image: Int[Tensor, " R"]
    region_class: Int[Tensor, " R"]
    seed: Int[Tensor, " B"]

    def split(self, parts: int) -> "list[BoxedBatch]":
        """Return as many batches of neighboring pictures."""
        bounds = [len(self.ids) * part // parts for part in range(parts + 1)]
        return [self._between(first, last) for first, last in pairwise(bounds)]

    def _between(self, first: int, last: int) -> "BoxedBatch":
        rows = (self.region_image >= first) & (self.region_image < last)
        regions = (self.boxes[rows], self.region_image[rows] - first, self.region_class[rows])
        return BoxedBatch(
            self.ids[first:last], self.pixels[first:last], self.sizes[first:last], *regions, self.seed[first:last]
        )


@dataclass(frozen=True)
class TextEmbeddings:
    """Embeddings of one group of texts. Every embedding and token is of unit length.

    Attributes:
        embedding: Of each text.
        owner: The row of the image, or of the region, that each text is about.
        of: What owners are.
        key: Equal for equal texts.
        tokens: The token set of each text for late interaction.
        token_mask: True where a member is real.
    """

    embedding: Float[Tensor, "M E"]
    owner: Int[Tensor, " M"]
    of: Owner = "image"
    key: Int[Tensor, " M"] | None = None
    tokens: Float[Tensor, "M _t E"] | None = None
    token_mask: Bool[Tensor, "M _t"] | None = None


def check_groups(names: Collection[str], needed: Iterable[str]) -> None:
    """Refuse batches that lack a group of texts that an objective needs.

    Args:
        names: Of the groups there are.
        needed: Of those that there must be.

    Raises:
        ValueError: If one is missing. The message names the setting that asks for it.
    """
    for name in needed:
        if name not in names:
            way = f"Use --set {SETTINGS[name]}." if name in SETTINGS else "Add a group of that name to data.groups."
            raise ValueError(f"The objective needs the texts '{name}', and the run's data has none. {way}")


@dataclass(frozen=True)
class Output:
    """The embeddings of a batch. Every embedding and token is of unit length.

    Attributes:
        image: Of the whole image.
        texts: Of each group of texts, under its name in the batch.
        image_tokens: The image's token set for late interaction (raw or refined).
        image_token_mask: True where a member is real.
        regions: Of each box.
        region_image: Which image each region lies in.
        parts: What each learned part gives, under its name.
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
    texts: Mapping[str, TextEmbeddings] = field(default_factory=dict)
    image_tokens: Float[Tensor, "B _s E"] | None = None
    image_token_mask: Bool[Tensor, "B _s"] | None = None
    regions: Float[Tensor, "R E"] | None = None
    region_image: Int[Tensor, " R"] | None = None
    parts: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def finite(self) -> Bool[Tensor, " B"]:
        """Return for each image whether its embedding, and those of its texts, are finite."""
        finite = self.image.isfinite().all(dim=1)
        for texts in self.texts.values():
            if texts.of == "image":
                finite[texts.owner[~texts.embedding.isfinite().all(dim=1)]] = False
        return finite

    def need(self, name: str) -> TextEmbeddings:
        """Return a group of texts that an objective cannot do without.

        Raises:
            ValueError: If the batch has no such group. The message names the setting that asks for it.
        """
        check_groups(self.texts, (name,))
        return self.texts[name]

    def need_tokens(self, name: str) -> tuple[TokenSets, TokenSets]:
        """Return the token sets of a group of texts, and those of the images.

        Raises:
            ValueError: If the batch has no such group, or the model gives no token sets of it.
        """
        texts = self.need(name)
        if texts.tokens is None or texts.token_mask is None:
            raise ValueError(f"The objective compares the tokens of '{name}'. Use --set model.tokens=raw.")
        return (texts.tokens, texts.token_mask), self.need_image_tokens()

    def need_image_tokens(self) -> TokenSets:
        """Return the token sets of the images.

        Raises:
            ValueError: If the model gives none.
        """
        if self.image_tokens is None or self.image_token_mask is None:
            raise ValueError("The objective compares the tokens of images. Use --set model.tokens=raw.")
        return self.image_tokens, self.image_token_mask
