"""FG-CLIP 2 (ICML 2026, arXiv:2510.10921): SigLIP 2's towers, and phrases told from phrases.

    foveal train fg_clip2:stage2 --init siglip2-base-naflex --data 'fine_hard/*.json' --out runs/fg2

The paper and its code weigh the terms differently: `stage2` has the code's weights, `stage2_paper` the paper's.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..data.images import ImageTransform
from ..data.tokenizer import Tokenizer
from ..distributed import ALONE, World
from ..losses import (
    RankingThreshold,
    cross_modal_ranking,
    hard_negative,
    intra_modal,
    pooled_negatives,
    regional,
    sigmoid_contrastive,
)
from ..models import sizes
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Output
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Sigmoid loss + regions (FGV) + hard negatives (FGT) + phrases among themselves (TIC) + ranking (CMR) + CON.

    Attributes:
        region: Weight of FGV, regions against phrases.
        hard_negative: Weight of FGT, regions against hard negatives.
        intra_modal: Weight of TIC, phrases against the phrases nearest to them.
        ranking: Weight of CMR, a margin that follows the training.
        pooled: Weight of CON, regions against all texts of the hard block. The paper does not have it.
    """

    region: float = 0.2
    hard_negative: float = 1.5
    intra_modal: float = 0.1
    ranking: float = 0.2
    pooled: float = 0.3

    def start(self) -> "Carrying":
        """Return the objective at the first step, with its threshold at zero."""
        return Carrying(self)


@dataclass(frozen=True)
class Carrying:
    """The objective and the threshold that it carries from step to step."""

    weights: Objective
    threshold: RankingThreshold = field(default_factory=RankingThreshold)

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the weighted terms by name."""
        terms = {
            name: sigmoid_contrastive(output.image, texts.embedding, output.scale, output.bias, world=world)
            for name, texts in output.texts.items()
            if name in ("caption", "long_caption")
        }
        if output.regions is not None:
            weights, phrases = self.weights, output.need("phrase").embedding
            fgv = regional(output.regions, phrases, output.region_scale, world=world)
            terms["region"] = weights.region * fgv
            terms["intra_modal"] = weights.intra_modal * intra_modal(phrases, world=world)
            terms |= self._hard(output, world)
        return terms

    def _hard(self, output: Output, world: World) -> dict[str, Tensor]:
        """Return the terms of hard negatives; the threshold they leave behind is the next step's."""
        if "negative" not in output.texts or output.regions is None:
            return {}
        weights, phrases, negatives = self.weights, output.need("phrase"), output.need("negative")
        block = (output.regions, phrases.embedding, negatives.embedding, negatives.owner, output.negative_scale)
        terms = {
            "hard_negative": weights.hard_negative * hard_negative(*block, world=world),
            "ranking": weights.ranking * cross_modal_ranking(*block, self.threshold.value, world=world),
            "pooled": weights.pooled * pooled_negatives(*block, world=world),
        }
        self.threshold.update(*block, world=world)
        return terms

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return self.threshold.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        self.threshold.load_state_dict(state)


def stage2() -> Run:
    """Train one pass over 24 million images with regions, batch 4096, weighted as the code does.

    Needs SigLIP 2's tokenizer: --set data.tokenizer.path=tokenizer.json
    """
    return Run(
        name="fg_clip2.stage2",
        model=sizes.fg_clip2(sizes.siglip2_b_16()),
        objective=Objective(),
        data=Feed(
            long_captions=True,
            regions=4,
            negatives=10,
            transform=ImageTransform(
                mode="native", max_patches=1024, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resample="bilinear"
            ),
            tokenizer=Tokenizer(lower=True, pad_to_length=True),
        ),
        optimizer=Optimizer(lr=1e-6, weight_decay=0.001, betas=(0.9, 0.98), warmup_steps=300),
        steps=5_859,
        batch_size=4096,
        machine=Machine(precision="bf16", workers=8, activation_checkpointing=True),
    )


def stage2_paper() -> Run:
    """Train the same with the weights of the paper's equation 4."""
    paper = Objective(region=0.1, hard_negative=0.5, intra_modal=0.1, ranking=0.4, pooled=0.0)
    return replace(stage2(), name="fg_clip2.stage2_paper", objective=paper)


def demo() -> Run:
    """Train stage 2 from nothing, at demo scale, with CLIP's tokenizer and texts to their first end mark."""
    run = demo_scale(stage2())
    assert isinstance(run.data, Feed)
    text = replace(run.model.text, eos_id=49407, start=True, context=64, pooling="first_eos")
    data = replace(run.data, transform=ImageTransform(), tokenizer=Tokenizer())
    return replace(run, model=replace(run.model, text=text), data=data)


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
