"""HN-CLIP (arXiv:2608.18521): Long-CLIP and hard negatives, with a margin that follows how unlike they are.

foveal train hn_clip --init openai-clip-b16 --data captions.jsonl --out runs/hn
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from ..data.texts import FirstSentence
from ..distributed import ALONE, World
from ..losses import margin_negative
from ..models.sizes import long_text, vit_b_16
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Output
from . import long_clip
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Long-CLIP's terms + images against hard negatives of their captions.

    Attributes:
        whole: Long-CLIP's terms.
        weight: Of the hard negatives.
        margin: Of one that has nothing in common with the caption.
    """

    whole: long_clip.Objective = field(default_factory=long_clip.Objective)
    weight: float = 1.0
    margin: float = 0.2
    needs: ClassVar[tuple[str, ...]] = ("caption", "long_caption", "caption_negative")

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the weighted terms by name: Long-CLIP's, and "caption_negative"."""
        negatives = output.need("caption_negative")
        caption_rows = (output.need("caption").embedding, negatives.embedding, negatives.owner)
        loss = margin_negative(output.image, *caption_rows, margin=self.margin, world=world)
        return self.whole(output, world) | {"caption_negative": self.weight * loss}


def hn_clip() -> Run:
    """Train ViT-B/16: six passes over ShareGPT4V's 1.2M with hard negatives of captions, batch 2048."""
    return Run(
        name="hn_clip",
        model=replace(long_text(vit_b_16()), initial_scale=100.0),
        objective=Objective(),
        data=Feed(long_captions=True, caption_negatives=4, edits=(FirstSentence(only_missing=True),)),
        optimizer=Optimizer(lr=1e-6, weight_decay=0.01, warmup_steps=200),
        steps=3_650,
        batch_size=2048,
        machine=Machine(precision="bf16", workers=8),
    )


def demo() -> Run:
    """Train the same at demo scale."""
    return demo_scale(hn_clip())


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
