"""How well images of an index fit a query: one implementation for searching and for measuring the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoder import Encoder, Picture
from ..similarity import cosine, late_interaction
from ..types import Box, Kind
from .background import SAMPLE, TEXTS, Baseline
from .phrases import phrases_of
from .query import Mode
from .regions import propose_regions, token_set
from .store import Features, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

LONG = 20  # words of a text, from which on it is read as a long caption
PARTS: "Mapping[Mode, tuple[str, ...]]" = {
    "global": ("global",),
    "late": ("late",),
    "region": ("region",),
    "fused": ("global", "late", "region"),
}
"""The similarities that each mode adds up."""


@dataclass(frozen=True)
class EncodedQuery:
    """A query as embeddings.

    Attributes:
        embedding: Of the whole text, picture or box.
        tokens: Its token set.
        phrases: Embeddings, each compared with every region of an image.
        texts: The phrases themselves; one empty text per phrase where they come from a picture.
        kind: "text" or "picture": these have different baselines.
        parts: The similarities that make sense for it. What a box shows is no whole picture.
    """

    embedding: Float[Tensor, " E"]
    tokens: Float[Tensor, "T _t"]
    phrases: Float[Tensor, "R E"]
    texts: tuple[str, ...]
    kind: str = "text"
    parts: tuple[str, ...] = ("global", "late", "region")

    def ways(self, mode: Mode) -> Sequence[str]:
        """Return the similarities by which it is compared in a mode."""
        return [part for part in PARTS[mode] if part in self.parts] or PARTS[mode]


def encode_text_queries(encoder: Encoder, texts: Sequence[str]) -> list[EncodedQuery]:
    """Encode texts: whole, token by token, and phrase by phrase. What occurs twice is encoded once."""
    kinds = [_supported_kind(encoder, "long_caption" if len(text.split()) >= LONG else "caption") for text in texts]
    phrases, phrase_kind = [phrases_of(text) for text in texts], _supported_kind(encoder, "phrase")
    distinct: dict[Kind, dict[str, None]] = {}
    for kind, text, text_phrases in zip(kinds, texts, phrases, strict=True):
        distinct.setdefault(kind, {})[text] = None
        distinct.setdefault(phrase_kind, {}).update(dict.fromkeys(text_phrases))
    encodings: dict[tuple[Kind, str], tuple[Tensor, Tensor]] = {}
    for kind, kind_texts in distinct.items():
        encoded = encoder.encode_texts_fully(list(kind_texts), kind, tokens=True)
        assert encoded.tokens is not None and encoded.token_mask is not None
        for text, embedding, tokens, mask in zip(
            kind_texts, encoded.embedding, encoded.tokens, encoded.token_mask, strict=True
        ):
            encodings[kind, text] = embedding, tokens[mask]
    return [
        EncodedQuery(
            *encodings[kind, text],
            torch.stack([encodings[phrase_kind, part][0] for part in text_phrases]),
            tuple(text_phrases),
        )
        for kind, text, text_phrases in zip(kinds, texts, phrases, strict=True)
    ]


def _supported_kind(encoder: Encoder, kind: Kind) -> Kind:
    """Return the kind of text that a model reads in the same way: a caption, if it has nothing of its own for it."""
    text = encoder.model.config.text
    has_positions = kind == "long_caption" and text.long_context is not None
    return kind if has_positions or kind in text.own_projection else "caption"


def encode_image_queries(
    encoder: Encoder, pictures: Sequence[tuple[Picture, Box | None]], tokens: int, regions: int
) -> list[EncodedQuery]:
    """Encode pictures, or what boxes in them show.

    Args:
        encoder: Of the index's model.
        pictures: Each with (x0, y0, x1, y1) in its fractions, or None: the whole.
        tokens: Members of token sets.
        regions: Most boxes of a picture.

    Raises:
        ValueError: If a picture is broken or a box lies outside.
    """
    queries: dict[int, EncodedQuery] = {}
    boxed = {position: (picture, box) for position, (picture, box) in enumerate(pictures) if box is not None}
    if boxed:
        region_embeddings = encoder.encode_regions(
            [picture for picture, _ in boxed.values()], [[box] for _, box in boxed.values()]
        )
        for position, region in zip(boxed, region_embeddings, strict=True):
            queries[position] = EncodedQuery(region[0], region, region, ("",), "picture", ("late", "region"))
    whole = [position for position in range(len(pictures)) if position not in boxed]
    if whole:
        encoded = encoder.encode_images_fully([pictures[position][0] for position in whole], tokens=True, patches=True)
        assert encoded.tokens is not None and encoded.token_mask is not None and encoded.patches is not None
        for row, position in enumerate(whole):
            image_tokens = token_set(encoded.tokens[row][encoded.token_mask[row]], tokens)
            phrases = propose_regions(encoded.patches[row][None], regions)[0][0]
            queries[position] = EncodedQuery(
                encoded.embedding[row], image_tokens, phrases, ("",) * len(phrases), "picture"
            )
    return [queries[position] for position in range(len(pictures))]


def similarities(
    queries: Sequence[EncodedQuery], features: Features, parts: Sequence[str]
) -> list[dict[str, Float[Tensor, " N"]]]:
    """Return how well each image fits each query, in several ways.

    Args:
        queries: Of any kind.
        features: Of the images.
        parts: Ways: "global" (cosine of the whole), "late" (mean over the query's tokens of each one's best match),
            "region" (mean over its phrases of each one's best box).
    """
    if not len(features) or not queries:
        return [{part: torch.zeros(len(features)) for part in parts} for _ in queries]
    by_part: dict[str, Sequence[Tensor]] = {}
    if "global" in parts:
        by_part["global"] = list(cosine(torch.stack([query.embedding for query in queries]), features.embedding))
    if "late" in parts:
        by_part["late"] = _best_means([query.tokens for query in queries], features.tokens)
    if "region" in parts:
        by_part["region"] = _best_means([query.phrases for query in queries], features.regions)
    return [dict(zip(by_part, values, strict=True)) for values in zip(*by_part.values(), strict=True)]


def _best_means(rows: Sequence[Tensor], sets: Tensor) -> list[Tensor]:
    """Return late interaction of several sets of rows, of any sizes, with the token sets of images."""
    best = late_interaction(torch.cat(list(rows))[:, None], sets)
    return [values.mean(dim=0) for values in best.split([len(members) for members in rows])]


def best_regions(query: EncodedQuery, features: Features) -> tuple[Float[Tensor, "N R"], Float[Tensor, "N R 4"]]:
    """Return the cosine of the best box, and that box, for each image and phrase."""
    best = (features.regions @ query.phrases.T).max(dim=1)  # (N, boxes, phrases)
    boxes = features.boxes.gather(1, best.indices[..., None].expand(-1, -1, 4))
    return best.values, boxes


class BaselineScorer:
    """Scores against the baseline of an index: a sample of its images, and their similarities to unrelated queries."""

    def __init__(self, features: Features, priors: dict[str, dict[str, Baseline]], weights: dict[str, float]) -> None:
        """Keep a sample of an index and its baselines.

        Args:
            features: Of the sample.
            priors: Baselines at indexing, by kind of query and way of comparing.
            weights: Of each way in a sum of several.
        """
        self.features, self.priors, self.weights = features, priors, weights

    @classmethod
    def of(cls, store: Store, background: dict[str, Any], weights: dict[str, float]) -> "BaselineScorer":
        """Build the scorer of an index from what `measure_background` gave. Empty: of an index without images."""
        background = {"ids": [], "priors": {}, **background}
        priors = {
            kind: {part: Baseline(*numbers) for part, numbers in parts.items()}
            for kind, parts in background["priors"].items()
        }
        return cls(store.features_of(background["ids"]), priors, weights)

    def scores(
        self,
        query: EncodedQuery,
        image_similarities: dict[str, Tensor],
        sample_similarities: dict[str, Tensor],
        mode: Mode,
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " _sample"]]:
        """Return sums of z-scores, each of a similarity above the baseline of this query.

        Args:
            query: The query.
            image_similarities: Of the images.
            sample_similarities: Of the sample.
            mode: Which similarities are summed.

        Returns:
            Of the images and of the sample.
        """
        parts = query.ways(mode)
        total, sample_total = (
            torch.zeros_like(image_similarities[parts[0]]),
            torch.zeros_like(sample_similarities[parts[0]]),
        )
        for part in parts:
            baseline = Baseline.of(sample_similarities[part], self.priors.get(query.kind, {}).get(part))
            weight = self.weights[part] if len(parts) > 1 else 1.0
            total += weight * baseline.z_scores(image_similarities[part])
            sample_total += weight * baseline.z_scores(sample_similarities[part])
        return total, sample_total


def measure_background(store: Store, encoder: Encoder) -> dict[str, Any]:
    """Measure an index's baselines: ids of a sample of its images, and their similarity to unrelated queries.

    Args:
        store: The index.
        encoder: Of its model.
    """
    ids = store.first_ids(SAMPLE)
    features = store.features_of(ids)
    priors: dict[str, dict[str, list[float]]] = {}
    if ids:
        priors["text"] = _baselines(similarities(encode_text_queries(encoder, TEXTS), features, PARTS["fused"]))
    if len(ids) > 1:
        pairs = []
        for index in range(min(len(ids), len(TEXTS))):
            rest = torch.arange(len(features)) != index
            mask = features.region_mask[index]
            query = EncodedQuery(
                features.embedding[index], features.tokens[index], features.regions[index][mask], (), "picture"
            )
            pairs += similarities([query], features.select(rest), PARTS["fused"])
        priors["picture"] = _baselines(pairs)
    return {"ids": ids, "priors": priors}


def _baselines(measured: Sequence[dict[str, Tensor]]) -> dict[str, list[float]]:
    """Return mean and spread over many queries, by way of comparing."""
    baselines = {}
    for part in measured[0]:
        baseline = Baseline.of(torch.cat([similarity[part] for similarity in measured]))
        baselines[part] = [baseline.mean, baseline.spread]
    return baselines
