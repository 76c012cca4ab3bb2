"""An encoder whose every embedding is known, and which remembers what it was asked."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.encoder import EncodedImages, EncodedTexts
from foveal.encoder.scores import SCORES, Score
from foveal.evaluation.report import Provenance, Report
from foveal.evaluation.result import Metric, Queries, Result

WIDTH = 8


def vector(key: object) -> Tensor:
    """A unit vector that belongs to a key, the same for ever."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:7], "big")
    return F.normalize(torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)), dim=0)


@dataclass
class KnownEncoder:
    """Gives what it was told to give, and else a vector made from the key's hash."""

    known: dict[object, Sequence[float]] = field(default_factory=dict)
    pictures: list[Path | bytes] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    passes: int = 0
    scores: Mapping[str, Score] = field(default_factory=lambda: SCORES)
    image_size: int = 32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    scaled: bool = True

    def decoding(self, *, scaled):
        self.scaled = scaled
        return self

    def of(self, key: object) -> Tensor:
        if key not in self.known:
            return vector(key)
        given = torch.tensor(self.known[key], dtype=torch.float32)
        return F.normalize(F.pad(given, (0, WIDTH - len(given))), dim=0)

    def encode_images_fully(self, pictures, boxes=None, tokens=False, *, parts=False, proposals=False):
        self.passes += 1
        self.pictures += pictures
        regions = None
        if boxes is not None:
            regions = tuple(
                torch.stack([torch.zeros(WIDTH), *(self.of((picture, *box)) for box in own)])[1:]
                for picture, own in zip(pictures, boxes, strict=True)
            )
        rows = torch.stack([self.of(picture) for picture in pictures])
        sets = self.sets(pictures) if tokens or parts or proposals else {}
        return EncodedImages(embedding=rows, regions=regions, **sets)

    def encode_texts_fully(self, texts, kind="caption", tokens=False, parts=False, phrases=False):
        self.texts += [(kind, text) for text in texts]
        rows = torch.stack([self.of(text) for text in texts])
        return EncodedTexts(embedding=rows, **(self.sets(texts) if tokens or parts or phrases else {}))

    def sets(self, keys):
        """Three tokens each, of which those at odd keys' places have only two."""
        tokens = torch.stack([torch.stack([self.of((key, n)) for n in range(3)]) for key in keys])
        mask = torch.ones(len(keys), 3, dtype=torch.bool)
        mask[1::2, 2] = False
        return {"tokens": tokens, "token_mask": mask}


@pytest.fixture
def encoder() -> Callable[..., KnownEncoder]:
    """Makes an encoder with some known embeddings."""
    return lambda known=None: KnownEncoder(known or {})


@pytest.fixture
def vector_of() -> Callable[[object], Tensor]:
    return vector


def write_run(folder, ranks, name="urban1k@1000", tied=0, **changed):
    """A made-up run with known ranks, one query an image."""
    rank = torch.tensor(ranks)
    queries = Queries(rank, torch.arange(len(rank)), tied=torch.full_like(rank, tied))
    value = 100 * (rank == 1).double().mean().item()
    metrics = {"text_to_image@1": Metric(value, value - 5.0, value + 5.0, len(rank))}
    provenance = Provenance("ab" * 32, "ok", len(rank), len(rank), len(rank), "as downloaded")
    Report(
        model=folder.name,
        similarity="global",
        results={name: {"retrieval": Result(metrics, {"text_to_image": queries})}},
        seconds={name: 1.0},
        protocols={name: replace(provenance, **changed)},
    ).write(folder)
    return folder


@pytest.fixture
def run() -> Callable[..., Path]:
    """Writes a made-up run into a folder, which it returns."""
    return write_run
