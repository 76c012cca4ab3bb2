"""Scores that compare images and texts, by name: for encoder, evaluation, search, service and command line alike.

A model's learned part may bring a score of its own, under the part's name: see `scores_of`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..similarity import cosine, fused, late_interaction
from ..trees import to_device
from .encodings import EncodedImages, EncodedTexts

Need = Literal["tokens", "patches", "sentences", "regions", "phrases"]
Needs = frozenset[Need]


@runtime_checkable
class Score(Protocol):
    """A similarity of texts and images. A value: its fields are its settings."""

    @property
    def needs(self) -> Needs:
        """Encodings that it compares beside whole embeddings.

        "tokens" are token sets of both sides. "patches" are all patches, "regions" what proposed boxes show, as the
        images' token sets. "sentences" and "phrases" are those of each text, embedded as phrases, as its token set.
        """

    def __call__(self, texts: EncodedTexts, images: EncodedImages) -> Float[Tensor, "T N"]:
        """Return the similarity of every text to every image."""


@dataclass(frozen=True)
class Global:
    """The cosine of whole embeddings."""

    needs: ClassVar[Needs] = frozenset()

    def __call__(self, texts: EncodedTexts, images: EncodedImages) -> Float[Tensor, "T N"]:
        """Return numbers in [-1, 1]."""
        return cosine(texts.embedding, images.embedding)


@dataclass(frozen=True)
class Late:
    """Late interaction of token sets in both directions, half of FineLIP's R (arXiv:2504.01916).

    Attributes:
        leak: Slope below zero, as in FineLIP's released code.
    """

    leak: float = 0.1
    needs: ClassVar[Needs] = frozenset({"tokens"})

    def __call__(self, texts: EncodedTexts, images: EncodedImages) -> Float[Tensor, "T N"]:
        """Return numbers in [-1, 1]."""
        return late_interaction(*_sets(texts, images), direction="both", leak=self.leak)


@dataclass(frozen=True)
class Fused:
    """FineLIP's mix of the cosine and late interaction.

    Attributes:
        weight: Of the cosine. 2/3 ranks as FineLIP's 0.8 * cosine + 0.2 * R, since R is twice the late interaction.
    """

    weight: float = 2 / 3
    needs: ClassVar[Needs] = frozenset({"tokens"})

    def __call__(self, texts: EncodedTexts, images: EncodedImages) -> Float[Tensor, "T N"]:
        """Return numbers in [-1, 1]."""
        return fused(Global()(texts, images), Late()(texts, images), self.weight)


@dataclass(frozen=True)
class Parts:
    """The mean of the cosine and of how well each sentence, read as a phrase, fits the patch that fits it best.

    Attributes:
        weight: Of the cosine.
    """

    weight: float = 0.5
    needs: ClassVar[Needs] = frozenset({"patches", "sentences"})

    def __call__(self, texts: EncodedTexts, images: EncodedImages) -> Float[Tensor, "T N"]:
        """Return numbers in [-1, 1]."""
        best = late_interaction(*_sets(texts, images), direction="text", leak=None)
        return fused(Global()(texts, images), best, self.weight)


@dataclass(frozen=True)
class Regions:
    """The mean, over the phrases of a text, of how well each fits the region that fits it best."""

    needs: ClassVar[Needs] = frozenset({"regions", "phrases"})

    def __call__(self, texts: EncodedTexts, images: EncodedImages) -> Float[Tensor, "T N"]:
        """Return numbers in [-1, 1]."""
        return late_interaction(*_sets(texts, images), direction="text", leak=None)


SCORES: Mapping[str, Score] = MappingProxyType(
    {"global": Global(), "late": Late(), "fused": Fused(), "parts": Parts(), "region": Regions()}
)
"""Those that every model has."""


def scores_of(model: nn.Module) -> dict[str, Score]:
    """Return all scores of a model by name: `SCORES`, and those of its learned parts that have a `score`."""
    parts = getattr(model, "parts", {}).items()
    return {**SCORES, **{name: part.score for name, part in parts if isinstance(getattr(part, "score", None), Score)}}


def find_score(name: str, scores: Mapping[str, Score] = SCORES) -> Score:
    """Return the score of a name.

    Raises:
        ValueError: If there is none. The message lists those there are.
    """
    if name not in scores:
        raise ValueError(f"There is no similarity '{name}'. There are: {', '.join(scores)}.")
    return scores[name]


def compare(
    texts: EncodedTexts,
    images: EncodedImages,
    score: Score = SCORES["global"],
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Float[Tensor, "T N"]:
    """Compare every text with every image, in float32 on the CPU.

    Args:
        texts: With what the score needs.
        images: Likewise.
        score: How to compare.
        device: Where to compare.

    Raises:
        ValueError: If something that the score needs was not encoded.
    """
    return score(to_device(texts, device), to_device(images, device)).cpu().float()


def _sets(texts: EncodedTexts, images: EncodedImages) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return token sets of texts and images, and their masks."""
    tokens, mask, image_tokens, image_mask = texts.tokens, texts.token_mask, images.tokens, images.token_mask
    if tokens is None or mask is None or image_tokens is None or image_mask is None:
        raise ValueError("This similarity compares token sets. Encode with tokens=True.")
    return tokens, image_tokens, mask, image_mask
