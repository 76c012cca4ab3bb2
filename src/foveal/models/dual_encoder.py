"""The dual encoder: two towers, one space, and all outputs of one pass over images or texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..types import Batch, Kind, Output, PatchedPixels, TextEmbeddings, TextRows
from .config import ModelConfig
from .refine import TokenRefiner
from .regions import pool_regions
from .text import check_texts
from .towers import ImageTower, LanguageTower, image_tower, language_tower
from .windows import Overflow, Windows, split_windows, truncate

Pixels = Float[Tensor, "B 3 Y X"] | PatchedPixels


@dataclass(frozen=True)
class ImageEncoding:
    """Outputs of one pass over a batch of pictures.

    Attributes:
        embedding: Of the whole image, of unit length.
        dense: Patches in the shared space, not yet of unit length: pooled or refined first, normalized then.
            None if they were not asked for.
        mask: True where a patch is real.
        grid: Rows and columns of patches of each image.
    """

    embedding: Float[Tensor, "B E"]
    dense: Float[Tensor, "B P E"] | None
    mask: Bool[Tensor, "B P"]
    grid: Int[Tensor, "B 2"]


@dataclass(frozen=True)
class TextEncoding:
    """Outputs of one pass over a batch of texts.

    Attributes:
        embedding: Of each whole text, of unit length.
        dense: Its tokens in the shared space, not yet of unit length. None if they were not asked for.
        mask: True where a token is real.
    """

    embedding: Float[Tensor, "B E"]
    dense: Float[Tensor, "B L E"] | None
    mask: Bool[Tensor, "B L"] | None


class DualEncoder(nn.Module):
    """Pictures, regions and texts in one space.

    `forward` embeds all that a batch holds, for training. The `encode_*` methods embed one thing each and give
    rows of unit length.
    """

    def __init__(
        self, config: ModelConfig, image: ImageTower | None = None, language: LanguageTower | None = None
    ) -> None:
        """Build a model of a config.

        Args:
            config: Of the towers, projections and scales.
            image: An image encoder of one's own; the config holds its width and the size of its pictures. None: the
                one that the config names.
            language: Likewise a text encoder.

        Raises:
            ValueError: If the config contradicts itself or the towers.
        """
        super().__init__()
        _check(config)
        self.config = config
        vision, text, width = config.vision, config.text, config.embed_width
        self.vision: ImageTower = image_tower(vision) if image is None else image
        self.text: LanguageTower = language_tower(text) if language is None else language
        _check_widths(config, self.vision, self.text)
        self.image_projection = _projection(vision.width, width, bias=False) if vision.projection else nn.Identity()
        self.text_projections = nn.ModuleDict(
            {
                kind: _projection(text.width, width, bias=text.projection_bias)
                for kind in ("caption", *text.own_projection)
            }
        )
        if config.refine is not None:
            self.image_refiner = TokenRefiner(width, config.refine)
            self.text_refiner = TokenRefiner(width, config.refine)
        self.parts = nn.ModuleDict({part.name: part.build(config) for part in config.parts})
        start = torch.tensor(config.initial_scale).log()
        self.log_scale = nn.Parameter(start.clone())
        if config.own_scales:
            self.log_region_scale = nn.Parameter(start.clone())
            self.log_negative_scale = nn.Parameter(start.clone())
        if config.bias:
            self.bias = nn.Parameter(torch.tensor(config.initial_bias))

    def forward(self, batch: Batch) -> Output:
        """Embed all that the batch holds.

        Raises:
            ValueError: If a text is too long or a box is not one. Nothing is cut in silence.
        """
        texts = self._phrases(batch.texts)
        tokens = self.config.tokens != "none"
        image = self._image(batch.pixels, dense=tokens or batch.boxes is not None)
        regions = self._regions(image, batch)
        sets = self.image_set(image) if tokens else (None, None)
        texts |= {name: self._embedded(rows) for name, rows in batch.texts.items() if name not in texts}
        scale = self.log_scale.exp()
        return Output(
            image=image.embedding,
            texts={name: texts[name] for name in batch.texts},
            image_tokens=sets[0],
            image_token_mask=sets[1],
            regions=regions,
            region_image=batch.region_image,
            parts={name: part() for name, part in self.parts.items()},
            scale=scale,
            region_scale=self.log_region_scale.exp() if self.config.own_scales else scale,
            negative_scale=self.log_negative_scale.exp() if self.config.own_scales else scale,
            bias=self.bias.clone() if self.config.bias else torch.zeros_like(scale),
        )

    def encode_images(self, pixels: Pixels) -> Float[Tensor, "B E"]:
        """Return one embedding per picture.

        Args:
            pixels: Normalized pictures of one size (sides multiples of the patch), or patches.

        Raises:
            ValueError: If the pictures cannot be cut into patches.
        """
        return self._image(pixels, dense=False).embedding

    def encode_texts(
        self, token_ids: Int[Tensor, "B L"], kind: Kind = "caption", overflow: Overflow = "error"
    ) -> Float[Tensor, "B E"]:
        """Return one embedding per text.

        Args:
            token_ids: One text a row, ended by the tokenizer, padded on the right.
            kind: Chooses positions and projection.
            overflow: What to do with texts beyond the maximum: refuse them, cut them, or read them in overlapping
                windows whose embeddings are averaged by length.

        Raises:
            ValueError: If a text is too long and `overflow` is "error", a text has no end, or the kind is unknown.
        """
        return self.text_encoding(token_ids, kind, overflow, tokens=False).embedding

    def encode_patches(self, pixels: Pixels) -> tuple[Float[Tensor, "B P E"], Bool[Tensor, "B P"], Int[Tensor, "B 2"]]:
        """Return one embedding per patch in reading order, the mask of real ones, and each picture's grid."""
        image = self.image_encoding(pixels)
        assert image.dense is not None
        return F.normalize(image.dense, dim=-1), image.mask, image.grid

    def encode_regions(
        self, pixels: Pixels, boxes: Float[Tensor, "R 4"], region_image: Int[Tensor, " R"]
    ) -> Float[Tensor, "R E"]:
        """Return one embedding per box.

        Args:
            pixels: As for `encode_images`.
            boxes: (x0, y0, x1, y1) in fractions of their picture. Any number per picture.
            region_image: The picture of each box.

        Raises:
            ValueError: If a box lies outside its picture or has no area.
        """
        image = self.image_encoding(pixels)
        assert image.dense is not None
        return F.normalize(pool_regions(image.dense, image.grid, boxes, region_image), dim=-1)

    def encode_image_tokens(self, pixels: Pixels) -> tuple[Float[Tensor, "B S E"], Bool[Tensor, "B S"]]:
        """Return the token set of each picture for late interaction, and which members are real."""
        return self.image_set(self.image_encoding(pixels))

    def encode_text_tokens(
        self, token_ids: Int[Tensor, "B L"], kind: Kind = "caption", overflow: Overflow = "error"
    ) -> tuple[Float[Tensor, "B S E"], Bool[Tensor, "B S"]]:
        """Return the token set of each text for late interaction, and which members are real."""
        return self.text_set(self.text_encoding(token_ids, kind, overflow))

    def image_encoding(self, pixels: Pixels) -> ImageEncoding:
        """Return everything one pass over pictures gives: embed once, then pool regions or refine tokens at will."""
        return self._image(pixels, dense=True)

    def text_encoding(
        self,
        token_ids: Int[Tensor, "B L"],
        kind: Kind = "caption",
        overflow: Overflow = "error",
        *,
        tokens: bool = True,
        start: Int[Tensor, " B"] | None = None,
    ) -> TextEncoding:
        """Return everything one pass over texts gives.

        Args:
            token_ids: As for `encode_texts`.
            kind: Chooses positions and projection.
            overflow: As for `encode_texts`.
            tokens: Whether tokens are wanted too.
            start: Position of each text's first token. None: 0.

        Raises:
            ValueError: As `encode_texts`.
        """
        check_texts(token_ids, kind)
        limit = self.config.text.length(kind)
        if token_ids.shape[1] > limit and overflow != "error" and len(token_ids):
            ends = self.text.ends(token_ids)
            if max(ends) > limit:
                if overflow == "windows":
                    return self._windowed(token_ids, kind, tokens=tokens)
                token_ids = truncate(token_ids, limit, self.config.text.eos_id)
            token_ids = token_ids[:, :limit]
        shifted = {} if start is None else {"start": start}  # towers of one's own need not know it
        features = self.text(token_ids, kind, tokens=tokens, **shifted)
        project = self.text_projections[kind if kind in self.text_projections else "caption"]
        embedding = F.normalize(project(features.pooled), dim=-1)
        if not tokens:
            return TextEncoding(embedding, None, None)
        assert features.tokens is not None
        return TextEncoding(embedding, *features.packing.pad(project(features.tokens)))

    def image_set(self, image: ImageEncoding) -> tuple[Float[Tensor, "B S E"], Bool[Tensor, "B S"]]:
        """Return the token set of encoded pictures: patches, or the whole image's embedding and refined patches.

        FineLIP's (arXiv:2504.01916, section 3): the class token stands first and is not refined.
        """
        assert image.dense is not None
        if self.config.refine is None:
            return F.normalize(image.dense, dim=-1), image.mask
        refined = F.normalize(self.image_refiner(image.dense, image.mask), dim=-1)
        tokens = torch.cat([image.embedding[:, None], refined], dim=1)
        return tokens, _all_real(tokens)

    def text_set(self, text: TextEncoding) -> tuple[Float[Tensor, "B S E"], Bool[Tensor, "B S"]]:
        """Return the token set of encoded texts: tokens, or refined tokens and the whole text's embedding.

        FineLIP's: the end-of-text token stands last and is not refined; padding is never seen.
        """
        assert text.dense is not None and text.mask is not None
        if self.config.refine is None:
            return F.normalize(text.dense, dim=-1), text.mask
        count = text.mask.sum(dim=1, keepdim=True)
        column = torch.arange(text.mask.shape[1], device=text.mask.device)
        refined = F.normalize(self.text_refiner(text.dense, column < (count - 1).clamp(min=1)), dim=-1)
        tokens = torch.cat([refined, text.embedding[:, None]], dim=1)
        return tokens, _all_real(tokens)

    def _image(self, pixels: Pixels, *, dense: bool) -> ImageEncoding:
        features = self.vision(pixels, dense=dense)
        embedding = F.normalize(self.image_projection(features.pooled), dim=-1)
        patches = None if features.patches is None else self.image_projection(features.patches)
        return ImageEncoding(embedding, patches, features.mask, features.grid)

    def _windowed(self, token_ids: Tensor, kind: Kind, *, tokens: bool) -> TextEncoding:
        config = self.config.text
        limit = config.length(kind)
        windows: Windows = split_windows(token_ids, limit, config.eos_id, start=config.start, pad_id=config.pad_id)
        ids = windows.token_ids
        if config.pooling == "last":  # such a tower reads its padding, so every window has all of it
            ids = F.pad(ids, (0, limit - ids.shape[1]), value=config.pad_id)
        parts = self.text_encoding(ids, kind, tokens=tokens)
        embedding = windows.merge_embeddings(parts.embedding)
        if parts.dense is None:
            return TextEncoding(embedding, None, None)
        return TextEncoding(embedding, *windows.merge_tokens(parts.dense))

    def _regions(self, image: ImageEncoding, batch: Batch) -> Float[Tensor, "R E"] | None:
        """Embed what each box shows. None if the batch has no boxes."""
        if batch.boxes is None:
            return None
        assert image.dense is not None and batch.region_image is not None
        return F.normalize(pool_regions(image.dense, image.grid, batch.boxes, batch.region_image), dim=-1)

    def _phrases(self, groups: Mapping[str, TextRows]) -> dict[str, TextEmbeddings]:
        """Embed all groups of phrases in one pass, each distinct text once: they repeat much among hard negatives."""
        phrases = {name: rows for name, rows in groups.items() if _is_plain_phrase(rows)}
        if not phrases:
            return {}
        embeddings = self._distinct(*(rows.ids for rows in phrases.values()))
        return {
            name: TextEmbeddings(embedding, rows.owner, rows.of, rows.key)
            for (name, rows), embedding in zip(phrases.items(), embeddings, strict=True)
        }

    def _embedded(self, rows: TextRows) -> TextEmbeddings:
        """Embed one group of texts."""
        tokens = rows.tokens and self.config.tokens != "none"
        text = self.text_encoding(rows.ids, rows.kind, tokens=tokens, start=rows.start)
        sets = self.text_set(text) if tokens else (None, None)
        return TextEmbeddings(text.embedding, rows.owner, rows.of, rows.key, *sets)

    def _distinct(self, *token_ids: Tensor) -> list[Tensor]:
        """Embed the phrases of several tensors, each distinct one once."""
        widest = max(ids.shape[1] for ids in token_ids)
        fill = self.config.text.pad_id
        rows = torch.cat([F.pad(ids, (0, widest - ids.shape[1]), value=fill) for ids in token_ids])
        distinct, inverse = torch.unique(rows, dim=0, return_inverse=True)
        embeddings = self.encode_texts(distinct, "phrase")
        return list(embeddings.index_select(0, inverse).split([len(ids) for ids in token_ids]))


def _is_plain_phrase(rows: TextRows) -> bool:
    return rows.kind == "phrase" and not rows.tokens and rows.start is None


def _projection(width: int, embed_width: int, *, bias: bool) -> nn.Linear:
    linear = nn.Linear(width, embed_width, bias=bias)
    nn.init.normal_(linear.weight, std=width**-0.5)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def _all_real(tokens: Tensor) -> Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


def _check(config: ModelConfig) -> None:
    """Refuse configs that contradict themselves."""
    if not config.vision.projection and config.vision.width != config.embed_width:
        raise ValueError(
            f"embed_width is {config.embed_width}, the picture tower's width {config.vision.width}, with no"
            " projection between them. Make them equal, or --set model.vision.projection=true."
        )
    if config.tokens == "refined" and config.refine is None:
        raise ValueError("tokens is 'refined' and refine is None. Give a RefineConfig, or --set model.tokens=raw.")
    unknown = set(config.text.own_projection) - set(get_args(Kind)) | {"caption"} & set(config.text.own_projection)
    if unknown:
        raise ValueError(f"own_projection holds {sorted(unknown)}. It may hold: long_caption, phrase.")
    if config.vision.dense == "value_path" and config.vision.pooling != "attention":
        way = "Use --set model.vision.pooling=attention."
        raise ValueError(f"vision.dense is 'value_path', which reads the weights of an attention pool. {way}")
    odd_image = config.vision.tower == "transformer" and config.vision.pooling not in ("class", "attention")
    odd_text = config.text.tower == "transformer" and config.text.pooling in ("class", "mean")
    if odd_image or odd_text:
        raise ValueError(
            f"Pooling is '{config.vision.pooling}' for pictures and '{config.text.pooling}' for texts."
            " Pictures take class or attention, texts first_eos, last or attention."
        )


def _check_widths(config: ModelConfig, image: ImageTower, language: LanguageTower) -> None:
    for name, configured, actual in (
        ("vision", config.vision.width, image.width),
        ("text", config.text.width, language.width),
    ):
        if configured != actual:
            raise ValueError(
                f"The {name} tower is {actual} wide, config.{name}.width is {configured}. Make them equal."
            )
