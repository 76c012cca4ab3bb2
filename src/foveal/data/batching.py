"""From samples to batches: what a run wants of each sample, drawn, decoded, tokenized and stacked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..types import Batch, Region, Sample
from .images import ImageTransform, View
from .texts import Edit
from .tokenizer import Overflow, Tokenizer


@dataclass(frozen=True, eq=False)
class Prepared:
    """One sample on its way into a batch: decoded and chosen from, its texts still texts.

    Attributes:
        id: The sample's.
        view: What the model sees of the picture.
        caption: The short caption, if asked for.
        long_caption: The long one, if asked for.
        regions: Those chosen, with the near misses chosen; boxes in fractions of the view.
        caption_negatives: Near misses of the caption.
    """

    id: str
    view: View
    caption: str | None = None
    long_caption: str | None = None
    regions: tuple[Region, ...] = ()
    caption_negatives: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batcher:
    """Makes batches of samples: `prepare` for each, in a worker, then `collate` for all.

    What is not asked for is None in the batch; what is asked for and not there has no rows.

    Attributes:
        transform: From pictures to pixels.
        tokenizer: From texts to token ids.
        caption_length: Most tokens of a short caption. None: no captions.
        long_caption_length: Most tokens of a long caption. None: no long captions.
        phrase_length: Most tokens of a phrase or its near misses.
        regions: Most regions per image, drawn at random where there are more. 0: no regions.
        negatives: Most near misses per region, drawn alike. 0: none.
        caption_negatives: Most near misses per caption, drawn alike. 0: none.
        edits: Change a sample's texts before anything is chosen, in this order.
        overflow: What happens to texts that are too long.
    """

    transform: ImageTransform
    tokenizer: Tokenizer
    caption_length: int | None = 77
    long_caption_length: int | None = None
    phrase_length: int = 77
    regions: int = 0
    negatives: int = 0
    caption_negatives: int = 0
    edits: tuple[Edit, ...] = ()
    overflow: Overflow = "error"

    def __post_init__(self) -> None:
        if self.negatives and not self.regions:
            raise ValueError(
                f"negatives={self.negatives} belong to regions, and regions=0. Ask for regions (--set data.regions=4),"
                " or for no negatives (--set data.negatives=0)."
            )
        if self.caption_negatives and self.caption_length is None:
            raise ValueError(
                f"caption_negatives={self.caption_negatives} belong to captions, and there are none. Ask for captions"
                " (--set data.captions=true), or for no negatives of them (--set data.caption_negatives=0)."
            )

    def prepare(self, sample: Sample, rng: np.random.Generator | None = None) -> Prepared:
        """Everything about one sample that needs no other.

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
        caption, near = self._caption(sample, rng)
        if self.long_caption_length is not None and not sample.long_caption.strip():
            raise ValueError(
                f"Sample {sample.id} has no long caption, or an empty one. Add one, or train without long captions,"
                " where the recipe can: --set data.long_captions=false."
            )
        return Prepared(
            id=sample.id,
            view=replace(view, boxes=()),
            caption=caption,
            long_caption=None if self.long_caption_length is None else sample.long_caption,
            regions=self._regions(sample, view, rng),
            caption_negatives=near,
        )

    def collate(self, samples: Sequence[Prepared]) -> Batch:
        """Prepared samples as one batch.

        Raises:
            ValueError: If a text is too long and `overflow` is "error".
        """
        regions = [region for sample in samples for region in sample.regions]
        misses = [miss.text for region in regions for miss in region.negatives]
        near = [text for sample in samples for text in sample.caption_negatives]
        phrases = [region.phrase for region in regions]
        boxes = torch.tensor([region.box for region in regions], dtype=torch.float32).view(-1, 4)
        keys = torch.tensor([phrase_key(phrase) for phrase in phrases], dtype=torch.int64)
        wanted, hard, near_wanted = self.regions > 0, self.negatives > 0, self.caption_negatives > 0
        captions = [sample.caption or "" for sample in samples]
        long_captions = [sample.long_caption or "" for sample in samples]
        return Batch(
            ids=tuple(sample.id for sample in samples),
            pixels=self.transform.stack([sample.view for sample in samples]),
            caption_ids=self._tokens(captions, self.caption_length),
            long_caption_ids=self._tokens(long_captions, self.long_caption_length),
            boxes=boxes if wanted else None,
            region_image=_owners([len(sample.regions) for sample in samples]) if wanted else None,
            phrase_ids=self._tokens(phrases, self.phrase_length if wanted else None),
            phrase_key=keys if wanted else None,
            negative_ids=self._tokens(misses, self.phrase_length if hard else None),
            negative_region=_owners([len(region.negatives) for region in regions]) if hard else None,
            caption_negative_ids=self._tokens(near, self.caption_length if near_wanted else None),
            caption_negative_image=_owners([len(s.caption_negatives) for s in samples]) if near_wanted else None,
        )

    def _caption(self, sample: Sample, rng: np.random.Generator) -> tuple[str | None, tuple[str, ...]]:
        """A short caption and near misses of it."""
        if self.caption_length is None:
            return None, ()
        captions = [text for text in sample.captions if text.strip()]
        if not captions:
            raise ValueError(
                f"Sample {sample.id} has no caption, or an empty one. Add one, or train without short captions, where"
                " the recipe can: --set data.captions=false."
            )
        if self.caption_negatives and sample.caption_negatives:  # they belong to the first caption
            misses = _draw(len(sample.caption_negatives), self.caption_negatives, rng)
            return sample.captions[0], tuple(sample.caption_negatives[index].text for index in misses)
        return captions[int(rng.integers(len(captions)))], ()

    def _regions(self, sample: Sample, view: View, rng: np.random.Generator) -> tuple[Region, ...]:
        """Regions that the view still shows, and near misses of each."""
        seen = [
            replace(region, box=box) for region, box in zip(sample.regions, view.boxes, strict=False) if box is not None
        ]
        chosen = []
        for index in _draw(len(seen), self.regions, rng):
            misses = seen[index].negatives
            kept = tuple(misses[miss] for miss in _draw(len(misses), self.negatives, rng))
            chosen.append(replace(seen[index], negatives=kept))
        return tuple(chosen)

    def _tokens(self, texts: list[str], length: int | None) -> Int[Tensor, "_n _l"] | None:
        return None if length is None else self.tokenizer.encode(texts, length, self.overflow)


def phrase_key(phrase: str) -> int:
    """The same number for the same phrase in every process: 63 bits of a hash, blind to case and white space."""
    plain = " ".join(phrase.lower().split())
    return int.from_bytes(blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def _generator(sample_id: str) -> np.random.Generator:
    """Randomness that is the same for a sample in every process."""
    name = sample_id.encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(blake2b(name, digest_size=16).digest()))


def _draw(available: int, most: int, rng: np.random.Generator) -> list[int]:
    """At most `most` different indices in rising order, every set of them as likely."""
    if available <= most:
        return list(range(available))
    return sorted(int(index) for index in rng.choice(available, most, replace=False))


def _owners(counts: list[int]) -> Int[Tensor, " n"]:
    """For each of the rows that lie one behind another, whose it is. Counts 2, 0, 1 give 0, 0, 2."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
