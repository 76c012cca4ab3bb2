"""beta-CLIP (CVPR 2026, arXiv:2512.12678): a caption, its sentences and its phrases, each of which pools the image.

    foveal train beta_clip --init openai-clip-b16 --data share_captioner.json --out runs/beta
    foveal eval runs/beta scenes --similarity text_pool

Texts of the same image are partial positives of one another: `beta` says by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.texts import Text, sentences
from ..distributed import ALONE, World
from ..losses import contrastive, soft_contrastive
from ..losses.soft_contrastive import Form
from ..models.sizes import long_text, vit_b_16
from ..models.text_pool import TextPool, pool_by_texts
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Kind, Output, Owner, Sample
from .scale import demo_scale, smoke_scale

POOL = TextPool(norms=False, zero_key=False, mlp_ratio=4, initial_scale=1 / 0.07)


@dataclass(frozen=True)
class Sentences:
    """Sentences of the long caption, drawn at random.

    Attributes:
        most: Of an image.
    """

    most: int = 5
    name: str = "sentence"
    of: Owner = "image"
    kind: Kind = "caption"
    tokens: bool = False

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sequence[Text]:
        """Return them in their order."""
        return _drawn(sentences(sample.long_caption), self.most, rng)


@dataclass(frozen=True)
class Phrases:
    """Phrases of the image's regions, as the data engine finds them in its captions.

    Attributes:
        most: Of an image.
    """

    most: int = 30
    name: str = "image_phrase"
    of: Owner = "image"
    kind: Kind = "phrase"
    tokens: bool = False

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sequence[Text]:
        """Return distinct ones in their order."""
        return _drawn(list(dict.fromkeys(region.phrase for region in sample.regions)), self.most, rng)


def _drawn(texts: Sequence[str], most: int, rng: np.random.Generator) -> list[Text]:
    indices = rng.choice(len(texts), most, replace=False) if len(texts) > most else np.arange(len(texts))
    return [Text(texts[index]) for index in sorted(indices)]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Whole images against captions, and texts against images pooled by them.

    Attributes:
        beta: Weight of the other texts of the same image, between nothing (0) and the text itself (1).
        form: "ce" sharpens regions, "bce" retrieval by long texts.
        groups: The texts that pool.
    """

    beta: float = 0.5
    form: Form = "ce"
    groups: tuple[str, ...] = ("long_caption", "sentence", "image_phrase")

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the terms by name: "long_caption" and "text_pool"."""
        weights, (patches, mask) = output.parts["text_pool"], output.need_image_tokens()
        groups = [output.need(name) for name in self.groups]
        texts, owner = torch.cat([group.embedding for group in groups]), torch.cat([group.owner for group in groups])
        queries, slot = _by_owner(texts, owner, len(patches))
        pooled = pool_by_texts(weights, queries, patches, mask)[owner, slot]
        image = owner + world.rank * len(patches)
        scale = weights["log_scale"].exp()
        loss = soft_contrastive(pooled, texts, image, scale, beta=self.beta, form=self.form, world=world)
        whole = contrastive(output.image, output.need("long_caption").embedding, output.scale, world=world)
        return {"long_caption": whole, "text_pool": loss}


def _by_owner(texts: Tensor, owner: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return each image's texts side by side, padded with zeros, and the slot of each text there."""
    order = owner.argsort(stable=True)
    counts = torch.bincount(owner, minlength=count)
    slot = torch.empty_like(owner)
    slot[order] = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner[order]]
    most = int(counts.max()) if count else 0
    rows = texts.new_zeros(count * most, texts.shape[1]).index_copy(0, owner * most + slot, texts)
    return rows.unflatten(0, (count, most)), slot


def beta_clip() -> Run:
    """Train ViT-B/16 with 248 tokens: ten passes over ShareGPT4V's 1.2M, batch 512, the pool 100 times faster."""
    return Run(
        name="beta_clip",
        model=replace(long_text(vit_b_16()), tokens="raw", parts=(POOL,)),
        objective=Objective(),
        data=Feed(captions=False, long_captions=True, groups=(Sentences(), Phrases())),
        optimizer=Optimizer(lr=1e-5, weight_decay=0.01, warmup_steps=24, lr_factors=(("parts.text_pool", 100.0),)),
        steps=24_300,
        batch_size=512,
        machine=Machine(precision="bf16", workers=8),
    )


def bce() -> Run:
    """Train the same with a yes or no for every pair."""
    return replace(beta_clip(), name="beta_clip.bce", objective=Objective(form="bce"))


def demo() -> Run:
    """Train the same at demo scale."""
    return demo_scale(beta_clip())


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
