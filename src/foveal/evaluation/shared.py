"""One encoding for all benchmarks: pictures and texts that several of them ask about are encoded once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ..encoder import EncodedImages, EncodedTexts, Encoder
from ..encoder.scores import Score
from ..encoder.segmenting import Segmenting
from ..types import Box, Kind, Segmentation
from .cache import Cache, Rows, picture_keys, text_key
from .encoded import Encodes, Loaded

T = TypeVar("T")
_Place = Path | bytes
_WHOLE, _SQUASHED = "whole", "squashed"


@dataclass
class Shared:
    """An encoder that remembers what it made of each picture, box and text.

    Token sets are too large to keep: where they are asked for, everything is encoded anew.

    Attributes:
        encoder: Makes it.
        boxes: Boxes that will be asked for, by picture, so that one pass gives those of all benchmarks.
        cache: Where encodings are kept beyond this call. None: nowhere.
    """

    encoder: Encodes
    boxes: Mapping[_Place, Sequence[Box]] = field(default_factory=dict)
    cache: Cache | None = None
    _images: dict[tuple[str, _Place], Tensor] = field(default_factory=dict)
    _regions: dict[tuple[_Place, Box], Tensor] = field(default_factory=dict)
    _texts: dict[tuple[Kind, str], Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where to compare what it gives."""
        return self.encoder.device

    @property
    def image_size(self) -> int:
        """Side of the pictures that it sees, in pixels."""
        return self.encoder.image_size

    @property
    def scores(self) -> Mapping[str, Score]:
        """How it can compare whole pictures with texts, by name."""
        return self.encoder.scores

    def decoding(self, *, scaled: bool) -> "Shared":
        """Return the same, which goes on remembering, with scaled decoding of JPEGs on or off."""
        self.encoder = self.encoder.decoding(scaled=scaled)
        return self

    def encode_images_fully(
        self,
        pictures: Sequence[Path | bytes],
        boxes: Sequence[Sequence[Box]] | None = None,
        tokens: bool = False,
        *,
        parts: bool = False,
        proposals: bool = False,
    ) -> EncodedImages:
        """Return everything asked about each picture; new ones are encoded in one pass."""
        if tokens or parts or proposals or not isinstance(pictures, Loaded):
            return self.encoder.encode_images_fully(pictures, boxes, tokens, parts=parts, proposals=proposals)
        if boxes is None and (self._cropped or not self.boxes):
            new = {place: () for place in pictures.places if (_WHOLE, place) not in self._images}
            self._encode(pictures.load, new, _WHOLE, boxed=False)
            return EncodedImages(self._embeddings(pictures, _WHOLE))
        way = _SQUASHED if self._cropped else _WHOLE
        self._encode_boxes(pictures, boxes or [()] * len(pictures), way)
        embedding = self._embeddings(pictures, way)
        if boxes is None:
            return EncodedImages(embedding)
        rows = zip(pictures.places, boxes, strict=True)
        width = embedding.shape[1]
        regions = tuple(
            torch.stack([torch.zeros(width), *(self._regions[place, box] for box in of_image)])[1:]
            for place, of_image in rows
        )
        return EncodedImages(embedding, regions)

    def encode_texts_fully(
        self,
        texts: Sequence[str],
        kind: Kind = "caption",
        tokens: bool = False,
        parts: bool = False,
        phrases: bool = False,
    ) -> EncodedTexts:
        """Return everything asked about each text; new ones are encoded in one pass."""
        if tokens or parts or phrases:
            return self.encoder.encode_texts_fully(texts, kind, tokens, parts, phrases)
        new = [text for text in dict.fromkeys(texts) if (kind, text) not in self._texts]

        def encode(batch: Sequence[str]) -> list[Rows]:
            return [row[None] for row in self.encoder.encode_texts_fully(batch, kind).embedding]

        for text, (row,) in self._encoded(new, lambda text: [text_key(text, kind)], encode):
            self._texts[kind, text] = row
        return EncodedTexts(torch.stack([self._texts[kind, text] for text in texts]))

    def segment(
        self, pictures: Iterable[Path | bytes], names: Sequence[str], *, templates: Sequence[str], settings: Segmenting
    ) -> list[Segmentation]:
        """Return what every pixel shows; nothing of it is remembered.

        Raises:
            ValueError: If the encoder cannot do so.
        """
        if not isinstance(self.encoder, Encoder):
            raise ValueError(f"A {type(self.encoder).__name__} cannot label pixels. Give an encoder of `foveal.load`.")  # noqa: TRY004
        return self.encoder.segment(pictures, names, templates=templates, settings=settings)

    @property
    def _cropped(self) -> bool:
        """True if a picture is seen otherwise where boxes are asked for, see `Encoder`."""
        return isinstance(self.encoder, Encoder) and self.encoder.transform.mode == "crop"

    def _embeddings(self, pictures: Loaded, way: str) -> Tensor:
        return torch.stack([self._images[way, place] for place in pictures.places])

    def _encode_boxes(self, pictures: Loaded, boxes: Sequence[Sequence[Box]], way: str) -> None:
        """Encode pictures that are new or have a new box, with all boxes that any benchmark will ask for."""
        pending = {
            place: tuple(dict.fromkeys((*of_image, *self.boxes.get(place, ()))))
            for place, of_image in zip(pictures.places, boxes, strict=True)
            if (way, place) not in self._images or any((place, box) not in self._regions for box in of_image)
        }
        self._encode(pictures.load, pending, way, boxed=True)

    def _encode(
        self,
        load: Callable[[Path], Path | bytes],
        pending: Mapping[_Place, tuple[Box, ...]],
        way: str,
        *,
        boxed: bool,
    ) -> None:
        """Encode pictures and their boxes."""

        def encode(places: Sequence[_Place]) -> list[Rows]:
            boxes = [pending[place] for place in places] if boxed else None
            encoded = self.encoder.encode_images_fully(Loaded(tuple(places), load), boxes)
            regions = encoded.regions or [encoded.embedding[:0]] * len(places)
            return [torch.cat([row[None], of_image]) for row, of_image in zip(encoded.embedding, regions, strict=True)]

        def keys(place: _Place) -> list[bytes]:
            return picture_keys(load(place) if isinstance(place, Path) else place, way, pending[place])

        for place, (row, *regions) in self._encoded(list(pending), keys, encode):
            self._images[way, place] = row
            self._regions |= {(place, box): region for box, region in zip(pending[place], regions, strict=True)}

    def _encoded(
        self, items: Sequence[T], keys: Callable[[T], Sequence[bytes]], encode: Callable[[Sequence[T]], Sequence[Rows]]
    ) -> Iterable[tuple[T, Rows]]:
        """Return items with their embeddings: those that the cache has, and the others encoded."""
        if self.cache is not None:
            return self.cache.filled(items, keys, encode)
        return zip(items, encode(items) if items else (), strict=True)
