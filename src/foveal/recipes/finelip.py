"""FineLIP (CVPR 2025, arXiv:2504.01916): refined tokens of images and long captions, compared one by one.

    foveal train finelip --init openai-clip-b16 --data share_captioner.json --out runs/finelip

The authors' code counts its schedule in micro-batches, so that its rate ends at the top; `released` does likewise.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from ..distributed import ALONE, World
from ..losses import contrastive, token_triplet
from ..models import sizes
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Output
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The triplet loss on late interaction.

    Attributes:
        margin: Lead of the true pair over every other.
        hardest: Only the closest wrong partner counts.
        reduction: The authors sum over all pairs.
        contrastive: Weight of InfoNCE on the global embeddings. The authors have none; HN-CLIP (arXiv:2608.18521)
            found one worth having.
    """

    margin: float = 0.2
    hardest: bool = False
    reduction: Literal["sum", "mean"] = "sum"
    contrastive: float = 0.0
    needs: ClassVar[tuple[str, ...]] = ("long_caption",)

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the terms by name: "token_triplet", and "long_caption" where it has a weight."""
        texts, images = output.need_tokens("long_caption")
        terms = {
            "token_triplet": token_triplet(
                texts[0],
                images[0],
                texts[1],
                images[1],
                margin=self.margin,
                hardest=self.hardest,
                reduction=self.reduction,
                world=world,
            )
        }
        if self.contrastive:
            pair = contrastive(output.image, output.need("long_caption").embedding, output.scale, world=world)
            terms["long_caption"] = self.contrastive * pair
        return terms


def finelip() -> Run:
    """Train ViT-B/16 with 39 slots: six passes over ShareGPT4V's 1.2M in fp32, refinement 200 times faster.

    Batch 512 as the authors accumulate, but all of it are each other's negatives, not 128 at a time.
    """
    return Run(
        name="finelip",
        model=replace(sizes.finelip(sizes.vit_b_16()), initial_scale=100.0),
        objective=Objective(),
        data=Feed(captions=False, long_captions=True),
        optimizer=Optimizer(
            lr=1e-6,
            weight_decay=0.01,
            warmup_steps=200,
            lr_factors=(("image_refiner", 200.0), ("text_refiner", 200.0)),
        ),
        steps=14_600,
        batch_size=512,
        machine=Machine(workers=8, micro_batches=4),
    )


def released() -> Run:
    """Train with the schedule that the authors' code really follows, to reproduce the published numbers."""
    run = finelip()
    return replace(
        run, name="finelip.released", optimizer=replace(run.optimizer, schedule="finelip_release", warmup_steps=200)
    )


def demo() -> Run:
    """Train the same at demo scale."""
    return demo_scale(finelip())


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
