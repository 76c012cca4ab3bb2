"""Peak memory of a fine-tune of FG-CLIP stage 2, ViT-B/16, with adapters beside that of full training.

    python benchmarks/lora_memory.py --batch 2 --rank 8

Each way runs a few steps in a process of its own, with made-up weights and data. On a processor the peak is that of
resident memory, once as it is and once above what the process held before it had a model (Python, torch, the batch).
glibc is told to give freed memory back at once, so that the peak is that of what is held.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace

import torch

from foveal.distributed import ALONE
from foveal.models.adapters import Tuning
from foveal.models.sizes import fg_clip, vit_b_16
from foveal.recipes.fg_clip import stage2
from foveal.training.run import Machine
from foveal.training.state import begin
from train_step import Synthetic, synthetic, update

GIVE_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
WAYS = {
    "full": Tuning(),
    "lora": Tuning(rank=8),
    "lora, vision only": Tuning(rank=8, frozen=("text",), towers=("vision",)),
}


def peak() -> float:
    """Most resident memory so far, in MiB; on a GPU, most memory allocated there."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(way: str, batch_size: int, rank: int, steps: int) -> None:
    """Train a few steps, and print memory before, at the peak, weights trained, and seconds of a step."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tuning = fg_clip(vit_b_16()), WAYS[way]
    batch = synthetic(model, batch_size, padded=False)
    machine = Machine(activation_checkpointing=True, precision="bf16" if device.type == "cuda" else "fp32")
    run = replace(stage2(), model=model, batch_size=batch_size, machine=machine, data=Synthetic((batch,)))
    run = replace(run, tuning=replace(tuning, rank=rank if tuning.rank else 0))
    before = peak()
    training = begin(run, ALONE, device)
    start = time.perf_counter()
    for _ in range(steps):
        update(training, batch)
    seconds = (time.perf_counter() - start) / steps
    trained = sum(parameter.numel() for parameter in training.model.parameters() if parameter.requires_grad)
    print(before, peak(), trained, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2, help="images; each has 4 regions with 10 hard negatives")
    parser.add_argument("--rank", type=int, default=8, help="of the adapters")
    parser.add_argument("--steps", type=int, default=3, help="steps of each way")
    parser.add_argument("--way", choices=WAYS, help="measure one way in this process")
    given = parser.parse_args()
    if given.way:
        measure(given.way, given.batch, given.rank, given.steps)
        return
    full: tuple[float, float] | None = None
    print(f"torch {torch.__version__}, ViT-B/16, batch {given.batch}, rank {given.rank}, activations computed twice")
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--batch", str(given.batch), "--rank", str(given.rank)]
        command += ["--steps", str(given.steps)]
        result = subprocess.run(command, env=os.environ | GIVE_BACK, check=True, stdout=subprocess.PIPE, text=True)
        before, most, trained, seconds = map(float, result.stdout.split())
        full = full or (most, most - before)
        shares = (
            f"{most / full[0]:.0%} of full; above the process {most - before:,.0f} MiB, {(most - before) / full[1]:.0%}"
        )
        print(
            f"{way:18} {trained / 1e6:6.2f} M weights trained, {seconds:.2f} s a step, peak {most:,.0f} MiB, {shares}"
        )


if __name__ == "__main__":
    main()
