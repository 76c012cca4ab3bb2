"""How well pictures of an index fit what is wanted: one implementation for searching and for what is usual."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoder import Encoder, Picture
from ..similarity import cosine, late_interaction
from ..types import Box, Kind
from .background import SAMPLE, TEXTS, Usual
from .phrases import phrases_of
from .query import Mode
from .regions import propose_regions
from .rows import token_set
from .store import Looks, Store

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
class Want:
    """A query as the model sees it.

    Attributes:
        embedding: Of the whole text, picture or box.
        tokens: Its token set.
        phrases: Embeddings that are each looked for among a picture's regions.
        texts: The phrases themselves; one empty text per phrase where they come from a picture.
        kind: "text" or "picture": these differ in what similarities are usual.
        parts: The similarities that make sense for it. What a box shows is no whole picture.
    """

    embedding: Float[Tensor, " E"]
    tokens: Float[Tensor, "T _t"]
    phrases: Float[Tensor, "R E"]
    texts: tuple[str, ...]
    kind: str = "text"
    parts: tuple[str, ...] = ("global", "late", "region")

    def ways(self, mode: Mode) -> Sequence[str]:
        """The similarities by which it is compared in a mode."""
        return [part for part in PARTS[mode] if part in self.parts] or PARTS[mode]


def wants_of_texts(encoder: Encoder, texts: Sequence[str]) -> list[Want]:
    """Texts as the model sees them: whole, token by token, and phrase by phrase. What occurs twice is encoded once."""
    kinds = [_read_as(encoder, "long_caption" if len(text.split()) >= LONG else "caption") for text in texts]
    phrases, phrase = [phrases_of(text) for text in texts], _read_as(encoder, "phrase")
    distinct: dict[Kind, dict[str, None]] = {}
    for kind, text, own in zip(kinds, texts, phrases, strict=True):
        distinct.setdefault(kind, {})[text] = None
        distinct.setdefault(phrase, {}).update(dict.fromkeys(own))
    seen: dict[tuple[Kind, str], tuple[Tensor, Tensor]] = {}
    for kind, some in distinct.items():
        encoded = encoder.encode_texts_fully(list(some), kind, tokens=True)
        assert encoded.tokens is not None and encoded.token_mask is not None
        for text, embedding, tokens, mask in zip(
            some, encoded.embedding, encoded.tokens, encoded.token_mask, strict=True
        ):
            seen[kind, text] = embedding, tokens[mask]
    return [
        Want(*seen[kind, text], torch.stack([seen[phrase, each][0] for each in own]), tuple(own))
        for kind, text, own in zip(kinds, texts, phrases, strict=True)
    ]


def _read_as(encoder: Encoder, kind: Kind) -> Kind:
    """The kind of text that a model reads in the same way; a caption, if it has nothing of its own for it."""
    text = encoder.model.config.text
    own_positions = kind == "long_caption" and text.long_context is not None
    return kind if own_positions or kind in text.own_projection else "caption"


def wants_of_pictures(
    encoder: Encoder, pictures: Sequence[tuple[Picture, Box | None]], tokens: int, regions: int
) -> list[Want]:
    """Pictures, or what boxes in them show, as the model sees them.

    Args:
        encoder: Of the index's model.
        pictures: Each with (x0, y0, x1, y1) in its fractions, or None: the whole.
        tokens: Members of token sets.
        regions: Most boxes that a picture is looked at by.

    Raises:
        ValueError: If a picture is broken or a box lies outside.
    """
    wants: dict[int, Want] = {}
    boxed = {at: (picture, box) for at, (picture, box) in enumerate(pictures) if box is not None}
    if boxed:
        found = encoder.encode_regions([each for each, _ in boxed.values()], [[box] for _, box in boxed.values()])
        for at, region in zip(boxed, found, strict=True):
            wants[at] = Want(region[0], region, region, ("",), "picture", ("late", "region"))
    whole = [at for at in range(len(pictures)) if at not in boxed]
    if whole:
        encoded = encoder.encode_images_fully([pictures[at][0] for at in whole], tokens=True, patches=True)
        assert encoded.tokens is not None and encoded.token_mask is not None and encoded.patches is not None
        for row, at in enumerate(whole):
            own = token_set(encoded.tokens[row][encoded.token_mask[row]], tokens)
            phrases = propose_regions(encoded.patches[row][None], regions)[0][0]
            wants[at] = Want(encoded.embedding[row], own, phrases, ("",) * len(phrases), "picture")
    return [wants[at] for at in range(len(pictures))]


def similarities(wants: Sequence[Want], looks: Looks, parts: Sequence[str]) -> list[dict[str, Float[Tensor, " N"]]]:
    """How well each picture fits each query, in several ways.

    Args:
        wants: The queries.
        looks: The pictures.
        parts: Ways: "global" (cosine of the whole), "late" (mean over the query's tokens of each one's best match),
            "region" (mean over its phrases of each one's best box).
    """
    if not len(looks) or not wants:
        return [{part: torch.zeros(len(looks)) for part in parts} for _ in wants]
    found: dict[str, Sequence[Tensor]] = {}
    if "global" in parts:
        found["global"] = list(cosine(torch.stack([want.embedding for want in wants]), looks.embedding))
    if "late" in parts:
        found["late"] = _best_means([want.tokens for want in wants], looks.tokens)
    if "region" in parts:
        found["region"] = _best_means([want.phrases for want in wants], looks.regions)
    return [dict(zip(found, each, strict=True)) for each in zip(*found.values(), strict=True)]


def _best_means(rows: Sequence[Tensor], sets: Tensor) -> list[Tensor]:
    """Late interaction of several sets of any sizes, one behind another, with others."""
    best = late_interaction(torch.cat(list(rows))[:, None], sets)
    return [own.mean(dim=0) for own in best.split([len(own) for own in rows])]


def best_regions(want: Want, looks: Looks) -> tuple[Float[Tensor, "N R"], Float[Tensor, "N R 4"]]:
    """For each picture and phrase, the cosine of the best box, and that box."""
    best = (looks.regions @ want.phrases.T).max(dim=1)  # (N, boxes, phrases)
    boxes = looks.boxes.gather(1, best.indices[..., None].expand(-1, -1, 4))
    return best.values, boxes


class Yardstick:
    """What is usual in an index: some of its pictures, and how much they are like unrelated texts and pictures."""

    def __init__(self, looks: Looks, priors: dict[str, dict[str, Usual]], weights: dict[str, float]) -> None:
        """Tie a sample of an index to what is known about it.

        Args:
            looks: The sample.
            priors: By kind of query and way of comparing, what was usual at indexing.
            weights: Of each way in a sum of several.
        """
        self.looks, self.priors, self.weights = looks, priors, weights

    @classmethod
    def of(cls, store: Store, known: dict[str, Any], weights: dict[str, float]) -> "Yardstick":
        """The yardstick of an index, from what `measure_background` gave. Empty: of an index without pictures."""
        known = {"ids": [], "priors": {}, **known}
        priors = {
            kind: {part: Usual(*numbers) for part, numbers in parts.items()} for kind, parts in known["priors"].items()
        }
        return cls(store.looks_of(known["ids"]), priors, weights)

    def scores(
        self, want: Want, here: dict[str, Tensor], usual: dict[str, Tensor], mode: Mode
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " _sample"]]:
        """Sums of similarities, each in standard deviations above what is usual for this query.

        Args:
            want: The query.
            here: Similarities of the pictures.
            usual: Similarities of the sample.
            mode: What is summed.

        Returns:
            Of the pictures and of the sample.
        """
        parts = want.ways(mode)
        total, background = torch.zeros_like(here[parts[0]]), torch.zeros_like(usual[parts[0]])
        for part in parts:
            scale = Usual.of(usual[part], self.priors.get(want.kind, {}).get(part))
            weight = self.weights[part] if len(parts) > 1 else 1.0
            total += weight * scale.standard(here[part])
            background += weight * scale.standard(usual[part])
        return total, background


def measure_background(store: Store, encoder: Encoder) -> dict[str, Any]:
    """What is usual in an index: the ids of a sample of its pictures, and how much they are like unrelated things.

    Args:
        store: The index.
        encoder: Of its model.
    """
    ids = store.first_ids(SAMPLE)
    looks = store.looks_of(ids)
    priors: dict[str, dict[str, list[float]]] = {}
    if ids:
        priors["text"] = _usual(similarities(wants_of_texts(encoder, TEXTS), looks, PARTS["fused"]))
    if len(ids) > 1:
        pairs = []
        for at in range(min(len(ids), len(TEXTS))):
            others = torch.arange(len(looks)) != at
            mask = looks.region_mask[at]
            want = Want(looks.embedding[at], looks.tokens[at], looks.regions[at][mask], (), "picture")
            pairs += similarities([want], looks.at(others), PARTS["fused"])
        priors["picture"] = _usual(pairs)
    return {"ids": ids, "priors": priors}


def _usual(found: Sequence[dict[str, Tensor]]) -> dict[str, list[float]]:
    """What is usual over many queries, by way of comparing."""
    usual = {}
    for part in found[0]:
        measured = Usual.of(torch.cat([each[part] for each in found]))
        usual[part] = [measured.mean, measured.spread]
    return usual
