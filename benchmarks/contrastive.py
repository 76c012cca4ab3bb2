"""Softmax contrastive loss: ours against all logits under autograd. Peak memory and time.

python benchmarks/contrastive.py
"""

import multiprocessing
import resource
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.losses import contrastive

BATCH, WIDTH = 8192, 512


def full(left: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """The usual way: one B x B matrix of logits, cross entropy of its rows and of its columns."""
    logits = scale * left @ right.T
    target = torch.arange(len(left))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def measure(name: str) -> tuple[float, float, float]:
    """The loss, the best of three times, and how many MiB the process's peak grew. For a process of its own."""
    loss = {"ours": contrastive, "full": full}[name]
    torch.manual_seed(0)
    left, right = (F.normalize(torch.randn(BATCH, WIDTH), dim=-1).requires_grad_() for _ in range(2))
    scale = torch.tensor(20.0, requires_grad=True)
    (left[:64] @ right[:64].T).sum().backward()  # what any first product allocates
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(3):
        start = time.perf_counter()
        value = loss(left, right, scale)
        value.backward()
        times.append(time.perf_counter() - start)
    return value.item(), min(times), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    found = {}
    for name in ("ours", "full"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(measure, (name,))
    (value, ours, memory), (expected, theirs, full_memory) = found["ours"], found["full"]
    if abs(value - expected) > 1e-4:
        raise ArithmeticError(f"The losses differ: {value} and {expected}.")
    print(f"B={BATCH}, E={WIDTH}, forward and backward, {torch.get_num_threads()} threads\n")
    print("| | ours | full | ratio | goal |")
    print("|---|---|---|---|---|")
    print(f"| MiB at the peak | {memory:.0f} | {full_memory:.0f} | {full_memory / memory:.1f} | >= 4 |")
    print(f"| seconds | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} | |")


if __name__ == "__main__":
    main()
