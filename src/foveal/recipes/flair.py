"""FLAIR (CVPR 2025, arXiv:2412.03561): many sub-captions of an image, which is pooled anew by each of them.

foveal train flair --data 'recaptioned/{000..999}.tar' --out runs/flair
foveal eval runs/flair scenes --similarity text_pool
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from torch import Tensor

from ..data.texts import Text, sentences
from ..distributed import ALONE, World
from ..losses import conditioned_sigmoid, owned_sigmoid
from ..models.sizes import vit_b_16
from ..models.text_pool import TextPool, pool_by_texts
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Kind, Output, Owner, Sample
from .scale import demo_scale, smoke_scale


@dataclass(frozen=True)
class SubCaptions:
    """Texts made of one to three captions or sentences of the long caption, neighbors or any.

    Attributes:
        count: Texts of an image.
        most: Captions or sentences in one of them.
        neighbors: Share of texts whose sentences follow one another.
    """

    count: int = 8
    most: int = 3
    neighbors: float = 0.5
    name: str = "sub_caption"
    of: Owner = "image"
    kind: Kind = "caption"
    tokens: bool = False

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sequence[Text]:
        """Return the texts of a sample.

        Raises:
            ValueError: If it has neither captions nor a long caption.
        """
        parts = [*sample.captions, *sentences(sample.long_caption)]
        if not parts:
            raise ValueError(f"Sample {sample.id} has no caption to draw sub-captions from; add one.")
        drawn = ([parts[index].rstrip(" .") for index in self._draw(len(parts), rng)] for _ in range(self.count))
        return [Text(". ".join(texts) + ".") for texts in drawn]

    def _draw(self, available: int, rng: np.random.Generator) -> list[int]:
        length = min(int(rng.integers(1, self.most + 1)), available)
        if rng.random() < self.neighbors:
            first = int(rng.integers(available - length + 1))
            return list(range(first, first + length))
        return [int(index) for index in rng.choice(available, length, replace=False)]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The mean of two sigmoid losses: images pooled by each text (TCS), and whole images (MPS)."""

    needs: ClassVar[tuple[str, ...]] = ("sub_caption",)

    def __call__(self, output: Output, world: World = ALONE) -> dict[str, Tensor]:
        """Return the terms by name: "text_conditioned" and "sub_caption"."""
        texts, (patches, mask) = output.need("sub_caption"), output.need_image_tokens()
        pool = partial(pool_by_texts, output.parts["text_pool"])
        rows = (texts.embedding, texts.owner, output.scale, output.bias)
        conditioned = conditioned_sigmoid(patches, *rows, pool, mask=mask, world=world)
        whole = owned_sigmoid(output.image, *rows, world=world)
        return {"text_conditioned": conditioned / 2, "sub_caption": whole / 2}


def flair() -> Run:
    """Train ViT-B/16 from nothing: 32 passes over 2.8M recaptioned images of CC3M, batch 512."""
    return Run(
        name="flair",
        model=replace(vit_b_16(), tokens="raw", parts=(TextPool(),), bias=True, initial_scale=10.0),
        objective=Objective(),
        data=Feed(captions=False, groups=(SubCaptions(),)),
        optimizer=Optimizer(lr=5e-4, weight_decay=0.5, betas=(0.9, 0.98), warmup_steps=2000),
        steps=176_250,
        batch_size=512,
        machine=Machine(precision="bf16", workers=8),
    )


def demo() -> Run:
    """Train the same at demo scale."""
    return demo_scale(flair())


def smoke() -> Run:
    """Train six steps of the demo."""
    return smoke_scale(demo())
