"""The same recipe at another scale: everything but size, length and rate stays what the paper says."""

from dataclasses import replace

from ..models.config import ModelConfig, RefineConfig
from ..training.feed import Feed
from ..training.optimizer import Optimizer
from ..training.run import Run

SCENES = "scenes:seed=0"


def demo_scale(run: Run) -> Run:
    """Scale a run to minutes on two cores: a million parameters a tower, pictures of 96 pixels, from nothing."""
    optimizer = Optimizer(lr=2e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup_steps=40, clip_gradient_norm=1.0)
    return replace(
        run,
        model=_smaller(run.model, width=128, layers=4, image_size=96, embed_width=128, slots=12),
        data=_at_home(run.data),
        optimizer=optimizer,
        steps=450,
        batch_size=32,
        machine=replace(run.machine, precision="fp32", workers=1, checkpoint_every=100, activation_checkpointing=False),
    )


def smoke_scale(run: Run) -> Run:
    """Scale a run to seconds on one core, which shows that a recipe runs, not what it learns."""
    small = demo_scale(run)
    return replace(
        small,
        model=_smaller(run.model, width=32, layers=2, image_size=32, embed_width=16, slots=4),
        optimizer=replace(small.optimizer, warmup_steps=2, lr=3e-3),
        steps=6,
        batch_size=8,
        machine=replace(small.machine, workers=0, checkpoint_every=3),
    )


def _at_home(data: object) -> Feed:
    """Return the same parts of made-up scenes, four hard negatives each: nearly as good as ten at half the cost."""
    assert isinstance(data, Feed)
    return replace(
        data,
        sources=(SCENES,),
        regions=5 if data.regions else 0,
        negatives=min(data.negatives, 4),
        caption_negatives=min(data.caption_negatives, 1),
        edits=(),
        shuffle_buffer=1000,
    )


def _smaller(
    model: ModelConfig, *, width: int, layers: int, image_size: int, embed_width: int, slots: int
) -> ModelConfig:
    """Shrink a model to the same build at 8 x 8 patches; towers without projection take the shared width."""
    vision_width = width if model.vision.projection else embed_width
    vision = replace(
        model.vision,
        width=vision_width,
        layers=layers,
        heads=max(2, vision_width // 32),
        mlp_width=4 * vision_width,
        image_size=image_size,
        patch_size=image_size // 8,
    )
    text = replace(
        model.text,
        width=width,
        layers=2,
        heads=max(2, width // 32),
        mlp_width=4 * width,
        vocabulary=49408,
        freeze_kept=False,  # from nothing, frozen positions would stay random
    )
    return replace(
        model,
        vision=vision,
        text=text,
        embed_width=embed_width,
        refine=None if model.refine is None else RefineConfig(slots=slots),
        initial_scale=model.initial_scale if model.bias else 30.0,  # 1 / 0.07 is slow to leave in few steps
    )
