"""How well pictures of an index fit what is wanted: one implementation for searching and for what is usual."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
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


def wants_of_texts(encoder: Encoder, texts: Sequence[str]) -> list[Want]:
    """Texts as the model sees them: whole, token by token, and phrase by phrase."""
    phrases = [phrases_of(text) for text in texts]
    flat = encoder.encode_texts([phrase for own in phrases for phrase in own], "phrase")
    parts = flat.split([len(own) for own in phrases])
    wants: dict[int, Want] = {}
    kinds: tuple[Kind, ...] = ("caption", "long_caption")
    for kind in kinds:
        some = [at for at, text in enumerate(texts) if (len(text.split()) >= LONG) == (kind == "long_caption")]
        if not some:
            continue
        encoded = encoder.encode_texts_fully([texts[at] for at in some], kind, tokens=True)
        assert encoded.tokens is not None and encoded.token_mask is not None
        for row, at in enumerate(some):
            tokens = encoded.tokens[row][encoded.token_mask[row]]
            wants[at] = Want(encoded.embedding[row], tokens, parts[at], tuple(phrases[at]))
    return [wants[at] for at in range(len(texts))]


def want_of_picture(encoder: Encoder, picture: Picture, box: Box | None, tokens: int, regions: int) -> Want:
    """A picture, or what a box in it shows, as the model sees it.

    Args:
        encoder: Of the index's model.
        picture: Any.
        box: (x0, y0, x1, y1) in its fractions. None: the whole.
        tokens: Members of token sets.
        regions: Most boxes that it is looked at by.

    Raises:
        ValueError: If the picture is broken or the box lies outside.
    """
    if box is not None:
        region = encoder.encode_regions([picture], [[box]])[0]
        return Want(region[0], region, region, ("",), "picture", ("late", "region"))
    encoded = encoder.encode_images_fully([picture], tokens=True, patches=True)
    assert encoded.tokens is not None and encoded.token_mask is not None and encoded.patches is not None
    own = token_set(encoded.tokens[0][encoded.token_mask[0]], tokens)
    phrases = propose_regions(encoded.patches[0][None], regions)[0][0]
    return Want(encoded.embedding[0], own, phrases, ("",) * len(phrases), "picture")


def similarities(want: Want, looks: Looks, parts: Sequence[str]) -> dict[str, Float[Tensor, " N"]]:
    """How well each picture fits, in several ways.

    Args:
        want: The query.
        looks: The pictures.
        parts: Ways: "global" (cosine of the whole), "late" (mean over the query's tokens of each one's best match),
            "region" (mean over its phrases of each one's best box).
    """
    if not len(looks):
        return {part: torch.zeros(0) for part in parts}
    found = {}
    if "global" in parts:
        found["global"] = cosine(want.embedding[None], looks.embedding)[0]
    if "late" in parts:
        found["late"] = late_interaction(want.tokens[None], looks.tokens)[0]
    if "region" in parts:
        found["region"] = best_regions(want, looks)[0].mean(dim=1)
    return found


def best_regions(want: Want, looks: Looks) -> tuple[Float[Tensor, "N R"], Float[Tensor, "N R 4"]]:
    """For each picture and phrase, the cosine of the best box, and that box."""
    alike = F.normalize(looks.regions, dim=-1) @ want.phrases.T  # (N, boxes, phrases)
    best = alike.masked_fill(~looks.region_mask[..., None], -torch.inf).max(dim=1)
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
    def of(cls, store: Store, weights: dict[str, float]) -> "Yardstick":
        """The yardstick of an index."""
        known = store.about.get("background", {"ids": [], "priors": {}})
        priors = {
            kind: {part: Usual(*numbers) for part, numbers in parts.items()} for kind, parts in known["priors"].items()
        }
        return cls(store.looks_of(known["ids"]), priors, weights)

    def scores(self, want: Want, looks: Looks, mode: Mode) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Sums of similarities, each in standard deviations above what is usual for this query.

        Returns:
            Of the pictures, of the sample, and the plain similarities of the pictures.
        """
        parts = [part for part in PARTS[mode] if part in want.parts] or PARTS[mode]
        here, usual = similarities(want, looks, parts), similarities(want, self.looks, parts)
        total, background = torch.zeros(len(looks)), torch.zeros(len(self.looks))
        for part in parts:
            scale = Usual.of(usual[part], self.priors.get(want.kind, {}).get(part))
            weight = self.weights[part] if len(parts) > 1 else 1.0
            total += weight * scale.standard(here[part])
            background += weight * scale.standard(usual[part])
        return total, background, here


def measure_background(store: Store, encoder: Encoder) -> dict[str, object]:
    """What is usual in an index: the ids of a sample of its pictures, and how much they are like unrelated things.

    Args:
        store: The index.
        encoder: Of its model.
    """
    ids = store.first_ids(SAMPLE)
    looks = store.looks_of(ids)
    priors: dict[str, dict[str, list[float]]] = {}
    if ids:
        priors["text"] = _usual([similarities(want, looks, PARTS["fused"]) for want in wants_of_texts(encoder, TEXTS)])
    if len(ids) > 1:
        pairs = []
        for at in range(min(len(ids), len(TEXTS))):
            others = torch.arange(len(looks)) != at
            rest = Looks(*(rows[others] for rows in looks.fields()))
            mask = looks.region_mask[at]
            want = Want(looks.embedding[at], looks.tokens[at], looks.regions[at][mask], (), "picture")
            pairs.append(similarities(want, rest, PARTS["fused"]))
        priors["picture"] = _usual(pairs)
    return {"ids": ids, "priors": priors}


def _usual(found: Sequence[dict[str, Tensor]]) -> dict[str, list[float]]:
    """What is usual over many queries, by way of comparing."""
    usual = {}
    for part in found[0]:
        measured = Usual.of(torch.cat([each[part] for each in found]))
        usual[part] = [measured.mean, measured.spread]
    return usual
