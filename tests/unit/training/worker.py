"""A training small enough for tests, in the test's own process or, run as a script, in a process of its own.

python worker.py OUT [--resume] [--kill-at STEP [--saving]] [path.to.field=value ...]
"""

import argparse
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.configuration import override
from foveal.distributed import World
from foveal.models.config import ModelConfig
from foveal.models.sizes import fg_clip, tiny
from foveal.training.large_batch import split
from foveal.training.optimizer import Optimizer
from foveal.training.parallel import processes
from foveal.training.run import Machine, Run
from foveal.training.trainer import fit
from foveal.types import Batch, Output, TextRows

VOCABULARY = 40


def small_model() -> ModelConfig:
    """FG-CLIP's shape with raw token sets: all kinds of text, three scales, a bias."""
    text = replace(tiny().text, vocabulary=VOCABULARY, eos_id=VOCABULARY - 1, context=8)
    return replace(fg_clip(replace(tiny(), text=text), keep=2, ratio=2), tokens="raw", bias=True)


def texts(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Random texts of random lengths, each ended."""
    ids = torch.randint(1, VOCABULARY - 1, (count, length), generator=generator)
    ends = torch.randint(2, length, (count,), generator=generator)
    ids[torch.arange(count), ends] = VOCABULARY - 1
    return ids * (torch.arange(length) <= ends[:, None])


def random_batch(images: int, seed: int, dtype: torch.dtype = torch.float32) -> Batch:
    """Images with captions, and regions and hard negatives in unequal number; the last image has none."""
    g = torch.Generator().manual_seed(seed)
    region_image = torch.randint(0, images - 1, (2 * images,), generator=g).sort().values
    regions = len(region_image)
    negative_region = torch.randint(0, len(region_image), (3 * images,), generator=g)
    corner = torch.rand(len(region_image), 2, generator=g, dtype=dtype) / 2
    return Batch(
        ids=tuple(f"{seed}/{number}" for number in range(images)),
        pixels=torch.randn(images, 3, 32, 32, generator=g, dtype=dtype),
        texts={
            "caption": TextRows(texts(images, 8, g), torch.arange(images), tokens=True),
            "long_caption": TextRows(texts(images, 12, g), torch.arange(images), kind="long_caption", tokens=True),
            "phrase": TextRows(texts(regions, 5, g), torch.arange(regions), "region", "phrase", torch.arange(regions)),
            "negative": TextRows(texts(len(negative_region), 6, g), negative_region, "region", "phrase"),
            "caption_negative": TextRows(texts(images, 8, g), torch.arange(images).flip(0), tokens=True),
        },
        boxes=torch.cat([corner, corner + 0.5], dim=1),
        region_image=region_image,
    )


@dataclass(frozen=True)
class Objective:
    """A term for every field of an output. Sums over regions are per image, so ranks of unequal number agree.

    Attributes:
        hard: Weight of the terms of hard negatives.
    """

    hard: float = 0.5

    def __call__(self, output: Output, world: World) -> dict[str, Tensor]:
        images = len(output.image)
        r, texts = output.regions, output.texts
        hits = output.region_scale * (r * texts["phrase"].embedding).sum(1)
        misses = output.negative_scale * (texts["negative"].embedding * r[texts["negative"].owner]).sum(1)
        near = texts["caption_negative"]
        wrong = (near.embedding * output.image[near.owner]).sum(1)
        best = torch.einsum("ite,ise->its", texts["long_caption"].tokens, output.image_tokens).amax(2)
        real = texts["long_caption"].token_mask
        return {
            "long": contrastive(output.image, texts["long_caption"].embedding, output, world),
            "short": contrastive(output.image, texts["caption"].embedding, output, world),
            "region": F.softplus(-hits).sum() / images,
            "hard_negative": self.hard * F.softplus(misses).sum() / images,
            "caption_negative": self.hard * F.softplus(wrong).sum() / images,
            "token": 1 - ((best * real).sum(1) / real.sum(1)).mean(),
        }


def contrastive(left: Tensor, right: Tensor, output: Output, world: World) -> Tensor:
    """InfoNCE one way, on logits with a bias that changes nothing but has a gradient path."""
    logits = output.scale * left @ world.gather(right).T + output.bias
    return F.cross_entropy(logits, torch.arange(len(left)) + world.rank * len(left))


class RandomStream:
    """Random batches; the state is how many there were."""

    def __init__(self, batch_size: int, seed: int, world: World) -> None:
        self.batch_size, self.seed, self.world, self.count = batch_size, seed, world, 0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            self.count += 1
            whole = random_batch(self.batch_size * self.world.size, 1000 * self.seed + self.count)
            yield split(whole, self.world.size)[self.world.rank]

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


@dataclass(frozen=True)
class RandomData:
    """Random batches without end."""

    def open(self, model: ModelConfig, *, batch_size: int, seed: int, world: World, workers: int) -> RandomStream:
        """This rank's part of them."""
        return RandomStream(batch_size, seed, world)


def small_run(*assignments: str) -> Run:
    """Eight steps of a tiny model with everything on."""
    run = Run(
        name="small",
        model=small_model(),
        objective=Objective(),
        data=RandomData(),
        optimizer=Optimizer(lr=1e-3, warmup_steps=2, clip_gradient_norm=1.0),
        steps=8,
        batch_size=4,
        ema=0.9,
        machine=Machine(checkpoint_every=3),
    )
    return override(run, list(assignments))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("assignments", nargs="*")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--saving", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.kill_at:
        (kill_while_saving if given.saving else kill_at)(given.kill_at)
    with processes() as (world, device):
        fit(
            small_run(*given.assignments),
            given.out,
            resume=given.resume,
            world=world,
            device=device,
            progress=False,
        )


def kill_at(step: int) -> None:
    """Kill this process, as the kernel would, when it writes the log of a step."""
    from foveal.training.logbook import Logbook

    write = Logbook.write

    def deadly(self: Logbook, record: dict[str, Any], **counts: int) -> None:
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, record, **counts)

    Logbook.write = deadly  # type: ignore[method-assign]


def kill_while_saving(step: int) -> None:
    """Kill this process when all of a checkpoint is written and nothing of it is in its place."""
    from foveal.training import checkpoint

    write = checkpoint._write_tree

    def deadly(folder: Path, state: dict[str, Any]) -> None:
        write(folder, state)
        if state["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint._write_tree = deadly


if __name__ == "__main__":
    main()
