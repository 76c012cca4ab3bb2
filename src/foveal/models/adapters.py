"""Fine-tuning of few weights: low-rank adapters (LoRA, arXiv:2106.09685) and frozen towers.

An adapter adds scale * up(down(x)) to a linear map W x + b that is frozen; `up` begins at zero, so the model begins as
it was. Merged, the map is (W + scale * up down) x + b: a model of the same shape, which needs no adapter.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Block

DOWN, UP, SCALE = "lora_down", "lora_up", "lora_scale"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Which weights a training changes. All of them where nothing is said.

    Attributes:
        frozen: Parts that stay as they are, by their way in the model, such as "text". They cost no gradient.
        rank: Rows of the adapters' matrices. 0: no adapters.
        alpha: What adapters add is multiplied with alpha / rank.
        towers: Parts whose transformers get adapters; all else in them is frozen. Projections and scales are trained.
        layers: Linear maps of every block that get one.
    """

    frozen: tuple[str, ...] = ()
    rank: int = 0
    alpha: float = 16.0
    towers: tuple[str, ...] = ("vision", "text")
    layers: tuple[Literal["attention", "mlp"], ...] = ("attention", "mlp")

    def __post_init__(self) -> None:
        """Refuse a rank that no matrix has."""
        if self.rank < 0:
            raise ValueError(f"tuning.rank is a number of rows, 0 for no adapters, not {self.rank}.")


class LoraLinear(nn.Linear):
    """A frozen linear map and its adapter."""

    lora_scale: Tensor

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.requires_grad_(False)
        self.lora_down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.lora_up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))
        self.register_buffer(SCALE, linear.weight.new_tensor(alpha / rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map, and what the adapter adds to it."""
        return super().forward(x) + F.linear(self._down(x), self.lora_up)

    def rows(self, x: Tensor, start: int, stop: int | None = None) -> Tensor:
        """Return some rows of that."""
        plain = F.linear(x, self.weight[start:stop], self.bias[start:stop])
        return plain + F.linear(self._down(x), self.lora_up[start:stop])

    def _down(self, x: Tensor) -> Tensor:
        return F.linear(x, self.lora_down) * self.lora_scale


def tune(model: nn.Module, tuning: Tuning) -> None:
    """Freeze a model's parts and put adapters in, as a training asks.

    Raises:
        ValueError: If the model has no such part, or a part has no transformer of ours.
    """
    for name in tuning.frozen:
        part = _part(model, name).requires_grad_(False)
        part.forward = torch.no_grad()(part.forward)
    if tuning.rank:
        for name in tuning.towers:
            part = _part(model, name).requires_grad_(False)
            blocks = [module for module in part.modules() if isinstance(module, Block)]
            if not blocks:
                raise ValueError(f"tuning.towers: '{name}' has no transformer of foveal's, so no place for adapters.")
            for block in blocks:
                _adapt(block, tuning)


def merged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a model with each adapter added to the map that it belongs to.

    Args:
        state: A tensor for every parameter by name; without adapters it comes back as it is.
    """
    tensors = dict(state)
    for name in [name for name in tensors if name.endswith(f".{DOWN}")]:
        place = name.removesuffix(DOWN)
        down, up, scale = (tensors.pop(f"{place}{part}") for part in (DOWN, UP, SCALE))
        weight = tensors[f"{place}weight"]
        precise = torch.promote_types(weight.dtype, torch.float32)
        change = scale.to(precise) * (up.to(precise) @ down.to(precise))
        tensors[f"{place}weight"] = (weight + change).to(weight.dtype)
    return tensors


def _adapt(block: Block, tuning: Tuning) -> None:
    attention, mlp = block.attention, block.mlp
    if "attention" in tuning.layers:
        attention.qkv = LoraLinear(attention.qkv, tuning.rank, tuning.alpha)
        attention.out = LoraLinear(attention.out, tuning.rank, tuning.alpha)
    if "mlp" in tuning.layers:
        mlp.fc1 = LoraLinear(mlp.fc1, tuning.rank, tuning.alpha)
        mlp.fc2 = LoraLinear(mlp.fc2, tuning.rank, tuning.alpha)


def _part(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        parts = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"tuning: the model has no part '{name}'. It has: {parts}.") from None
