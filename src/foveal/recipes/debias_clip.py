"""DeBias-CLIP (CVPR 2026, arXiv:2602.22419): Long-CLIP without the habits of long captions.

    foveal train debias_clip --init openai-clip-b16 --data share_captioner.json --out runs/debias

The sentence that sums a caption up is left out, some of the others are read, and they begin anywhere in the table of
positions, so that late positions and later sentences are learned like the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.texts import DropSummary, Text, first_sentence, sentences
from ..models.sizes import long_text, vit_b_16
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Kind, Owner, Sample
from .long_clip import Objective
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True)
class SampledSentences:
    """The long caption as some of its sentences, drawn at random and moved by a random share of the free positions.

    Attributes:
        least: Share of sentences kept, at least.
    """

    least: float = 0.5
    name: str = "long_caption"
    of: Owner = "image"
    kind: Kind = "long_caption"
    tokens: bool = True

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sequence[Text]:
        """Return one text.

        Raises:
            ValueError: If the sample has no long caption.
        """
        parts = sentences(sample.long_caption)
        if not parts:
            raise ValueError(f"Sample {sample.id} has no long caption; add one.")
        count = int(rng.integers(max(1, round(self.least * len(parts))), len(parts) + 1))
        indices = sorted(int(index) for index in rng.choice(len(parts), count, replace=False))
        return [Text(" ".join(parts[index] for index in indices), shift=float(rng.random()))]


@dataclass(frozen=True)
class AnySentence:
    """Any sentence of the long caption becomes the short one."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample with another short caption; hard negatives of the old one are dropped."""
        parts = sentences(sample.long_caption)
        if not parts:
            return sample
        caption = first_sentence(parts[int(rng.integers(len(parts)))])
        return replace(sample, captions=(caption,), caption_negatives=())


EDITS = (DropSummary(), AnySentence())


def debias_clip() -> Run:
    """Train ViT-B/16: three passes over ShareGPT4V's 1.2M, batch 2048. Begin from OpenAI's with --init."""
    return Run(
        name="debias_clip",
        model=replace(long_text(vit_b_16()), initial_scale=100.0),
        objective=Objective(),
        data=Feed(groups=(SampledSentences(),), edits=EDITS),
        optimizer=Optimizer(lr=1e-6, weight_decay=0.01, warmup_steps=200),
        steps=1_825,
        batch_size=2048,
        machine=Machine(precision="bf16", workers=8),
    )


def demo() -> Run:
    """Train the same at demo scale."""
    run = demo_scale(debias_clip())
    assert isinstance(run.data, Feed)
    return replace(run, data=replace(run.data, edits=EDITS))


def smoke() -> Run:
    """Train six steps of the demo."""
    run = smoke_scale(demo())
    assert isinstance(run.data, Feed)
    return replace(run, data=replace(run.data, edits=EDITS))
