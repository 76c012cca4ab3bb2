"""Models made ready for inference: a function from a module to a module that gives the same, faster."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .layers import MLP, QUICK_GELU

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class PackedLinear(nn.Module):
    """A linear map whose weight lies as the processor's library, oneDNN, multiplies it.

    Without it every call lays the weight out so. 1.1 times as fast for pictures in bulk, twice for a short text.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)  # noqa: SLF001
        self.bias = linear.bias

    def forward(self, x: Float[Tensor, "*n I"]) -> Float[Tensor, "*n O"]:
        """Apply the map, in the weight's precision."""
        x = x.to(self.packed.dtype)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")  # noqa: SLF001
        return y


def for_inference(module: ModuleT, dtype: torch.dtype = torch.float32) -> ModuleT:
    """Return a copy for inference, to be run under autocast in `dtype`. The module itself stays as it is.

    Weights of linear layers and convolutions are cast once, where autocast casts them in every call, and on a processor
    packed once. QuickGELU's factor, x * sigmoid(1.702 x) = silu(1.702 x) / 1.702, goes into the linear maps before and
    behind it. All else, norms and tables among them, is shared with the module.

    Args:
        module: Of any kind; its own code runs in the copy.
        dtype: Of the weights. torch.float32: nothing is cast or packed, and the copy gives the same up to rounding.
    """
    factors = _factors(module)
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            factor = factors.get(id(layer), 1.0)
            tensors[id(layer.weight)] = _weight(layer.weight, factor, dtype)
            if layer.bias is not None:
                tensors[id(layer.bias)] = _weight(layer.bias, max(factor, 1.0), dtype)  # the second map's stays
    copy = deepcopy(module, tensors)  # `tensors` says what stands for each tensor, so that none is copied
    for layer in list(copy.modules()):
        if isinstance(layer, MLP) and layer.activation == "quick_gelu":
            layer.activation = "silu"
        for name, child in layer.named_children():
            if type(child) is nn.Linear and _can_pack(child):
                setattr(layer, name, PackedLinear(child))
    return copy


def _can_pack(linear: nn.Linear) -> bool:
    """True if the processor's library is there and the weight is one for it."""
    on_processor = linear.weight.device.type == "cpu" and linear.weight.dtype == torch.bfloat16
    return on_processor and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _factors(module: nn.Module) -> dict[int, float]:
    """Return what the weights of some layers are multiplied by, by the layers' identity."""
    factors: dict[int, float] = {}
    for layer in module.modules():
        if isinstance(layer, MLP) and layer.activation == "quick_gelu":
            factors |= {id(layer.fc1): QUICK_GELU, id(layer.fc2): 1 / QUICK_GELU}
    return factors


def _weight(tensor: Tensor, factor: float, dtype: torch.dtype) -> nn.Parameter:
    scaled = tensor.detach() if factor == 1 else tensor.detach() * factor
    layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
    return nn.Parameter(scaled.to(dtype, memory_format=layout), requires_grad=False)


@dataclass(frozen=True)
class _Copy(Generic[ModuleT]):
    """A copy for inference, and what it was made of.

    Attributes:
        module: The copy.
        original: What it is a copy of.
        dtype: Of its weights.
        places: Where the original holds each tensor: a module's table, and the name in it.
        tensors: That were there, held so that no other takes their identity.
        state: Of each of them, as it was then.
    """

    module: ModuleT
    original: ModuleT
    dtype: torch.dtype
    places: Sequence[tuple[Mapping[str, Tensor | None], str]]
    tensors: Sequence[Tensor | None]
    state: Sequence[tuple[int, int, int]]

    @classmethod
    def of(cls, module: ModuleT, dtype: torch.dtype) -> "_Copy[ModuleT]":
        tables = (table for layer in module.modules() for table in (layer._parameters, layer._buffers))  # noqa: SLF001
        places = [(table, name) for table in tables for name in table]
        tensors = [table[name] for table, name in places]
        return cls(for_inference(module, dtype), module, dtype, places, tensors, _state(tensors))

    def is_of(self, module: ModuleT, dtype: torch.dtype) -> bool:
        """True if it is the copy of this module as the module is now."""
        if self.original is not module or self.dtype != dtype:
            return False
        return _state([table.get(name) for table, name in self.places]) == self.state


class InferenceCopies(Generic[ModuleT]):
    """A module's copy for inference, made when it is first needed, and again when the module's weights have changed."""

    def __init__(self) -> None:
        self._copy: _Copy[ModuleT] | None = None

    def of(self, module: ModuleT, dtype: torch.dtype) -> ModuleT:
        """Return the copy of a module as `for_inference` makes it. In float32 it is the module itself.

        A second set of weights would gain nothing there: the two passes over memory that folding saves are hidden
        behind the matrix products.
        """
        if dtype == torch.float32:
            return module
        copy = self._copy
        if copy is None or not copy.is_of(module, dtype):
            copy = self._copy = _Copy.of(module, dtype)
        return copy.module


def _state(tensors: Sequence[Tensor | None]) -> list[tuple[int, int, int]]:
    """Return which tensors these are, where their numbers lie, and how often they were changed in place."""
    return [
        (id(tensor), tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)  # noqa: SLF001  (torch's own)
        for tensor in tensors
        if tensor is not None
    ]
