"""Batches from samples: the parts that a run asks for, drawn, decoded, tokenized and stacked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..types import Batch, Kind, Owner, Region, Sample, TextRows
from .images import ImageTransform, View
from .texts import Edit, Text, TextGroup
from .tokenizer import Overflow, Tokenizer


@dataclass(frozen=True, eq=False)
class Prepared:
    """One sample on its way into a batch: decoded and chosen from, its texts still texts.

    Attributes:
        id: The sample's.
        view: The part of the picture that the model sees.
        caption: The short caption, if asked for.
        long_caption: The long one, if asked for.
        regions: Those chosen, with the hard negatives chosen; boxes in fractions of the view.
        caption_negatives: Hard negatives of the caption.
        groups: Texts of each further group.
    """

    id: str
    view: View
    caption: str | None = None
    long_caption: str | None = None
    regions: tuple[Region, ...] = ()
    caption_negatives: tuple[str, ...] = ()
    groups: tuple[tuple[Text, ...], ...] = ()


LENGTHS: Mapping[Kind, int] = MappingProxyType({"caption": 77, "long_caption": 248, "phrase": 77})
"""Most tokens of a text of each kind, as CLIP's and Long-CLIP's towers read them."""


@dataclass(frozen=True, kw_only=True)
class Batcher:
    """Maker of batches: `prepare` for each sample, in a worker, then `collate` for all.

    What is not asked for is absent from the batch; what is asked for and not there has no rows.

    Attributes:
        transform: From pictures to pixels.
        tokenizer: From texts to token ids.
        captions: Short captions are wanted.
        long_captions: Long captions are wanted.
        regions: Most regions per image, drawn at random where there are more. 0: no regions.
        negatives: Most hard negatives per region, drawn alike. 0: none.
        caption_negatives: Most hard negatives per caption, drawn alike. 0: none.
        groups: Further texts of each sample, in groups of their own.
        edits: Change a sample's texts before anything is chosen, in this order.
        lengths: Most tokens of a text, by its kind.
        overflow: What happens to texts that are too long.
    """

    transform: ImageTransform
    tokenizer: Tokenizer
    captions: bool = True
    long_captions: bool = False
    regions: int = 0
    negatives: int = 0
    caption_negatives: int = 0
    groups: tuple[TextGroup, ...] = ()
    edits: tuple[Edit, ...] = ()
    lengths: Mapping[Kind, int] = field(default_factory=lambda: dict(LENGTHS))
    overflow: Overflow = "error"

    def __post_init__(self) -> None:
        if self.negatives and not self.regions:
            raise ValueError(
                f"negatives={self.negatives} belong to regions, and regions=0. Ask for regions (--set data.regions=4),"
                " or for no negatives (--set data.negatives=0)."
            )
        if self.caption_negatives and not self.captions:
            raise ValueError(
                f"caption_negatives={self.caption_negatives} belong to captions, and there are none. Ask for captions"
                " (--set data.captions=true), or for no negatives of them (--set data.caption_negatives=0)."
            )
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"Two groups of texts are named '{twice}'. Rename one, or leave out the run's own.")

    def prepare(self, sample: Sample, rng: np.random.Generator | None = None) -> Prepared:
        """Prepare everything about one sample that needs no other.

        Args:
            sample: As a format gave it.
            rng: Draws the augmentation and every choice. None: there is no augmentation, and the choices depend on
                the sample's id alone (evaluation).

        Raises:
            ValueError: If its picture or a box is broken, or a text asked for is missing. The message names the sample.
        """
        augmenting = rng
        rng = rng or _generator(sample.id)
        for edit in self.edits:
            sample = edit(sample, rng)
        boxes = [region.box for region in sample.regions] if self.regions else []
        try:
            view = self.transform(sample.image, boxes, augmenting)
        except ValueError as error:
            raise ValueError(f"Sample {sample.id}: {error}") from error
        caption, hard_negatives = self._caption(sample, rng)
        if self.long_captions and not sample.long_caption.strip():
            raise ValueError(
                f"Sample {sample.id} has no long caption, or an empty one. Add one, or train without long captions,"
                " where the recipe can: --set data.long_captions=false."
            )
        regions = self._regions(sample, view, rng)
        visible = replace(sample, regions=regions) if self.groups and self.regions else sample
        return Prepared(
            id=sample.id,
            view=replace(view, boxes=()),
            caption=caption,
            long_caption=sample.long_caption if self.long_captions else None,
            regions=regions,
            caption_negatives=hard_negatives,
            groups=tuple(tuple(group(visible, rng)) for group in self.groups),
        )

    def collate(self, samples: Sequence[Prepared]) -> Batch:
        """Stack prepared samples into one batch.

        Raises:
            ValueError: If a text is too long and `overflow` is "error".
        """
        regions = [region for sample in samples for region in sample.regions]
        boxes = torch.tensor([region.box for region in regions], dtype=torch.float32).view(-1, 4)
        return Batch(
            ids=tuple(sample.id for sample in samples),
            pixels=self.transform.stack([sample.view for sample in samples]),
            texts=self._texts(samples, regions) | self._group_rows(samples),
            boxes=boxes if self.regions else None,
            region_image=_owners([len(sample.regions) for sample in samples]) if self.regions else None,
        )

    @property
    def names(self) -> list[str]:
        """The groups of texts that batches have."""
        settings = {
            "caption": self.captions,
            "long_caption": self.long_captions,
            "phrase": self.regions,
            "negative": self.negatives,
            "caption_negative": self.caption_negatives,
        }
        return [*(name for name, setting in settings.items() if setting), *(group.name for group in self.groups)]

    def _texts(self, samples: Sequence[Prepared], regions: Sequence[Region]) -> dict[str, TextRows]:
        """Build the groups that the settings ask for. Long captions and texts with negatives get tokens."""
        groups: dict[str, TextRows] = {}
        if self.captions:
            captions = [[sample.caption or ""] for sample in samples]
            tokens = not self.long_captions or self.caption_negatives > 0
            groups["caption"] = self._rows(captions, "image", "caption", tokens=tokens)
        if self.long_captions:
            long_captions = [[sample.long_caption or ""] for sample in samples]
            groups["long_caption"] = self._rows(long_captions, "image", "long_caption", tokens=True)
        if self.regions:
            rows = self._rows([[region.phrase] for region in regions], "region", "phrase")
            keys = [phrase_key(region.phrase) for region in regions]
            groups["phrase"] = replace(rows, key=torch.tensor(keys, dtype=torch.int64))
        if self.negatives:
            negatives = [[negative.text for negative in region.negatives] for region in regions]
            groups["negative"] = self._rows(negatives, "region", "phrase")
        if self.caption_negatives:
            negatives = [list(sample.caption_negatives) for sample in samples]
            groups["caption_negative"] = self._rows(negatives, "image", "caption", tokens=True)
        return groups

    def _group_rows(self, samples: Sequence[Prepared]) -> dict[str, TextRows]:
        """Build the further groups."""
        groups: dict[str, TextRows] = {}
        for number, group in enumerate(self.groups):
            counts = [1 if group.of == "image" else len(sample.regions) for sample in samples]
            owned: list[list[Text]] = [[] for _ in range(sum(counts))]
            first = 0
            for sample, count in zip(samples, counts, strict=True):
                for text in sample.groups[number]:
                    owned[first + text.owner].append(text)
                first += count
            rows = self._rows([[text.text for text in texts] for texts in owned], group.of, group.kind, group.tokens)
            shifts = [text.shift for texts in owned for text in texts]
            groups[group.name] = replace(rows, start=self._starts(rows, shifts)) if any(shifts) else rows
        return groups

    def _rows(self, texts: Sequence[Sequence[str]], owner_kind: Owner, kind: Kind, tokens: bool = False) -> TextRows:
        """Build the rows of one group from the texts of each owner."""
        flat = [text for owned in texts for text in owned]
        ids = self.tokenizer.encode(flat, self.lengths[kind], self.overflow)
        return TextRows(ids, _owners([len(owned) for owned in texts]), owner_kind, kind, tokens=tokens)

    def _starts(self, rows: TextRows, shifts: Sequence[float]) -> Int[Tensor, " M"]:
        """Return positions of first tokens that leave these shares of the free positions before each text."""
        length = (rows.ids == self.tokenizer.eos_id).int().argmax(dim=1) + 1
        return (torch.tensor(shifts) * (self.lengths[rows.kind] - length)).round().long()

    def _caption(self, sample: Sample, rng: np.random.Generator) -> tuple[str | None, tuple[str, ...]]:
        """Return a short caption and hard negatives of it."""
        if not self.captions:
            return None, ()
        captions = [text for text in sample.captions if text.strip()]
        if not captions:
            raise ValueError(
                f"Sample {sample.id} has no caption, or an empty one. Add one, or train without short captions, where"
                " the recipe can: --set data.captions=false."
            )
        if self.caption_negatives and sample.caption_negatives:  # they belong to the first caption
            numbers = _draw(len(sample.caption_negatives), self.caption_negatives, rng)
            return sample.captions[0], tuple(sample.caption_negatives[index].text for index in numbers)
        return captions[int(rng.integers(len(captions)))], ()

    def _regions(self, sample: Sample, view: View, rng: np.random.Generator) -> tuple[Region, ...]:
        """Return regions that the view still shows, and hard negatives of each."""
        visible = [
            replace(region, box=box) for region, box in zip(sample.regions, view.boxes, strict=False) if box is not None
        ]
        regions = []
        for index in _draw(len(visible), self.regions, rng):
            negatives = visible[index].negatives
            drawn = tuple(negatives[number] for number in _draw(len(negatives), self.negatives, rng))
            regions.append(replace(visible[index], negatives=drawn))
        return tuple(regions)


def phrase_key(phrase: str) -> int:
    """Return the same number for the same phrase in every process: 63 bits of a hash, blind to case and space."""
    plain = " ".join(phrase.lower().split())
    return int.from_bytes(blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def _generator(sample_id: str) -> np.random.Generator:
    """Return randomness that is the same for a sample in every process."""
    name = sample_id.encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(blake2b(name, digest_size=16).digest()))


def _draw(available: int, most: int, rng: np.random.Generator) -> list[int]:
    """Return at most `most` different indices in rising order, every set of them as likely."""
    if available <= most:
        return list(range(available))
    return sorted(int(index) for index in rng.choice(available, most, replace=False))


def _owners(counts: list[int]) -> Int[Tensor, " n"]:
    """Return the owner of each of the rows that lie one behind another. Counts 2, 0, 1 give 0, 0, 2."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
