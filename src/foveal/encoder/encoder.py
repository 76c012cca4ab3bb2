"""The encoder: any number of pictures and texts in, plain tensors out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from itertools import repeat, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from ..data.images import ImageTransform, Units, View
from ..data.texts import sentences
from ..data.tokenizer import Tokenizer
from ..flow import batched, in_order
from ..models import weights
from ..models.dense_maps import Attention, dense_encoding
from ..models.dual_encoder import DualEncoder, ImageEncoding, TextEncoding
from ..models.inference import InferenceCopies
from ..models.layouts import family
from ..models.regions import pool_regions
from ..models.windows import Overflow
from ..types import Box, Kind, PatchedPixels, Segmentation, TokenSets
from .checkpoint import read
from .encodings import EncodedImages, EncodedTexts
from .phrases import phrases_of
from .pictures import Picture, check_many, readable, upright_size
from .prompts import PLAIN, ensemble, filled
from .proposals import REGIONS, propose_regions
from .protocol import Protocol
from .scores import Score, compare, find_score, scores_of
from .segmenting import NONE, PLAINLY, Placed, Segmenting, best_queries, queries_of

Pixels = Float[Tensor, "B 3 Y X"] | PatchedPixels
T = TypeVar("T")

_PATIENCE = 3.0  # seconds of work before a bar appears by itself


class Encoder:
    """Embeds any number of pictures and texts, batch by batch, without gradients. Gives float32 on the CPU.

    Pictures are paths, bytes, PIL pictures, arrays or tensors, see `pictures.Picture`; lists, iterators and
    generators of any length are read batch by batch, and the next batch is decoded while the model computes.
    """

    def __init__(
        self,
        model: DualEncoder,
        tokenizer: Tokenizer,
        transform: ImageTransform,
        *,
        protocol: Protocol | None = None,
        batch_size: int = 64,
        dtype: torch.dtype = torch.float32,
        overflow: Overflow = "truncate",
        workers: int = 2,
        progress: bool | None = None,
        allow_urls: bool = False,
    ) -> None:
        """Tie a model to its tokenizer and image transform.

        Args:
            model: On the device where it shall run.
            tokenizer: The model's.
            transform: Decodes and prepares pictures. Where boxes are asked for, a picture that it would crop is
                squashed instead, as FG-CLIP does, so that no box is cut off.
            protocol: Where the model comes from and how it was trained. None: what transform and tokenizer say.
            batch_size: Pictures at once; four times as many texts.
            dtype: torch.bfloat16 runs a copy of the model, whose weights are cast once, under autocast. The copy is
                made anew when weights have changed; the model itself keeps its own.
            overflow: What happens to texts beyond the model's length.
            workers: Threads that decode pictures while the model computes.
            progress: Show a bar on standard error. None: on a terminal, when work takes seconds.
            allow_urls: Pictures may be https addresses, which are fetched.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.transform = transform
        self.protocol = protocol or Protocol.of(transform, tokenizer, family(model.config))
        self.batch_size = batch_size
        self.dtype = dtype
        self.overflow = overflow
        self.workers = workers
        self.progress = progress
        self.allow_urls = allow_urls
        self._copies: InferenceCopies[DualEncoder] = (
            InferenceCopies()
        )  # shared by encoders of one model, see `decoding`

    @classmethod
    def open(cls, folder: Path, *, batch_size: int = 64, progress: bool | None = None) -> "Encoder":
        """Return the encoder of a model folder or checkpoint file on this machine. `foveal.load` takes more.

        The model runs on the GPU if there is one.

        Args:
            folder: What a training or `save` wrote, or a public checkpoint, see `checkpoint.read`.
            batch_size: Pictures at once; four times as many texts.
            progress: Show a bar on standard error. None: on a terminal, when work takes seconds.

        Raises:
            ValueError: If there is no whole model.
        """
        checkpoint = read(folder)
        model = checkpoint.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        transform = checkpoint.protocol.transform(model.config.vision)
        options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
        return cls(model, checkpoint.tokenizer, transform, protocol=checkpoint.protocol, **options)

    def save(self, folder: Path | str) -> None:
        """Write a model folder that `foveal.load` reads: weights, config, protocol, and the tokenizer if it has one.

        Weights are kept bit for bit in the precision that they have.
        """
        folder = Path(folder)
        self.protocol.write(folder)
        self.tokenizer.save(folder)
        weights.save(self.model, folder)

    def decoding(self, *, scaled: bool) -> "Encoder":
        """Return this encoder with scaled decoding of JPEGs on or off. The model is shared.

        Args:
            scaled: See `ImageTransform.scaled_decoding`. On is fast, as searching, indexing and training have it; off
                gives the pixels of the published code, as evaluation does.
        """
        changed = copy(self)
        changed.transform = replace(self.transform, scaled_decoding=scaled)
        return changed

    @property
    def device(self) -> torch.device:
        """Device that the model computes on."""
        return self.model.log_scale.device

    @property
    def image_size(self) -> int:
        """Side of the pictures that the model takes, in pixels."""
        return self.model.config.vision.image_size

    @property
    def scores(self) -> Mapping[str, Score]:
        """Scores by which the model can compare whole pictures with texts, by name."""
        return scores_of(self.model)

    @property
    def embed_width(self) -> int:
        """Width of the embeddings (E)."""
        return self.model.config.embed_width

    def encode_images(self, pictures: Iterable[Picture]) -> Float[Tensor, "N E"]:
        """Return one embedding per picture."""
        return self.encode_images_fully(pictures).embedding

    def encode_texts(self, texts: Iterable[str], kind: Kind = "caption") -> Float[Tensor, "N E"]:
        """Return one embedding per text.

        Args:
            texts: Any number.
            kind: What sort of text they are; chooses positions and projection.
        """
        return self.encode_texts_fully(texts, kind).embedding

    def encode_regions(
        self, pictures: Iterable[Picture], boxes: Iterable[Sequence[Box]], units: Units = "fractions"
    ) -> tuple[Float[Tensor, "_r E"], ...]:
        """Return one embedding per box, picture by picture. They compare with texts of kind "phrase".

        Args:
            pictures: Any number.
            boxes: Of each picture, (x0, y0, x1, y1) each.
            units: Whether boxes are in fractions or in pixels of their picture, turned upright.

        Raises:
            ValueError: As `encode_images_fully`.
        """
        regions = self.encode_images_fully(pictures, boxes, units=units).regions
        assert regions is not None
        return regions

    def encode_patches(self, pictures: Iterable[Picture]) -> Float[Tensor, "N Y X E"] | list[Float[Tensor, "_y _x E"]]:
        """Return one embedding per patch, in rows and columns.

        Returns:
            One tensor; a list of tensors if pictures have different grids (NaFlex). They compare with texts of kind
            "phrase".
        """
        patches = self.encode_images_fully(pictures, patches=True).patches
        assert patches is not None
        if len({grid.shape for grid in patches}) > 1:
            return list(patches)
        side = self.model.config.vision.grid
        return torch.stack(patches) if patches else torch.zeros(0, side, side, self.embed_width)

    def encode_tokens(
        self,
        *,
        pictures: Iterable[Picture] | None = None,
        texts: Iterable[str] | None = None,
        kind: Kind = "caption",
        refined: bool | None = None,
    ) -> tuple[Float[Tensor, "N S E"], Bool[Tensor, "N S"]]:
        """Return the token set of each picture, or of each text, and which members are real.

        Args:
            pictures: Give these or texts.
            texts: Give these or pictures.
            kind: Of the texts.
            refined: Few tokens refined from many (FineLIP), or all patches or tokens. None: refined if the model can.

        Raises:
            ValueError: If not one of pictures and texts is given, or the model does not refine.
        """
        if (pictures is None) == (texts is None):
            raise ValueError("Give pictures or texts, one of them: encode_tokens(pictures=[...]).")
        if refined and self.model.config.refine is None:
            raise ValueError("This model refines no tokens. Leave out refined=True for all of them.")
        extras = _Extras(tokens=True, raw=refined is False)
        encoded: EncodedImages | EncodedTexts
        if pictures is not None:
            encoded = self._all_images(pictures, None, "fractions", extras)
        else:
            assert texts is not None
            encoded = self._all_texts(texts, kind, extras)
        assert encoded.tokens is not None and encoded.token_mask is not None
        return encoded.tokens, encoded.token_mask

    def similarity(
        self,
        texts: Iterable[str],
        pictures: Iterable[Picture],
        mode: str = "global",
        kind: Kind = "caption",
    ) -> Float[Tensor, "T N"]:
        """Return how well every text fits every picture.

        Args:
            texts: Any number, one a row.
            pictures: Any number, one a column.
            mode: "global" (cosine of whole embeddings), "late" (token by token, both directions), "fused" (FineLIP's
                mix of the two), "parts" (each sentence against its best patch, and the cosine), "region" (each phrase
                against its best region), or the name of a learned part of the model: one of `scores`.
            kind: Of the texts.

        Returns:
            Numbers in [-1, 1].

        Raises:
            ValueError: If the model has no such score.
        """
        score = find_score(mode, self.scores)
        tokens, needs = "tokens" in score.needs, score.needs
        images = self.encode_images_fully(
            pictures, tokens=tokens, parts="patches" in needs, proposals="regions" in needs
        )
        encoded = self.encode_texts_fully(texts, kind, tokens, "sentences" in needs, "phrases" in needs)
        return compare(encoded, images, score, self.device)

    def text_kinds(self, texts: Sequence[str]) -> list[Kind]:
        """Return what each text is read as where nobody says: a long caption if a caption's positions do not hold it.

        A caption, too, if the model reads long captions as it reads captions.
        """
        config = self.model.config.text
        if config.long_context is None and "long_caption" not in config.own_projection:
            return ["caption"] * len(texts)
        most = config.length("caption")
        return ["long_caption" if count > most else "caption" for count in self.tokenizer.count(texts)]

    def classify(
        self,
        pictures: Iterable[Picture] | Float[Tensor, "N E"],
        names: Sequence[str],
        templates: Sequence[str] = PLAIN,
        kind: Kind = "caption",
    ) -> Float[Tensor, "N C"]:
        """Return which of several classes each picture, or each region, shows.

        CLIP's zero-shot classification (arXiv:2103.00020, section 3.1): names are put into prompts, the embeddings of
        a class's prompts are averaged, and the classes compete.

        Args:
            pictures: Pictures, or the embeddings of pictures or regions: `classify(torch.cat(regions), names,
                kind="phrase")`.
            names: Of the classes.
            templates: Prompts with {} for the name.
            kind: How the prompts are encoded; "phrase" for regions.

        Returns:
            Probabilities, which sum to 1 over the classes.

        Raises:
            ValueError: If there is no class, or a template has no place for the name.
        """
        classes = self.encode_classes(names, templates, kind)
        embedded = isinstance(pictures, Tensor) and pictures.ndim == 2
        embeddings = pictures if embedded else self.encode_images(pictures)
        assert isinstance(embeddings, Tensor)
        return (self.scale(kind) * embeddings.float().cpu() @ classes.T).softmax(dim=1)

    def encode_classes(
        self, names: Sequence[str], templates: Sequence[str] = PLAIN, kind: Kind = "phrase"
    ) -> Float[Tensor, "C E"]:
        """Return one embedding per class: the mean of its prompts'.

        Args:
            names: Of the classes.
            templates: Prompts with {} for the name.
            kind: How the prompts are encoded.

        Raises:
            ValueError: If there is no class, or a template has no place for the name.
        """
        prompts = filled([templates] if isinstance(templates, str) else templates, names)
        if not prompts:
            raise ValueError("There are no classes to choose from. Give names, and a template at least.")
        return ensemble(self.encode_texts(prompts, kind).unflatten(0, (len(names), -1)))

    def scale(self, kind: Kind = "caption") -> float:
        """Return the model's inverse temperature; for phrases that of regions, if it has one of its own."""
        of_regions = kind == "phrase" and self.model.config.own_scales
        log_scale = self.model.log_region_scale if of_regions else self.model.log_scale
        return float(log_scale.detach().float().exp())

    def segment(
        self,
        pictures: Iterable[Picture],
        names: Sequence[str],
        *,
        background: Sequence[str] = (),
        templates: Sequence[str] = ("{}",),
        settings: Segmenting = PLAINLY,
    ) -> list[Segmentation]:
        """Return what every pixel shows, without training: similarities of dense features and names.

        Args:
            pictures: Any number.
            names: That compete for every pixel. A name may be several, "dog|puppy": the best of them counts.
            background: Names of what is background: pixels that these win have no label.
            templates: Prompts with {} for the name.
            settings: How dense features are read, and pixels labelled.

        Raises:
            ValueError: If there is no name, one comes twice, a picture is broken, or the model has no such features.
        """
        queries, owner = queries_of(names, background)
        texts = self.encode_classes(queries, templates)
        scale = self.scale("phrase") if settings.scale is None else settings.scale
        transform = _without_crop(self.transform)
        segmentations = []
        for picture in check_many(pictures):
            photo = readable(picture, allow_urls=self.allow_urls)
            views, canvas = settings.views(photo, transform)
            maps = self._maps([view.pixels for view in views], settings.attention)
            placed = [Placed(cells @ texts.T, view.place) for cells, view in zip(maps, views, strict=True)]
            best, confidence = best_queries(placed, canvas, upright_size(photo), scale)
            labels = owner[best].masked_fill(confidence < settings.threshold, NONE)
            segmentations.append(Segmentation(labels, confidence, tuple(names)))
        return segmentations

    def _maps(self, views: Sequence[NDArray[np.uint8]], attention: Attention) -> list[Float[Tensor, "_y _x E"]]:
        """Return the unit-length dense map of each view; all views have one size."""
        maps: list[Tensor] = []
        for start in range(0, len(views), self.batch_size):
            batch = [View(pixels) for pixels in views[start : start + self.batch_size]]
            with torch.inference_mode(), self._precision():
                encoding = dense_encoding(self.model, _to(self.transform.stack(batch), self.device), attention)
                maps += _grids(encoding)
        return maps

    def encode_images_fully(
        self,
        pictures: Iterable[Picture],
        boxes: Iterable[Sequence[Box]] | None = None,
        tokens: bool = False,
        patches: bool = False,
        units: Units = "fractions",
        parts: bool = False,
        proposals: bool = False,
    ) -> EncodedImages:
        """Return everything asked about each picture, in one pass.

        Args:
            pictures: Any number.
            boxes: Of each picture, (x0, y0, x1, y1) each. None: no regions are asked for.
            tokens: Give token sets too.
            patches: Give patches too.
            units: Whether boxes are in fractions or in pixels of their picture, turned upright.
            parts: Token sets are all patches, which similarity "parts" compares with sentences.
            proposals: Token sets are what proposed boxes show, which similarity "region" compares with phrases.

        Raises:
            ValueError: If a picture cannot be read, a box is none, or the numbers of pictures and boxes differ.
        """
        if not proposals:
            return self._all_images(pictures, boxes, units, _Extras(tokens=tokens or parts, patches=patches, raw=parts))
        encoded = self._all_images(pictures, boxes, units, _Extras(patches=True))
        regions = [propose_regions(grid[None], REGIONS)[0][0] for grid in encoded.patches or ()]
        sets = _padded_sets(regions, self.embed_width)
        return EncodedImages(encoded.embedding, encoded.regions, *sets, encoded.patches if patches else None)

    def encode_texts_fully(
        self,
        texts: Iterable[str],
        kind: Kind = "caption",
        tokens: bool = False,
        parts: bool = False,
        phrases: bool = False,
    ) -> EncodedTexts:
        """Return everything asked about each text, in one pass.

        Args:
            texts: Any number.
            kind: What sort of text they are; chooses positions and projection.
            tokens: Give token sets too.
            parts: Token sets are the sentences of each text, read as phrases: similarity "parts" compares them.
            phrases: Token sets are the phrases of each text: similarity "region" compares them.

        Raises:
            ValueError: If a text is too long and `overflow` is "error".
        """
        if not (parts or phrases):
            return self._all_texts(texts, kind, _Extras(tokens=tokens))
        texts = list(texts)
        split = [(phrases_of(text) if phrases else sentences(text)) or [text] for text in texts]
        return EncodedTexts(self.encode_texts(texts, kind), *self._phrase_sets(split))

    def _phrase_sets(self, split: Sequence[Sequence[str]]) -> TokenSets:
        """Return sets of texts as token sets, each distinct text embedded once, as a phrase."""
        row = {part: index for index, part in enumerate(dict.fromkeys(part for parts in split for part in parts))}
        embedding = self.encode_texts(list(row), "phrase")
        return _padded_sets([embedding[[row[part] for part in parts]] for parts in split], self.embed_width)

    def _all_images(
        self, pictures: Iterable[Picture], boxes: Iterable[Sequence[Box]] | None, units: Units, extras: "_Extras"
    ) -> EncodedImages:
        parts = []
        for pixels, batch_boxes in self._batches(check_many(pictures), boxes, units):
            with torch.inference_mode(), self._precision():
                parts.append(self._images(pixels, batch_boxes if boxes is not None else None, extras))
        return EncodedImages(
            embedding=_join([part.embedding for part in parts], self.embed_width),
            regions=_flat(part.regions for part in parts) if boxes is not None else None,
            patches=_flat(part.patches for part in parts) if extras.patches else None,
            **(_join_sets(parts, self.embed_width) if extras.tokens else {}),
        )

    def _all_texts(self, texts: Iterable[str], kind: Kind, extras: "_Extras") -> EncodedTexts:
        if isinstance(texts, str):
            raise ValueError(f"Texts come as a list, not as one string: {texts[:40]!r}.")  # noqa: TRY004
        parts = []
        with self._bar(texts, f"{kind} texts") as bar:
            for batch in batched(texts, 4 * self.batch_size):
                with torch.inference_mode(), self._precision():
                    parts.append(self._texts(batch, kind, extras))
                bar.update(len(batch))
        return EncodedTexts(
            embedding=_join([part.embedding for part in parts], self.embed_width),
            **(_join_sets(parts, self.embed_width) if extras.tokens else {}),
        )

    def _images(self, pixels: Pixels, boxes: Sequence[Sequence[Box]] | None, extras: "_Extras") -> EncodedImages:
        if boxes is None and not (extras.tokens or extras.patches):
            return EncodedImages(_plain(self._ready.encode_images(pixels)))
        image = self._ready.image_encoding(pixels)
        assert image.dense is not None
        tokens, mask = self._set(image, extras) if extras.tokens else (None, None)
        regions = None
        if boxes is not None:
            counts = [len(picture_boxes) for picture_boxes in boxes]
            owner = torch.arange(len(boxes)).repeat_interleave(torch.tensor(counts))
            flat = torch.tensor([box for picture_boxes in boxes for box in picture_boxes]).reshape(-1, 4)
            pooled = pool_regions(image.dense, image.grid, flat.to(self.device), owner.to(self.device))
            regions = _plain(F.normalize(pooled, dim=-1)).split(counts)
        return EncodedImages(_plain(image.embedding), regions, tokens, mask, _grids(image) if extras.patches else None)

    def _texts(self, texts: Sequence[str], kind: Kind, extras: "_Extras") -> EncodedTexts:
        length = self.model.config.text.length(kind)
        keep = "keep" if self.overflow == "windows" else self.overflow
        ids = self.tokenizer.encode(texts, length, keep).to(self.device)
        if not extras.tokens:
            return EncodedTexts(_plain(self._ready.encode_texts(ids, kind, self.overflow)))
        text = self._ready.text_encoding(ids, kind, self.overflow)
        return EncodedTexts(_plain(text.embedding), *self._set(text, extras))

    def _set(self, encoding: ImageEncoding | TextEncoding, extras: "_Extras") -> tuple[Tensor, Tensor]:
        """Return the token set of one pass: the model's own set, or all tokens."""
        if extras.raw:
            assert encoding.dense is not None and encoding.mask is not None
            tokens, mask = F.normalize(encoding.dense, dim=-1), encoding.mask
        elif isinstance(encoding, ImageEncoding):
            tokens, mask = self._ready.image_set(encoding)
        else:
            tokens, mask = self._ready.text_set(encoding)
        return _plain(tokens), mask.cpu()

    def _batches(
        self, pictures: Iterable[Picture], boxes: Iterable[Sequence[Box]] | None, units: Units
    ) -> Iterator[tuple[Pixels, list[list[Box]]]]:
        """Yield batches on the device; the next one is decoded while the model computes."""
        transform = self.transform if boxes is None else _without_crop(self.transform)

        def view(pair: tuple[Picture, Sequence[Box]]) -> View:
            picture, picture_boxes = pair
            return transform(readable(picture, allow_urls=self.allow_urls), picture_boxes, units=units)

        decoded = in_order(ThreadPoolExecutor(self.workers), view, _paired(pictures, boxes), ahead=self.batch_size)
        with closing(decoded), self._bar(pictures, "pictures") as bar:
            for views in batched(decoded, self.batch_size):
                batch_boxes = [[box for box in prepared.boxes if box is not None] for prepared in views]
                yield _to(transform.stack(views), self.device), batch_boxes
                bar.update(len(views))

    def _bar(self, work: Iterable[object], label: str) -> "tqdm[Any]":
        return tqdm(
            total=len(work) if isinstance(work, Sized) else None,
            desc=label,
            disable=None if self.progress is None else not self.progress,
            delay=_PATIENCE if self.progress is None else 0,
            leave=False,
        )

    @property
    def _ready(self) -> DualEncoder:
        """The model as it computes."""
        return self._copies.of(self.model, self.dtype)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


@dataclass(frozen=True)
class _Extras:
    """Outputs of a pass beside embeddings and regions: token sets (all tokens if raw), patches."""

    tokens: bool = False
    raw: bool = False
    patches: bool = False


def _paired(
    pictures: Iterable[Picture], boxes: Iterable[Sequence[Box]] | None
) -> Iterator[tuple[Picture, Sequence[Box]]]:
    """Yield every picture with its boxes.

    Raises:
        ValueError: If their numbers differ: at once where they are known.
    """
    if boxes is None:
        yield from zip(pictures, repeat(()))
        return
    if isinstance(pictures, Sized) and isinstance(boxes, Sized) and len(pictures) != len(boxes):
        raise ValueError(f"There are {len(pictures)} pictures and boxes for {len(boxes)}. Give one set per picture.")
    for number, (picture, picture_boxes) in enumerate(zip_longest(pictures, boxes)):
        if picture is None or picture_boxes is None:
            raise ValueError(
                f"{'Pictures' if picture is None else 'Boxes'} end after {number}. Give a set per picture."
            )
        yield picture, picture_boxes


def _without_crop(transform: ImageTransform) -> ImageTransform:
    """Return the transform for pictures with boxes: nothing is cut off, so every box survives."""
    return replace(transform, mode="squash" if transform.mode == "crop" else transform.mode, visible=0.0)


def _to(pixels: Pixels, device: torch.device) -> Pixels:
    if isinstance(pixels, Tensor):
        return pixels.to(device)
    return PatchedPixels(pixels.values.to(device), pixels.mask.to(device), pixels.grid.to(device))


def _plain(rows: Tensor) -> Tensor:
    """Return float32 on the CPU, whatever the model computed in; of unit length after coarser arithmetic too."""
    return (rows if rows.dtype == torch.float32 else F.normalize(rows.float(), dim=-1)).cpu()


def _grids(image: ImageEncoding) -> tuple[Tensor, ...]:
    """Return patches of each picture in rows and columns, without padding."""
    assert image.dense is not None
    patches, grids = _plain(F.normalize(image.dense, dim=-1)), image.grid.tolist()
    rows = zip(patches, grids, strict=True)
    return tuple(padded[: high * wide].reshape(high, wide, -1) for padded, (high, wide) in rows)


def _flat(parts: Iterable[tuple[Tensor, ...] | None]) -> tuple[Tensor, ...]:
    """Return one tensor per picture, made outside inference mode so that callers may train on it."""
    return tuple(rows.clone() for part in parts for rows in part or ())


def _join(parts: Sequence[Tensor], width: int) -> Float[Tensor, "N E"]:
    """Join all batches in one tensor, made outside inference mode so that callers may train on it."""
    return torch.cat([torch.zeros(0, width), *parts])


def _padded_sets(sets: Sequence[Tensor], width: int) -> TokenSets:
    """Return token sets of any sizes, padded to the largest, and which members are real."""
    tokens = torch.zeros(len(sets), max(map(len, sets), default=0), width)
    mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    for index, members in enumerate(sets):
        tokens[index, : len(members)], mask[index, : len(members)] = members, True
    return tokens, mask


def _join_sets(parts: Sequence[EncodedImages] | Sequence[EncodedTexts], width: int) -> dict[str, Tensor]:
    """Join the token sets of all batches, padded to the largest."""
    sets = [(part.tokens, part.token_mask) for part in parts]
    most = max((tokens.shape[1] for tokens, _ in sets if tokens is not None), default=0)
    tokens = torch.zeros(sum(len(part.embedding) for part in parts), most, width)
    mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    row = 0
    for batch, real in sets:
        assert batch is not None and real is not None
        tokens[row : row + len(batch), : batch.shape[1]] = batch
        mask[row : row + len(batch), : batch.shape[1]] = real
        row += len(batch)
    return {"tokens": tokens, "token_mask": mask}
