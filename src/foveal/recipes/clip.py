"""CLIP (arXiv:2103.00020): images against captions. The baseline that the others are measured by.

    foveal train clip --data 'pairs/{00000..41455}.tar' --out runs/clip

Where samples have long captions too, they are a second text of the same tower, cut at its 77 tokens.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from ..distributed import ALONE, World
from ..losses import contrastive
from ..models.sizes import vit_b_16
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Output
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Symmetric InfoNCE of images and each text they have.

    Attributes:
        label_smoothing: Share of the target that all captions of the batch have alike.
    """

    label_smoothing: float = 0.0

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the terms by name: "caption", and "long_caption" where there are any."""
        return {
            name: contrastive(
                output.image, texts.embedding, output.scale, label_smoothing=self.label_smoothing, world=world
            )
            for name, texts in output.texts.items()
            if name in ("caption", "long_caption")
        }


def clip() -> Run:
    """Train ViT-B/16 at the paper's scale: 32 passes over 400M pairs, batch 32,768."""
    return Run(
        name="clip",
        model=vit_b_16(),
        objective=Objective(),
        data=Feed(),
        optimizer=Optimizer(lr=5e-4, weight_decay=0.2, betas=(0.9, 0.98), eps=1e-6, warmup_steps=2000),
        steps=390_625,
        batch_size=32_768,
        machine=Machine(precision="bf16", workers=8, activation_checkpointing=True),
    )


def demo() -> Run:
    """Train on short and long captions, cut at 77 tokens, at demo scale."""
    return demo_scale(replace(clip(), data=Feed(long_captions=True)))


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
