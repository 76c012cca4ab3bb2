"""How well images of an index fit a query: one implementation for searching and for measuring the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..encoder import EncodedImages, EncodedTexts, Encoder, Picture
from ..encoder.phrases import phrases_of
from ..encoder.proposals import propose_regions
from ..encoder.scores import Score
from ..types import Box, Kind
from .background import SAMPLE, TEXTS, Baseline
from .query import MODES
from .store import SCORES_VERSION, Store
from .store.features import Features
from .token_sets import token_set

QueryKind = Literal["text", "picture", "box"]


@dataclass(frozen=True)
class EncodedQuery:
    """A query as embeddings.

    Attributes:
        embedding: Of the whole text, picture or box.
        tokens: Its token set.
        phrases: Embeddings, each compared with every region of an image.
        texts: The phrases themselves; one empty text per phrase where they come from a picture.
        kind: "text", "picture" or "box". Scores of texts have other baselines than those of pictures and boxes.
    """

    embedding: Float[Tensor, " E"]
    tokens: Float[Tensor, "T _t"]
    phrases: Float[Tensor, "R E"]
    texts: tuple[str, ...]
    kind: QueryKind = "text"

    def mode(self, mode: str) -> str:
        """Return the mode in which it is compared where a search asks for one: what a box shows is no whole image."""
        return "region" if self.kind == "box" and mode == "fused" else mode


def encode_text_queries(encoder: Encoder, texts: Sequence[str]) -> list[EncodedQuery]:
    """Encode texts: whole, token by token, and phrase by phrase. What occurs twice is encoded once."""
    kinds, phrases = encoder.text_kinds(texts), [phrases_of(text) for text in texts]
    phrase_kind: Kind = "phrase" if "phrase" in encoder.model.config.text.own_projection else "caption"
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
            queries[position] = EncodedQuery(region[0], region, region, ("",), "box")
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


def image_queries(features: Features) -> list[EncodedQuery]:
    """Return images of an index as queries."""
    queries = []
    for embedding, tokens, token_mask, regions, region_mask in zip(
        features.embedding, features.tokens, features.token_mask, features.regions, features.region_mask, strict=True
    ):
        phrases = regions[region_mask]
        queries.append(EncodedQuery(embedding, tokens[token_mask], phrases, ("",) * len(phrases), "picture"))
    return queries


def similarities(queries: Sequence[EncodedQuery], features: Features, mode: str) -> list[Float[Tensor, " N"]]:
    """Return how well each image fits each query, by the encoder's score of that name.

    Args:
        queries: Of any kind.
        features: Of the images.
        mode: One of `MODES`, as each query takes it.
    """
    rows: dict[int, Tensor] = {}
    groups: dict[str, list[int]] = {}
    for number, query in enumerate(queries):
        groups.setdefault(query.mode(mode), []).append(number)
    for name, numbers in groups.items():
        texts, images = _texts([queries[number] for number in numbers], MODES[name]), _images(features, MODES[name])
        values = MODES[name](texts, images) if len(features) else torch.zeros(len(numbers), 0)
        rows.update(zip(numbers, values, strict=True))
    return [rows[number] for number in range(len(queries))]


def _texts(queries: Sequence[EncodedQuery], score: Score) -> EncodedTexts:
    """Return queries as a score takes texts."""
    embedding = torch.stack([query.embedding for query in queries])
    if not score.needs:
        return EncodedTexts(embedding)
    sets = [query.phrases if "phrases" in score.needs else query.tokens for query in queries]
    lengths = torch.tensor([len(members) for members in sets])
    return EncodedTexts(
        embedding, pad_sequence(sets, batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]
    )


def _images(features: Features, score: Score) -> EncodedImages:
    """Return features as a score takes images."""
    if not score.needs:
        return EncodedImages(features.embedding)
    sets = (
        (features.regions, features.region_mask) if "regions" in score.needs else (features.tokens, features.token_mask)
    )
    return EncodedImages(features.embedding, None, *sets)


def best_regions(query: EncodedQuery, features: Features) -> tuple[Float[Tensor, "N R"], Float[Tensor, "N R 4"]]:
    """Return the cosine of the best box, and that box, for each image and phrase."""
    best = (features.regions @ query.phrases.T).max(dim=1)  # (N, boxes, phrases)
    boxes = features.boxes.gather(1, best.indices[..., None].expand(-1, -1, 4))
    return best.values, boxes


class BaselineScorer:
    """Z-scores above the baseline of an index: a sample of its images, and their similarities to unrelated queries."""

    def __init__(self, features: Features, priors: Mapping[str, Mapping[str, Baseline]]) -> None:
        """Keep a sample of an index and its baselines.

        Args:
            features: Of the sample.
            priors: Baselines at indexing, by kind of query and mode.
        """
        self.features, self.priors = features, priors

    @classmethod
    def of(cls, store: Store, background: dict[str, Any]) -> "BaselineScorer":
        """Build the scorer of an index from what `measure_background` gave.

        Of an index without images, or whose baselines are of scores that have changed since, it has no sample.
        """
        if background.get("scores") != SCORES_VERSION:
            background = {"ids": [], "priors": {}}
        priors = {
            kind: {mode: Baseline(*numbers) for mode, numbers in modes.items()}
            for kind, modes in background["priors"].items()
        }
        return cls(store.features_of(background["ids"]), priors)

    def z_scores(
        self, query: EncodedQuery, mode: str, image_similarities: Tensor, sample_similarities: Tensor
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " _sample"]]:
        """Return similarities of a query as z-scores above its own baseline.

        Args:
            query: The query.
            mode: As the search asks for.
            image_similarities: Of the images.
            sample_similarities: Of the sample.

        Returns:
            Of the images and of the sample.
        """
        kind = "text" if query.kind == "text" else "picture"
        baseline = Baseline.of(sample_similarities, self.priors.get(kind, {}).get(query.mode(mode)))
        return baseline.z_scores(image_similarities), baseline.z_scores(sample_similarities)


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
        queries = encode_text_queries(encoder, TEXTS)
        priors["text"] = {mode: _baseline(similarities(queries, features, mode)) for mode in MODES}
    if len(ids) > 1:
        priors["picture"] = {mode: _baseline(_among_themselves(features, mode)) for mode in MODES}
    return {"ids": ids, "priors": priors, "scores": SCORES_VERSION}


def _among_themselves(features: Features, mode: str) -> list[Tensor]:
    """Return similarities of the first images to the others."""
    rows = []
    for number, query in enumerate(image_queries(features)[: len(TEXTS)]):
        rows += similarities([query], features.select(torch.arange(len(features)) != number), mode)
    return rows


def _baseline(rows: Sequence[Tensor]) -> list[float]:
    """Return mean and spread over many queries."""
    baseline = Baseline.of(torch.cat(list(rows)))
    return [baseline.mean, baseline.spread]
