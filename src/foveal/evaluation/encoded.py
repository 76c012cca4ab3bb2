"""All pictures, boxes and texts of a benchmark, each encoded once, for however many tasks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..encoder import EncodedImages, EncodedTexts
from ..encoder.scores import SCORES, Score, find_score
from ..types import Box, Kind, Sample


@runtime_checkable
class Encodes(Protocol):
    """What evaluation needs of an encoder; `foveal.encoder.Encoder` is one."""

    @property
    def device(self) -> torch.device:
        """Where to compare what it gives."""

    @property
    def image_size(self) -> int:
        """Side of the pictures that it sees, in pixels."""

    def decoding(self, *, scaled: bool) -> "Encodes":
        """Return the same encoder with scaled decoding of JPEGs on or off."""

    @property
    def scores(self) -> Mapping[str, Score]:
        """How it can compare whole pictures with texts, by name."""

    def encode_images_fully(
        self,
        pictures: Sequence[Path | bytes],
        boxes: Sequence[Sequence[Box]] | None = None,
        tokens: bool = False,
        *,
        parts: bool = False,
        proposals: bool = False,
    ) -> EncodedImages:
        """Everything asked about each picture, in one pass."""

    def encode_texts_fully(
        self,
        texts: Sequence[str],
        kind: Kind = "caption",
        tokens: bool = False,
        parts: bool = False,
        phrases: bool = False,
    ) -> EncodedTexts:
        """Everything asked about each text, in one pass."""


@dataclass(frozen=True)
class Needs:
    """What a task needs encoded.

    Attributes:
        texts: By kind; duplicates cost nothing.
        regions: Every box of every sample.
        similarity: How whole pictures and texts are compared, which decides what else is encoded.
    """

    texts: dict[Kind, Iterable[str]] = field(default_factory=dict)
    regions: bool = False
    similarity: str = "global"


@dataclass(frozen=True)
class Encoded:
    """Samples and what an encoder makes of them.

    Attributes:
        samples: In the benchmark's order; several may show one picture.
        images: Of each distinct picture.
        picture: Which picture each sample shows.
        regions: Of every region, sample by sample.
        region_picture: Which picture each region lies in.
        texts: Of each distinct text, by kind.
        text_row: Where in `texts` a text stands.
        device: Where to compare.
        scores: How pictures and texts can be compared, by name.
    """

    samples: tuple[Sample, ...]
    images: EncodedImages
    picture: Int[Tensor, " N"]
    regions: Float[Tensor, "R E"] | None
    region_picture: Int[Tensor, " R"]
    texts: dict[Kind, EncodedTexts]
    text_row: dict[Kind, dict[str, int]]
    device: torch.device = field(default=torch.device("cpu"))
    scores: Mapping[str, Score] = field(default_factory=lambda: SCORES)

    def rows(self, texts: Iterable[str], kind: Kind) -> Int[Tensor, " T"]:
        """Where in `texts[kind]` each text stands."""
        where = self.text_row[kind]
        return torch.tensor([where[text] for text in texts], dtype=torch.long)

    def embeddings(self, texts: Iterable[str], kind: Kind) -> Float[Tensor, "T E"]:
        """Of each text, duplicates included."""
        return self.texts[kind].embedding[self.rows(texts, kind)]


def encode(
    encoder: Encodes,
    samples: Sequence[Sample],
    needs: Sequence[Needs],
    load: Callable[[Path], Path | bytes] = lambda place: place,
) -> Encoded:
    """Encode everything that the tasks need.

    Args:
        encoder: Of pictures and texts.
        samples: All with their picture.
        needs: Of each task.
        load: Gives what is read of an image that a sample names by path.

    Returns:
        Every picture and every text encoded once, duplicates and tasks notwithstanding.

    Raises:
        ValueError: If the encoder gives NaN or infinity: no number can be made of it.
    """
    row: dict[Path | bytes, int] = {}
    picture = [row.setdefault(sample.image, len(row)) for sample in samples]
    compared = frozenset().union(*(find_score(need.similarity, encoder.scores).needs for need in needs))
    tokens = "tokens" in compared
    boxes = _boxes(samples, picture, len(row)) if any(need.regions for need in needs) else None
    images = encoder.encode_images_fully(
        Loaded(tuple(row), load), boxes, tokens, parts="patches" in compared, proposals="regions" in compared
    )
    _check_finite(images.embedding, "pictures")
    region_picture = [number for number, sample in zip(picture, samples, strict=True) for _ in sample.regions]
    text_row = _distinct_texts(needs)
    sets = tokens, "sentences" in compared, "phrases" in compared
    texts = {kind: encoder.encode_texts_fully(list(rows), kind, *sets) for kind, rows in text_row.items()}
    for kind, encoded in texts.items():
        _check_finite(encoded.embedding, f"texts ({kind})")
    return Encoded(
        samples=tuple(samples),
        images=images,
        picture=torch.tensor(picture, dtype=torch.long),
        regions=None if images.regions is None else _in_sample_order(images.regions, region_picture),
        region_picture=torch.tensor(region_picture, dtype=torch.long),
        texts=texts,
        text_row=text_row,
        device=encoder.device,
        scores=encoder.scores,
    )


@dataclass(frozen=True)
class Loaded(Sequence[Path | bytes]):
    """Images that are fetched one at a time, when they are asked for.

    Attributes:
        places: Of each image, or its bytes.
        load: Gives what is read of a place.
    """

    places: tuple[Path | bytes, ...]
    load: Callable[[Path], Path | bytes]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: Any) -> Any:
        """Return one image."""
        place = self.places[number]
        return self.load(place) if isinstance(place, Path) else place


def _boxes(samples: Sequence[Sample], picture: Sequence[int], pictures: int) -> list[list[Box]]:
    """The boxes of each distinct picture, of all samples that show it."""
    boxes: list[list[Box]] = [[] for _ in range(pictures)]
    for number, sample in zip(picture, samples, strict=True):
        boxes[number] += [region.box for region in sample.regions]
    return boxes


def _in_sample_order(regions: Sequence[Float[Tensor, "_r E"]], picture: Sequence[int]) -> Float[Tensor, "R E"]:
    """Regions as the samples name them; the encoder gave them picture by picture."""
    flat = torch.cat(list(regions))
    _check_finite(flat, "regions")
    order = torch.tensor(picture, dtype=torch.long).argsort(stable=True)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return flat[back]


def _distinct_texts(needs: Sequence[Needs]) -> dict[Kind, dict[str, int]]:
    rows: dict[Kind, dict[str, int]] = {}
    for need in needs:
        for kind, texts in need.texts.items():
            numbers = rows.setdefault(kind, {})
            for text in texts:
                numbers.setdefault(text, len(numbers))
    return rows


def _check_finite(embedding: Float[Tensor, "N E"], label: str) -> None:
    wrong = int((~embedding.isfinite().all(dim=1)).sum())
    if wrong:
        raise ValueError(
            f"The encoder gives NaN or infinity for {wrong} of {len(embedding)} {label}. "
            "Check its weights, or encode in float32."
        )
