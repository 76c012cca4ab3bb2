"""LLaVA-1.5 (arXiv:2310.03744) with an eye of ours: first the connector, then the language model.

foveal train llava:stage1 --set model.tower=MODEL --set model.language=FOLDER --data blip558k.json::images --out runs/l1
foveal train llava:stage2 --set model.folder=runs/l1 --data mix665k.json::images --out runs/l2
"""

from dataclasses import dataclass, replace

from torch import Tensor

from ..distributed import ALONE, World
from ..losses import next_token
from ..multimodal.chats import Chats
from ..multimodal.llava import AnswerOutput, Llava
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The next token's cross-entropy, on answers alone: log V if all tokens are equally likely."""

    def __call__(self, output: AnswerOutput, world: World = ALONE) -> dict[str, Tensor]:
        """Return the mean over the answer tokens of all ranks."""
        return {"answer": next_token(output.logits, output.targets, world=world)}


def stage1() -> Run[Llava]:
    """Train the connector on 558,000 captions: one epoch, batch 256."""
    return Run(
        name="llava.stage1",
        model=Llava(style="plain"),
        objective=Objective(),
        data=Chats(),
        optimizer=Optimizer(lr=1e-3, weight_decay=0.0, warmup_steps=65, clip_gradient_norm=1.0),
        steps=2180,
        batch_size=256,
        machine=Machine(precision="bf16", workers=4, checkpoint_every=500),
    )


def stage2() -> Run[Llava]:
    """Train connector and language model on 665,000 conversations: one epoch, batch 128."""
    return replace(
        stage1(),
        name="llava.stage2",
        model=Llava(trained="all"),
        optimizer=Optimizer(lr=2e-5, weight_decay=0.0, warmup_steps=156, clip_gradient_norm=1.0),
        steps=5195,
        batch_size=128,
    )


def stage2_lora() -> Run[Llava]:
    """Train as `stage2` with adapters of rank 128 in the language model, which learn ten times as fast."""
    optimizer = Optimizer(
        lr=2e-4,
        weight_decay=0.0,
        warmup_steps=156,
        clip_gradient_norm=1.0,
        lr_factors=(("llava.model.multi_modal_projector", 0.1),),
    )
    return replace(stage2(), name="llava.stage2_lora", model=Llava(trained="lora"), optimizer=optimizer)


def demo() -> Run[Llava]:
    """Train a tiny Llama from nothing to name the colors of made-up tiles: minutes on a core."""
    return replace(
        stage2(),
        name="llava.demo",
        model=Llava(trained="all", style="plain", most_tokens=128, standardized=True),
        data=Chats(sources=("scenes",)),
        optimizer=Optimizer(lr=2e-3, weight_decay=0.0, warmup_steps=40, clip_gradient_norm=1.0),
        steps=600,
        batch_size=32,
        machine=Machine(workers=1, checkpoint_every=200),
    )


def smoke() -> Run[Llava]:
    """Train six steps of the demo."""
    small = demo()
    machine = replace(small.machine, workers=0, checkpoint_every=3)
    optimizer = replace(small.optimizer, warmup_steps=2)
    return replace(small, name="llava.smoke", optimizer=optimizer, steps=6, batch_size=8, machine=machine)
