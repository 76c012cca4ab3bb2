"""AdamW, its parameter groups, the learning rate of every step, and clipping."""

import math
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from .parallel import is_sharded, whole

Schedule = Literal["cosine", "constant", "finelip_release"]

BLOCK = re.compile(r"(?P<tower>.*?)transformer\.blocks\.(?P<number>\d+)\.")
_IMAGE_STEM = ("patch_embedding", "position", "class_token", "class_position", "input_norm")
_TEXT_STEM = ("token_embedding", "positions", "long_positions")
BELOW_BLOCKS = (*_IMAGE_STEM, *_TEXT_STEM)
"""What a tower has before its first block."""
RELEASED_ACCUMULATION = 4  # FineLIP's release always adds up 4 micro-batches of 128


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW with a warm-up and a schedule, all counted in optimizer steps.

    Attributes:
        lr: The highest learning rate.
        weight_decay: Of matrices and embedding tables; vectors and scalars (norms, biases, scales) have none.
        betas: AdamW's.
        eps: AdamW's.
        warmup_steps: Steps of linear warm-up.
        schedule: After the warm-up: "cosine" down to zero, "constant", or "finelip_release" (see `lr_at`).
        lr_factors: Pairs of a prefix of parameter names and what their learning rate is multiplied with.
            The longest matching prefix counts. FineLIP trains its refinement 200 times faster.
        layer_decay: What the learning rate of each layer of a transformer is multiplied with, once for every layer
            above it (BEiT, arXiv:2106.08254): the last block once, what lies before the first block most often.
        clip_gradient_norm: Longest allowed gradient of all parameters together. None: no limit.
        max_scale: Largest inverse temperature (CLIP, arXiv:2103.00020, section 2.5).
    """

    lr: float
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup_steps: int = 0
    schedule: Schedule = "cosine"
    lr_factors: tuple[tuple[str, float], ...] = ()
    layer_decay: float = 1.0
    clip_gradient_norm: float | None = None
    max_scale: float = 100.0


def lr_at(step: int, optimizer: Optimizer, steps: int) -> float:
    """Return the learning rate of an update.

    "finelip_release" is the released schedule of FineLIP: its horizon is counted in updates but it is asked
    at micro-batches, four to an update, and only after the update. So the first update runs at the full rate,
    the warm-up takes a quarter of its steps, and the cosine passes zero at 25 % and 75 % of the training and
    is at its top at 50 % and at the end. Use it only to reproduce the published numbers.

    Args:
        step: Number of the update, from 0.
        optimizer: The settings.
        steps: Updates of the whole training.

    Returns:
        The rate. `optimizer.lr` at the end of the warm-up; half of it midway from there to the end of a cosine.
    """
    if optimizer.schedule == "finelip_release":
        if step == 0:
            return optimizer.lr
        step = RELEASED_ACCUMULATION * step - 1
    if step < optimizer.warmup_steps:
        return optimizer.lr * (step + 1) / optimizer.warmup_steps
    if optimizer.schedule == "constant":
        return optimizer.lr
    progress = (step - optimizer.warmup_steps) / max(1, steps - optimizer.warmup_steps)
    return optimizer.lr * (1 + math.cos(math.pi * progress)) / 2


def adamw(model: nn.Module, optimizer: Optimizer) -> torch.optim.AdamW:
    """Build AdamW over a model's trainable parameters, in groups of one decay and one factor of the rate.

    Raises:
        ValueError: If a prefix of `lr_factors` fits no parameter.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for prefix, _ in optimizer.lr_factors:
        if not any(name.startswith(prefix) for name, _ in named):
            modules = ", ".join(sorted({name.split(".")[0] for name, _ in named}))
            raise ValueError(f"lr_factors: no parameter's name starts with '{prefix}'. They start with: {modules}.")
    depths = layers_above([name for name, _ in model.named_parameters()])
    for name, parameter in named:
        fitting = [(len(prefix), factor) for prefix, factor in optimizer.lr_factors if name.startswith(prefix)]
        factor = (max(fitting)[1] if fitting else 1.0) * optimizer.layer_decay ** depths[name]
        # A scalar may be stored with dimensions: FineLIP's softmax scales are (1, 1, 1).
        decays = parameter.ndim >= 2 and parameter.numel() > 1
        groups.setdefault((optimizer.weight_decay * decays, factor), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": members, "weight_decay": decay, "factor": factor} for (decay, factor), members in groups.items()
    ]
    return torch.optim.AdamW(described, lr=optimizer.lr, betas=optimizer.betas, eps=optimizer.eps, fused=True)


def layers_above(names: Collection[str]) -> dict[str, int]:
    """Count the layers of its own transformer that lie above each parameter, the head being the uppermost.

    Args:
        names: Of all parameters. What belongs to a transformer is told by "transformer.blocks.3." in them.

    Returns:
        0 for what follows the blocks, or belongs to no transformer; 1 for the last block; for what comes before the
        first block the number of blocks + 1.
    """
    blocks = {name: match for name in names if (match := BLOCK.match(name))}
    depths: Counter[str] = Counter()
    for match in blocks.values():
        depths[match["tower"]] = max(depths[match["tower"]], int(match["number"]) + 1)
    above = {name: depths[match["tower"]] - int(match["number"]) for name, match in blocks.items()}
    for name in names:
        tower = next((tower for tower in depths if name.startswith(tower)), None)
        if name not in above:
            below = tower is not None and name.removeprefix(tower).split(".")[0] in BELOW_BLOCKS
            above[name] = depths[tower] + 1 if tower is not None and below else 0
    return above


def set_lr(adam: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of the learning rate."""
    for group in adam.param_groups:
        group["lr"] = lr * group["factor"]


def clip_gradients(model: nn.Module, most: float | None) -> Float[Tensor, ""]:
    """Shorten the gradient of all parameters together to at most `most`.

    Returns:
        Its norm before. 5 for the gradients 3 and 4.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    # Parameters sharded over ranks and whole ones (scales) can't be added up by one call.
    sharded = [g for g in gradients if is_sharded(g)]
    plain = [g for g in gradients if not is_sharded(g)]
    norms = [whole(get_total_norm(members)) for members in (sharded, plain) if members]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    if most is not None:
        share = (most / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(share)
    return norm


def clip_scales(model: nn.Module, max_scale: float) -> None:
    """Keep every inverse temperature at or below `max_scale`; they are the parameters named `log_..scale`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            leaf = name.rpartition(".")[2]
            if leaf.startswith("log_") and leaf.endswith("scale"):
                parameter.clamp_(max=math.log(max_scale))
