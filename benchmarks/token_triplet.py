"""FineLIP's token triplet: ours against a loop over captions, as its paper's code is built. Time and memory.

python benchmarks/token_triplet.py
"""

import multiprocessing
import resource
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.losses import token_triplet

TOKENS, WIDTH, BATCH, LARGE = 40, 512, 64, 512
MIB = 2**20


def loop(text: Tensor, image: Tensor) -> Tensor:
    """Each caption against all images: repeated, images joined and normalized anew, every similarity kept."""
    columns = []
    for caption in text:
        repeated = caption[None].repeat(len(image), 1, 1)
        joined = F.normalize(torch.cat([image[:, :1], image[:, 1:]], dim=1), dim=-1)
        similarity = F.leaky_relu(repeated @ joined.transpose(1, 2), 0.1)
        columns.append(similarity.amax(2).mean(1) + similarity.amax(1).mean(1))
    late = torch.stack(columns, dim=1)
    match = late.diagonal()
    cost = (0.2 + late - match[:, None]).relu() + (0.2 + late - match).relu()
    return cost.masked_fill(torch.eye(len(late), dtype=torch.bool), 0).sum()


def token_sets(batch: int) -> tuple[Tensor, Tensor]:
    text, image = (F.normalize(torch.randn(batch, TOKENS, WIDTH), dim=-1).requires_grad_() for _ in range(2))
    return text, image


def saved_bytes(loss: Callable[[Tensor, Tensor], Tensor], text: Tensor, image: Tensor) -> int:
    """What autograd keeps for the way back; a storage kept twice counts once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss(text, image)
    total = sum(kept.values())
    value.backward()
    return total


def seconds(loss: Callable[[Tensor, Tensor], Tensor], text: Tensor, image: Tensor) -> float:
    start = time.perf_counter()
    loss(text, image).backward()
    return time.perf_counter() - start


def large_batch() -> tuple[float, float]:
    """Seconds and the process's peak memory in GiB, in a process of its own."""
    text, image = token_sets(LARGE)
    took = seconds(token_triplet, text, image)
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def main() -> None:
    torch.manual_seed(0)
    text, image = token_sets(BATCH)
    torch.testing.assert_close(token_triplet(text, image), loop(text, image))
    times = [(seconds(token_triplet, text, image), seconds(loop, text, image)) for _ in range(3)]
    ours, theirs = (min(side) for side in zip(*times, strict=True))
    kept, keeps = saved_bytes(token_triplet, text, image) / MIB, saved_bytes(loop, text, image) / MIB
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        took, peak = pool.apply(large_batch)
    print(f"{TOKENS} x {TOKENS} tokens of width {WIDTH}, forward and backward, {torch.get_num_threads()} threads\n")
    print("| | ours | loop | ratio | goal |")
    print("|---|---|---|---|---|")
    print(f"| B={BATCH}, seconds | {ours:.3f} | {theirs:.3f} | {theirs / ours:.1f} | >= 5 |")
    print(f"| B={BATCH}, MiB saved for backward | {kept:.1f} | {keeps:.1f} | {keeps / kept:.1f} | >= 10 |")
    print(f"| B={LARGE}, seconds | {took:.1f} | | | |")
    print(f"| B={LARGE}, peak GiB of the process | {peak:.2f} | | | <= 4 |")


if __name__ == "__main__":
    main()
