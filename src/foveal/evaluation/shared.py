"""One encoding for all benchmarks: pictures and texts that several of them ask about are encoded once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..encoder import EncodedImages, EncodedTexts, Encoder
from ..encoder.scores import Score
from ..types import Box, Kind
from .encoded import Encodes, Loaded

_Key = Path | bytes
_WHOLE = "whole"


@dataclass
class Shared:
    """An encoder that remembers what it made of each picture, box and text.

    Token sets are too large to keep: where they are asked for, everything is encoded anew.

    Attributes:
        encoder: Makes it.
        boxes: Boxes that will be asked for, by picture, so that one pass gives those of all benchmarks.
    """

    encoder: Encodes
    boxes: Mapping[_Key, Sequence[Box]] = field(default_factory=dict)
    _images: dict[tuple[str, _Key], Tensor] = field(default_factory=dict)
    _regions: dict[tuple[_Key, Box], Tensor] = field(default_factory=dict)
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
        """Everything asked about each picture; new ones in one pass."""
        if tokens or parts or proposals or not isinstance(pictures, Loaded):
            return self.encoder.encode_images_fully(pictures, boxes, tokens, parts=parts, proposals=proposals)
        if boxes is None and (self._cropped or not self.boxes):
            self._encode_whole(pictures)
            return EncodedImages(self._embeddings(pictures, _WHOLE))
        self._encode_boxes(pictures, boxes or [()] * len(pictures))
        embedding = self._embeddings(pictures, self._boxed)
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
        """Everything asked about each text; new ones in one pass."""
        if tokens or parts or phrases:
            return self.encoder.encode_texts_fully(texts, kind, tokens, parts, phrases)
        new = [text for text in dict.fromkeys(texts) if (kind, text) not in self._texts]
        if new:
            encoded = self.encoder.encode_texts_fully(new, kind).embedding
            self._texts |= {(kind, text): row for text, row in zip(new, encoded, strict=True)}
        return EncodedTexts(torch.stack([self._texts[kind, text] for text in texts]))

    @property
    def _cropped(self) -> bool:
        """True if a picture is seen otherwise where boxes are asked for, see `Encoder`."""
        return isinstance(self.encoder, Encoder) and self.encoder.transform.mode == "crop"

    @property
    def _boxed(self) -> str:
        return "squashed" if self._cropped else _WHOLE

    def _embeddings(self, pictures: Loaded, how: str) -> Tensor:
        return torch.stack([self._images[how, place] for place in pictures.places])

    def _encode_whole(self, pictures: Loaded) -> None:
        new = tuple(place for place in pictures.places if (_WHOLE, place) not in self._images)
        if new:
            encoded = self.encoder.encode_images_fully(Loaded(new, pictures.load)).embedding
            self._images |= {(_WHOLE, place): row for place, row in zip(new, encoded, strict=True)}

    def _encode_boxes(self, pictures: Loaded, boxes: Sequence[Sequence[Box]]) -> None:
        """Encode pictures that are new or have a new box, with all boxes that any benchmark will ask for."""
        pending = {
            place: tuple(dict.fromkeys((*of_image, *self.boxes.get(place, ()))))
            for place, of_image in zip(pictures.places, boxes, strict=True)
            if (self._boxed, place) not in self._images or any((place, box) not in self._regions for box in of_image)
        }
        if not pending:
            return
        encoded = self.encoder.encode_images_fully(Loaded(tuple(pending), pictures.load), list(pending.values()))
        assert encoded.regions is not None
        for (place, of_image), row, regions in zip(pending.items(), encoded.embedding, encoded.regions, strict=True):
            self._images[self._boxed, place] = row
            self._regions |= {(place, box): region for box, region in zip(of_image, regions, strict=True)}
