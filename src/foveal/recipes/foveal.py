"""foveal: everything the papers found, in one training: whole images, regions, hard negatives and tokens.

    foveal train foveal --init openai-clip-b16 --data 'fine_hard/*.json' --out runs/foveal

Beside FG-CLIP's terms it tells whole captions from their hard negatives, and compares captions and images token by
token. Regions with the same phrase are no negatives of each other.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from ..distributed import ALONE, World
from ..losses import (
    best_patch_negative,
    contrastive,
    hard_negative,
    pooled_negatives,
    regional,
    token_hard_negative,
    token_triplet,
)
from ..models import sizes
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Output
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Global + regional + hard negatives of regions and of captions + tokens.

    Attributes:
        region: Weight of regions against phrases.
        hard_negative: Weight of regions against hard negatives of their phrases.
        pooled: Weight of regions against all phrases and hard negatives of the batch (FG-CLIP 2's CON).
        best_patch: Weight of phrases against their hard negatives where the place is not given: each by the patch of
            the image that fits it best. For hard negatives that are false of the whole picture.
        caption_negative: Weight of images against hard negatives of their captions.
        token_negative: Weight of the same, token by token.
        token: Weight of the triplet loss on late interaction of captions, a mean over all pairs.
        margin: Of that loss.
    """

    region: float = 1.0
    hard_negative: float = 2.0
    pooled: float = 0.0
    best_patch: float = 0.0
    caption_negative: float = 0.5
    token_negative: float = 0.5
    token: float = 0.5
    margin: float = 0.2

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the weighted terms by name. What the data does not hold has no term."""
        return self._whole(output, world) | self._regions(output, world)

    def _whole(self, output: Output, world: World) -> dict[str, Tensor]:
        terms = {
            name: contrastive(output.image, texts.embedding, output.scale, world=world)
            for name, texts in output.texts.items()
            if name in ("caption", "long_caption")
        }
        if "caption_negative" in output.texts and "caption" in output.texts and self.caption_negative:
            negatives = output.need("caption_negative")
            negative_rows = (output.need("caption").embedding, negatives.embedding, negatives.owner)
            loss = hard_negative(output.image, *negative_rows, output.scale, world=world)
            terms["caption_negative"] = self.caption_negative * loss
        return terms | self._tokens(output, world)

    def _tokens(self, output: Output, world: World) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        if output.image_tokens is None or "caption" not in output.texts or output.texts["caption"].tokens is None:
            return terms
        captions, images = output.need_tokens("caption")
        if self.token:
            sets = (captions[0], images[0], captions[1], images[1])
            terms["token"] = self.token * token_triplet(*sets, margin=self.margin, reduction="mean", world=world)
        if "caption_negative" in output.texts and self.token_negative:
            negatives, owner = output.need_tokens("caption_negative")[0], output.need("caption_negative").owner
            loss = token_hard_negative(images, captions, negatives, owner, output.scale, world=world)
            terms["token_negative"] = self.token_negative * loss
        return terms

    def _regions(self, output: Output, world: World) -> dict[str, Tensor]:
        if output.regions is None:
            return {}
        phrases = output.need("phrase")
        pairs = (output.regions, phrases.embedding)
        loss = regional(*pairs, output.region_scale, phrase_key=phrases.key, world=world, gather=True)
        terms = {"region": self.region * loss}
        if "negative" in output.texts:
            negatives = output.need("negative")
            negative_rows = (negatives.embedding, negatives.owner, output.negative_scale)
            terms["hard_negative"] = self.hard_negative * hard_negative(*pairs, *negative_rows, world=world)
            if self.pooled:
                terms["pooled"] = self.pooled * pooled_negatives(*pairs, *negative_rows, world=world)
            if self.best_patch and output.image_tokens is not None and output.region_image is not None:
                patch_rows = (output.image_tokens, output.image_token_mask, phrases.embedding, output.region_image)
                terms["best_patch"] = self.best_patch * best_patch_negative(*patch_rows, *negative_rows, world=world)
        return terms


def foveal() -> Run:
    """Train ViT-B/16: one pass over 12M images with regions, batch 4096. Begin from OpenAI's with --init."""
    model = replace(sizes.fg_clip(sizes.vit_b_16()), tokens="raw")
    return Run(
        name="foveal",
        model=model,
        objective=Objective(),
        data=Feed(long_captions=True, regions=4, negatives=10, caption_negatives=4),
        optimizer=Optimizer(
            lr=1e-6,
            weight_decay=0.001,
            warmup_steps=200,
        ),
        steps=2_929,
        batch_size=4096,
        machine=Machine(precision="bf16", workers=8, activation_checkpointing=True),
    )


def demo() -> Run:
    """Train the same from nothing, at demo scale."""
    return demo_scale(foveal())


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
