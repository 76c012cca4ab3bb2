"""A moving average of weights."""

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of a model's trainable weights.

    The decay grows to its full value over the first steps, so that the random start is soon forgotten: it is
    (1 + n) / (10 + n) after n updates if that is less.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self.weights.items():
            average.lerp_(self._live[name].detach(), 1 - decay)
