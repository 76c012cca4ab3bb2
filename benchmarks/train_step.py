"""One update of FG-CLIP's second stage: pairs a second, share of the machine's own matrix rate, peak memory.

    python benchmarks/train_step.py --batch 1024 --micro-batches 1

Every image has a short caption, a long one and 4 regions with 10 hard negatives each; with and without packed texts,
with and without torch.compile. On a GPU this is ViT-B/16 in bf16; on a processor a model and a batch that fit it,
not compiled, which shows no more than that the script runs.

The share counts useful work only: forward and twice that for backward, of real tokens in both towers. Padding, the
second forward pass of activation checkpointing or of micro-batches, and the losses are not counted.
"""

import argparse
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from foveal.distributed import ALONE, World
from foveal.models.config import ModelConfig, TowerConfig
from foveal.models.sizes import fg_clip, tiny, vit_b_16
from foveal.recipes.fg_clip import stage2
from foveal.training.large_batch import backward, split
from foveal.training.optimizer import clip_gradients
from foveal.training.run import Machine, Run
from foveal.training.state import Training, begin
from foveal.trees import to_device
from foveal.types import Batch, Output, TextRows
from towers import RECORDED, PaddedTower

REGIONS, NEGATIVES = 4, 10
PHRASES = [7, 12, 9, 16, 11, 8, 14, 20, 10, 13]  # tokens of a phrase with a few attributes, marks included
EOS = 49407
BATCHES = 3


@dataclass(frozen=True)
class Synthetic:
    """The same few batches again and again.

    Attributes:
        batches: What steps get. Their lengths differ, as those of real ones do.
    """

    batches: tuple[Batch, ...]

    def open(self, model: ModelConfig, *, batch_size: int, seed: int, world: World, workers: int) -> "Synthetic":
        """Itself; all that a run may ask of it is settled already."""
        del model, batch_size, seed, world, workers
        return self

    def __iter__(self) -> Iterator[Batch]:
        """The batches without end."""
        return cycle(self.batches)

    def state_dict(self) -> dict[str, Any]:
        """There is nothing to go on from."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""
        del state


def texts(lengths: Sequence[int], count: int, length: int | None) -> Tensor:
    """Random texts of lengths drawn from these; rows are as long as `length`, or as the longest text."""
    taken = torch.tensor(lengths)[torch.randint(len(lengths), (count,))]
    width = length or int(taken.max())
    ids = torch.randint(1, 49000, (count, width))
    return ids.masked_fill(torch.arange(width) >= taken[:, None].clamp(max=width) - 1, EOS)


def synthetic(model: ModelConfig, images: int, *, padded: bool) -> Batch:
    """A batch with lengths as real ones have them; `padded` to the most that each kind of text may have."""
    regions, text = REGIONS * images, model.text
    short, long = (text.length(kind) if padded else None for kind in ("caption", "long_caption"))
    image, region = torch.arange(images), torch.arange(regions)
    negative = torch.arange(regions * NEGATIVES) // NEGATIVES
    corner = torch.rand(regions, 2) / 2
    side = model.vision.image_size
    return Batch(
        ids=tuple(map(str, range(images))),
        pixels=torch.randn(images, 3, side, side),
        texts={
            "caption": TextRows(texts(RECORDED["COCO"], images, short), image),
            "long_caption": TextRows(texts(RECORDED["DOCCI"], images, long), image, kind="long_caption"),
            "phrase": TextRows(texts(PHRASES, regions, short), region, "region", "phrase", region),
            "negative": TextRows(texts(PHRASES, len(negative), short), negative, "region", "phrase"),
        },
        boxes=torch.cat([corner, corner + 0.5], dim=1),
        region_image=region // REGIONS,
    )


def useful_work(model: ModelConfig, batch: Batch) -> float:
    """Floating point operations of a step that training can't do without, see above."""
    vision = model.vision
    patches = vision.grid**2
    images = [patches + 1] * len(batch.ids)
    forward = tower(vision, images)
    forward += 2 * sum(images) * 3 * vision.patch_size**2 * vision.width
    # The last block once more without attention, for regions, and every patch projected.
    forward += 2 * sum(images) * (2 * vision.width**2 + 2 * vision.width * vision.mlp_width)
    forward += 2 * sum(images) * vision.width * model.embed_width
    for rows in batch.texts.values():
        forward += tower(model.text, ((rows.ids == EOS).int().argmax(dim=1) + 1).tolist(), causal=True)
    return 3 * forward


def tower(config: TowerConfig, lengths: Sequence[int], *, causal: bool = False) -> float:
    """Operations of the blocks on sequences of these lengths. A causal token sees half of its sequence."""
    width = config.width
    linear = 2 * sum(lengths) * (4 * width**2 + 2 * width * config.mlp_width)
    attention = 4 * width * sum(length**2 for length in lengths) / (2 if causal else 1)
    return config.layers * (linear + attention)


def seconds(work: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Median of several rounds, after three that warm up (and compile)."""
    times = []
    for _ in range(rounds + 3):
        start = perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(perf_counter() - start)
    return median(times[3:])


def matrix_rate(size: int, device: torch.device) -> float:
    """Operations a second of one large bf16 matrix product."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds(lambda: left @ right, 20, device)


def update(training: Training, batch: Batch) -> None:
    """What the trainer does in a step, but for logging."""
    parts = [to_device(part, training.device) for part in split(batch, training.run.machine.micro_batches)]

    def objective(output: Output) -> dict[str, Tensor]:
        return training.objective(output, ALONE)

    backward(training.wrapped, parts, objective)
    clip_gradients(training.model, training.run.optimizer.clip_gradient_norm)
    training.adam.step()
    training.adam.zero_grad()


def measure(
    run: Run, batches: tuple[Batch, ...], device: torch.device, *, padded: bool, rounds: int
) -> tuple[float, str]:
    """Seconds of a step and the most memory that it held."""
    training = begin(replace(run, data=Synthetic(batches)), ALONE, device)
    stream = cycle(batches)
    if padded:
        training.model.text.__class__ = PaddedTower  # the same weights, read to the end of every row
    if device.type != "cuda":
        return seconds(lambda: update(training, next(stream)), rounds, device), "not measured"
    torch.cuda.reset_peak_memory_stats(device)
    taken = seconds(lambda: update(training, next(stream)), rounds, device)
    return taken, f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"


def main() -> None:
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024 if cuda else 8, help="images")
    parser.add_argument("--micro-batches", type=int, default=1, help="parts it is computed in, to save memory")
    parser.add_argument("--keep", action="store_true", help="keep activations: faster, needs more memory")
    parser.add_argument("--only", choices=["packed", "padded"], help="one of the two ways to lay out texts")
    parser.add_argument("--rounds", type=int, default=10 if cuda else 3, help="steps that are timed")
    given = parser.parse_args()
    torch.manual_seed(0)
    model = fg_clip(vit_b_16() if cuda else tiny())
    machine = Machine(precision="bf16", activation_checkpointing=not given.keep, micro_batches=given.micro_batches)
    run = replace(stage2(), model=model, batch_size=given.batch, machine=machine)
    rate = matrix_rate(8192 if cuda else 1024, device)
    name = torch.cuda.get_device_name(device) if cuda else "a processor: a small model that measures nothing"
    print(f"{name}, torch {torch.__version__}, bf16 matrix rate {rate / 1e12:.3g} TFLOP/s, batch {given.batch}")
    for padded in (False, True) if given.only is None else (given.only == "padded",):
        batches = tuple(synthetic(model, given.batch, padded=padded) for _ in range(BATCHES))
        work = sum(useful_work(model, batch) for batch in batches) / BATCHES
        for compiled in (False, True) if cuda else (False,):
            what = f"{'padded' if padded else 'packed'}, {'compiled' if compiled else 'not compiled'}"
            setting = replace(run, machine=replace(machine, compile=compiled))
            try:
                taken, memory = measure(setting, batches, device, padded=padded, rounds=given.rounds)
            except torch.OutOfMemoryError:
                print(f"{what:22} does not fit; take --micro-batches", flush=True)
            else:
                share = f"{work / taken / rate:.0%} of the matrix rate (goal 50 %)"
                print(f"{what:22} {taken:.3f} s, {given.batch / taken:.0f} pairs/s, {share}, peak {memory}", flush=True)
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
