"""What a computation does, counted: no clock, so that tests may hold it."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Work(TorchDispatchMode):
    """Operations within, by name, and the memory that they write anew.

    Together with `torch.no_grad()`: inference mode shows operations before they are taken apart.

    Attributes:
        calls: How often each operation was called.
        casts: Shapes of tensors that were copied to another type.
        fresh: Bytes of results that lie in no operand's memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.casts: list[torch.Size] = []
        self.fresh = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation."""
        results = func(*args, **(kwargs or {}))
        self.calls[func.__name__.split(".")[0]] += 1
        operands = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if _lies_plainly(x)}
        for result in tree_leaves(results):
            if _lies_plainly(result) and result.untyped_storage().data_ptr() not in operands:
                self.fresh += result.untyped_storage().nbytes()
                if "_to_copy" in func.__name__ and result.dtype != args[0].dtype:
                    self.casts.append(result.shape)
        return results


def _lies_plainly(value: Any) -> bool:
    """True of a tensor whose memory can be named: oneDNN's own cannot."""
    return isinstance(value, Tensor) and value.layout == torch.strided
