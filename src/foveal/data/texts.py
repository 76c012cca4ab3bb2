"""Edits of texts for recipes: parts that take a sample and give an edited one."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from ..types import Kind, Negative, Owner, Sample

Edit = Callable[[Sample, np.random.Generator], Sample]


class Text(NamedTuple):
    """A text of a group.

    Attributes:
        text: What it says.
        owner: What it is about, by number: the sample's region, or 0 where groups are of images.
        shift: Share of the free positions of the text tower that are left before the text, in [0, 1].
    """

    text: str
    owner: int = 0
    shift: float = 0.0


@runtime_checkable
class TextGroup(Protocol):
    """Texts of a sample that a recipe brings of its own: any number, in a group with a name. A frozen dataclass."""

    @property
    def name(self) -> str:
        """The group's name in `Batch.texts` and `Output.texts`."""

    @property
    def of(self) -> Owner:
        """The kind of owner that the texts are about."""

    @property
    def kind(self) -> Kind:
        """The kind of text, which chooses positions and projection of the text tower."""

    @property
    def tokens(self) -> bool:
        """True if an objective compares their tokens."""

    def __call__(self, sample: Sample, rng: np.random.Generator, /) -> Sequence[Text]:
        """Return the texts of one sample. Where a run asks for regions, it has those chosen for the batch alone."""


# An end of sentence: a full stop and the like, closing quotes or brackets, and white space before anything but a
# lower-case letter ("e.g. a cat" goes on). Chinese and Japanese ones need no space.
_END = re.compile(r"[.!?][\"'\u201d\u2019)\]]*\s+(?=[^\sa-z])|[\u3002\uff01\uff1f]\s*(?=\S)")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, with full stops, without white space between them. An empty text has none."""
    starts = [0, *(end.end() for end in _END.finditer(text)), len(text)]
    parts = (text[start:stop].strip() for start, stop in pairwise(starts))
    return [part for part in parts if part]


def first_sentence(text: str) -> str:
    """Return the text before the first ". ", as Long-CLIP (arXiv:2403.15378) makes short captions of long ones."""
    return " ".join(text.split()).split(". ")[0]


@dataclass(frozen=True)
class FirstSentence:
    """The first sentence of the long caption becomes the short caption (Long-CLIP, arXiv:2403.15378).

    Attributes:
        only_missing: Samples that have captions keep them.
    """

    only_missing: bool = False

    def __call__(self, sample: Sample, _rng: np.random.Generator) -> Sample:
        """Replace the caption and drop hard negatives of the old one."""
        if not sample.long_caption.strip() or (self.only_missing and any(text.strip() for text in sample.captions)):
            return sample
        return replace(sample, captions=(first_sentence(sample.long_caption),), caption_negatives=())


@dataclass(frozen=True)
class DropSummary:
    """An edit that drops the long caption's first sentence: it sums the others up, and a model may stop there.

    Attributes:
        probability: Of doing so.
    """

    probability: float = 1.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Drop the first sentence of a long caption, unless it is the only one."""
        parts = sentences(sample.long_caption)
        if rng.random() >= self.probability or len(parts) < 2:
            return sample
        return replace(sample, long_caption=" ".join(parts[1:]), long_caption_negatives=())


@dataclass(frozen=True)
class SampleSentences:
    """An edit that keeps sentences of the long caption, drawn at random.

    Attributes:
        most: At most this many; between one and this many if `vary` is set.
        vary: The number is drawn too.
        shuffle: They come in random order, not in the caption's.
    """

    most: int
    vary: bool = False
    shuffle: bool = False

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most is a number of sentences, at least 1, not {self.most}.")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Draw sentences. A caption that comes out as it was keeps its hard negatives."""
        parts = sentences(sample.long_caption)
        count = min(int(rng.integers(1, self.most + 1)) if self.vary else self.most, len(parts))
        drawn = rng.choice(len(parts), count, replace=False) if parts else np.arange(0)
        order = drawn if self.shuffle else np.sort(drawn)
        if np.array_equal(order, np.arange(len(parts))):
            return sample
        caption = " ".join(parts[index] for index in order)
        return replace(sample, long_caption=caption, long_caption_negatives=())


@dataclass(frozen=True)
class Prefix:
    """Words before every short caption and its hard negatives. FG-CLIP has "a photo of ".

    Attributes:
        words: With the space that ends them.
    """

    words: str = "a photo of "

    def __call__(self, sample: Sample, _rng: np.random.Generator) -> Sample:
        """Prefix captions and hard negatives alike, lest the prefix tell them apart."""
        captions = tuple(self.words + caption for caption in sample.captions if caption.strip())
        hard_negatives = tuple(
            Negative(self.words + negative.text, negative.kind) for negative in sample.caption_negatives
        )
        return replace(sample, captions=captions, caption_negatives=hard_negatives)
