"""Long-CLIP (ECCV 2024, arXiv:2403.15378): 248 tokens, and short captions against what matters most in an image.

    foveal train long_clip --init openai-clip-b16 --data share_captioner.json --out runs/long_clip

The first 20 positions stay frozen, the rest is stretched; the short caption is the long one's first sentence.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ..data.texts import FirstSentence
from ..distributed import ALONE, World
from ..losses import contrastive, principal_component
from ..models.sizes import long_text, vit_b_16
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Output
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Images against long captions, and their principal components against short ones.

    Attributes:
        components: Principal components that are kept of each image. With fewer images than that, all are.
        label_smoothing: Share of the target that all captions of the batch have alike.
        short: Weight of the short captions. The authors' first release had 0.1.
    """

    components: int = 32
    label_smoothing: float = 0.1
    short: float = 1.0
    needs: ClassVar[tuple[str, ...]] = ("caption", "long_caption")

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the terms by name: "long_caption" and "principal_component"."""
        smoothing, long_caption = self.label_smoothing, output.need("long_caption").embedding
        long = contrastive(output.image, long_caption, output.scale, label_smoothing=smoothing, world=world)
        short = principal_component(
            output.image,
            output.need("caption").embedding,
            output.scale,
            components=self.components,
            label_smoothing=smoothing,
            world=world,
        )
        return {"long_caption": long, "principal_component": self.short * short}


def long_clip() -> Run:
    """Train ViT-B/16: six passes over ShareGPT4V's 1.2M, batch 2048. Begin from OpenAI's with --init."""
    return Run(
        name="long_clip",
        model=replace(long_text(vit_b_16()), initial_scale=100.0),
        objective=Objective(),
        data=Feed(long_captions=True, edits=(FirstSentence(),)),
        optimizer=Optimizer(lr=1e-6, weight_decay=0.01, warmup_steps=200),
        steps=3_650,
        batch_size=2048,
        machine=Machine(precision="bf16", workers=8),
    )


def demo() -> Run:
    """Train the same at demo scale, with the data's own short captions."""
    return demo_scale(long_clip())


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
