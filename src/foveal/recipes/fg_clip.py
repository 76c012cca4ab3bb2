"""FG-CLIP (ICML 2025, arXiv:2505.05071): long captions first, then regions and hard negatives.

foveal train fg_clip:stage1 --init openai-clip-b16 --data 'recaptioned/{000..999}.tar' --out runs/fg1
foveal train fg_clip:stage2 --init runs/fg1 --data 'fine_hard/*.json' --out runs/fg2
"""

from dataclasses import dataclass, replace

from torch import Tensor

from ..distributed import ALONE, World
from ..losses import contrastive, hard_negative, regional
from ..models import sizes
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Output
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Global loss + alpha * regional + beta * hard negatives, weighted as in the authors' code and paper.

    Attributes:
        alpha: Weight of regions against phrases.
        beta: Weight of regions against hard negatives of their phrases.
        drop_same_phrase: Regions with the same phrase are no negatives of each other. The authors' code keeps them.
        gather_regions: Regions of all ranks are negatives. The authors' code has those of a rank only.
    """

    alpha: float = 0.1
    beta: float = 0.5
    drop_same_phrase: bool = False
    gather_regions: bool = False

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the weighted terms by name. What the data does not hold has no term."""
        terms = {
            name: contrastive(output.image, texts.embedding, output.scale, world=world)
            for name, texts in output.texts.items()
            if name in ("caption", "long_caption")
        }
        if output.regions is not None:
            phrases = output.need("phrase")
            pairs = (output.regions, phrases.embedding)
            keys = phrases.key if self.drop_same_phrase else None
            loss = regional(*pairs, output.region_scale, phrase_key=keys, world=world, gather=self.gather_regions)
            terms["region"] = self.alpha * loss
            if "negative" in output.texts:
                negatives = output.need("negative")
                negative_rows = (negatives.embedding, negatives.owner, output.negative_scale)
                terms["hard_negative"] = self.beta * hard_negative(*pairs, *negative_rows, world=world)
        return terms


def stage1() -> Run:
    """Train whole images against short and long captions: one pass over 1.6 billion, batch 61,440."""
    return Run(
        name="fg_clip.stage1",
        model=sizes.fg_clip(sizes.vit_b_16()),
        objective=Objective(),
        data=Feed(long_captions=True),
        optimizer=Optimizer(lr=1e-4, weight_decay=0.001, warmup_steps=200),
        steps=26_041,
        batch_size=61_440,
        machine=Machine(precision="bf16", workers=8, activation_checkpointing=True),
    )


def stage2() -> Run:
    """Train with regions and hard negatives: one pass over FineHARD's 12 million, 512 images on each of 8 GPUs."""
    return replace(
        stage1(),
        name="fg_clip.stage2",
        data=Feed(long_captions=True, regions=4, negatives=10),
        optimizer=Optimizer(lr=1e-6, weight_decay=0.001, warmup_steps=200),
        steps=2_929,
        batch_size=4096,
    )


def demo() -> Run:
    """Train stage 2 from nothing, at demo scale, regions ten times as heavy as where a trained model is refined."""
    return demo_scale(replace(stage2(), objective=Objective(alpha=1.0, beta=2.0)))


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
