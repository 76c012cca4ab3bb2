"""C2LIP (CVPR 2026, arXiv:2603.25722): the things an image shows, against the whole image and against its patches.

    foveal train c2lip --init siglip-b16 --data 'pairs/{000..999}.tar' --out runs/c2lip

Nothing is learned that the model does not have; at inference it is an ordinary SigLIP.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..data.images import ImageTransform
from ..data.texts import Text
from ..data.tokenizer import Tokenizer
from ..distributed import ALONE, World
from ..losses import owned_sigmoid, sigmoid_contrastive
from ..models import sizes
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Kind, Output, Owner, Sample
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True)
class NounPhrases:
    """Noun phrases of the things in an image: those of its regions, as the data engine's phrase stage gives them.

    Attributes:
        most: Of an image.
    """

    most: int = 10
    name: str = "noun_phrase"
    of: Owner = "image"
    kind: Kind = "caption"
    tokens: bool = False

    def __call__(self, sample: Sample, _rng: np.random.Generator) -> Sequence[Text]:
        """Return distinct ones, the first of a sample."""
        return [Text(phrase) for phrase in dict.fromkeys(region.phrase for region in sample.regions)][: self.most]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Sigmoid loss of captions + noun phrases against the global embedding (NPC) + against pooled patches (XAC).

    Attributes:
        noun_phrase: Weight of NPC.
        cross_attention: Weight of XAC.
    """

    noun_phrase: float = 1.0
    cross_attention: float = 0.01
    needs: ClassVar[tuple[str, ...]] = ("caption", "noun_phrase")

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the weighted terms by name."""
        caption, phrases = output.need("caption"), output.need("noun_phrase")
        patches, mask = output.need_image_tokens()
        rows = (phrases.embedding, phrases.owner, output.scale, output.bias)

        def pooled(images: Tensor, texts: Tensor) -> Tensor:
            return _pooled_similarity(images, mask, texts)

        npc = owned_sigmoid(output.image, *rows, world=world)
        xac = owned_sigmoid(patches, *rows, similarity=pooled, world=world)
        return {
            "caption": sigmoid_contrastive(output.image, caption.embedding, output.scale, output.bias, world=world),
            "noun_phrase": self.noun_phrase * npc,
            "cross_attention": self.cross_attention * xac,
        }


def _pooled_similarity(patches: Tensor, mask: Tensor, texts: Tensor) -> Tensor:
    """Return the cosine of each text and an image's patches, weighted by a softmax of their products with it."""
    products = (patches @ texts.T).masked_fill(~mask[..., None], -float("inf"))  # (B, P, m)
    pooled = F.normalize(products.softmax(dim=1).transpose(1, 2) @ patches, dim=-1)  # (B, m, E)
    return (pooled * texts).sum(dim=-1)


def c2lip() -> Run:
    """Train SigLIP's B/16: five passes over CC3M's short captions, batch 768. Needs SigLIP's tokenizer.

    --set data.tokenizer.path=tokenizer.json
    """
    base = sizes.siglip2_b_16()
    return Run(
        name="c2lip",
        model=replace(base, tokens="raw", vision=replace(base.vision, dense="value_path")),
        objective=Objective(),
        data=Feed(
            groups=(NounPhrases(),),
            transform=ImageTransform(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resample="bilinear"),
            tokenizer=Tokenizer(lower=True, pad_to_length=True),
        ),
        optimizer=Optimizer(lr=1e-5, weight_decay=0.1, betas=(0.9, 0.98), warmup_steps=50),
        steps=18_360,
        batch_size=768,
        machine=Machine(precision="bf16", workers=8),
    )


def demo() -> Run:
    """Train the same from nothing, at demo scale, with CLIP's tokenizer and texts to their first end mark."""
    run = demo_scale(c2lip())
    assert isinstance(run.data, Feed)
    text = replace(run.model.text, eos_id=49407, start=True, context=64, pooling="first_eos")
    data = replace(run.data, transform=ImageTransform(), tokenizer=Tokenizer())
    return replace(run, model=replace(run.model, text=text), data=data)


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
