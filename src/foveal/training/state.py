"""The state of a training, saved and restored."""

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..distributed import World
from ..models.adapters import merged, tune
from ..models.frozen import FrozenWeights, reference
from ..models.layers import Transformer
from ..types import check_groups
from . import checkpoint
from .average import Average
from .optimizer import adamw
from .parallel import of_every_rank, of_first_rank, share, whole, wrapped
from .run import CarryingObjective, ConfiguredModel, GroupedData, Objective, Run, Stateful, Stream

SMALL = 1 << 20
"""Bytes of frozen weights up to which they stay in every checkpoint, which then can be copied alone."""


@dataclass
class Training:
    """A training in progress.

    Attributes:
        run: What it is.
        world: The ranks.
        device: Of this rank.
        model: The model itself.
        wrapped: The model as it is called, see `parallel.wrapped`.
        form: The model without memory, to be saved with gathered weights.
        adam: The optimizer.
        average: The moving average of the weights, if the run has one.
        frozen_names: The frozen weights that checkpoints leave out.
        objective: What is minimized, with what it carries from step to step.
        stream: This rank's batches.
        step: Updates done.
        frozen: Where the frozen weights are stored, when they are.
    """

    run: Run[Any]
    world: World
    device: torch.device
    model: nn.Module
    wrapped: nn.Module
    form: nn.Module
    adam: torch.optim.Optimizer
    average: Average | None
    frozen_names: frozenset[str]
    objective: Objective[Any]
    stream: Stream
    step: int = 0
    frozen: FrozenWeights | None = None

    def save(self, folder: Path) -> None:
        """Write a checkpoint. Every rank must call it.

        Raises:
            ValueError: If it can't be written.
        """
        local = {"stream": self.stream.state_dict(), "chance": _rng_state(self.device)}
        state = {
            "step": self.step,
            "optimizer": self._moments(),
            "average": self._averaged(),
            "objective": self.objective.state_dict() if isinstance(self.objective, Stateful) else None,
            "ranks": of_every_rank(local, self.world),
        }
        self._store_frozen(folder.parent / "frozen")
        tensors = self._weights(self.frozen_names)
        if self.world.rank == 0:
            keep = self.run.machine.keep
            checkpoint.save(folder, self.step, self.run.model, tensors, state, frozen=self.frozen, keep=keep)

    def restore(self, place: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: If it was written by another number of processes, or for another model.
        """
        tensors, state = checkpoint.load(place)
        self.frozen = reference(place)
        try:
            count = len(state["ranks"])
            if count == self.world.size:
                self._take_up(tensors, state)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{place} does not fit this run ({reason}). Is it another run's? Move it away.") from error
        if count != self.world.size:
            raise ValueError(f"{place} was written by {count} processes, these are {self.world.size}. Start {count}.")

    def _take_up(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Set all that changes to what a checkpoint holds."""
        self.step = state["step"]
        live = self.model.state_dict()
        self.model.load_state_dict({name: share(tensor, live[name]) for name, tensor in tensors.items()})
        self._set_moments(state["optimizer"])
        if self.average is not None:
            self.average.updates = state["average"]["updates"]
            old = self.average.weights
            self.average.weights = {
                name: share(tensor, old[name]) for name, tensor in state["average"]["weights"].items()
            }
        if isinstance(self.objective, Stateful):
            self.objective.load_state_dict(state["objective"])
        local = state["ranks"][self.world.rank]
        self.stream.load_state_dict(local["stream"])
        _set_rng_state(local["chance"], self.device)

    def save_result(self, folder: Path, *, self_contained: bool | None = None) -> None:
        """Write the trained model: the averaged weights if there are any. Every rank must call it.

        Args:
            folder: That is written to.
            self_contained: Whether it holds frozen weights, too. None: as the run says.
        """
        averages = self._averaged().get("weights", {})
        if not (self.run.machine.self_contained if self_contained is None else self_contained):
            self._store_frozen(folder / "frozen")
            trained = self._weights(self.frozen_names) | averages
            if self.world.rank == 0:
                checkpoint.save_referring(folder, self.run.model, trained, self.frozen)
            return
        tensors = merged(self._weights() | averages)
        if self.world.rank == 0:
            self.form.load_state_dict(tensors, assign=True)
            checkpoint.save_model(self.run.model, self.form, folder)
            self.form.load_state_dict({name: tensor.to("meta") for name, tensor in tensors.items()}, assign=True)

    @contextmanager
    def unchanged_chance(self) -> Iterator[None]:
        """Leave the random numbers that come next as they are, whatever is drawn in here."""
        before = _rng_state(self.device)
        yield
        _set_rng_state(before, self.device)

    def _weights(self, absent: Collection[str] = ()) -> dict[str, Tensor]:
        """Return the weights but for those that are not asked for."""
        tensors = {name: tensor for name, tensor in self.model.state_dict().items() if name not in absent}
        return {name: whole(tensor.detach()).cpu() for name, tensor in tensors.items()}

    def _store_frozen(self, folder: Path) -> None:
        """Store the frozen weights if there are any and they are not stored yet. Every rank must call it."""
        if self.frozen_names and self.frozen is None:
            names = self.model.state_dict().keys() - self.frozen_names
            tensors = self._weights(names)
            self.frozen = of_first_rank(lambda: FrozenWeights.store(tensors, folder), self.world)

    def _averaged(self) -> dict[str, Any]:
        if self.average is None:
            return {}
        averages = {name: whole(tensor.detach()).cpu() for name, tensor in self.average.weights.items()}
        return {"updates": self.average.updates, "weights": averages}

    def _moments(self) -> dict[str, dict[str, Tensor]]:
        """Return the optimizer's state by parameter name, so that it does not hang on an order."""
        named = self.model.named_parameters()
        return {
            name: {key: whole(value.detach()).cpu() for key, value in self.adam.state[parameter].items()}
            for name, parameter in named
            if parameter in self.adam.state
        }

    def _set_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        parameters = dict(self.model.named_parameters())
        for name, values in moments.items():
            parameter = parameters[name]
            self.adam.state[parameter] = {
                key: value.to(parameter.device) if key == "step" else share(value, parameter)
                for key, value in values.items()
            }


def begin(run: Run[Any], world: World, device: torch.device, init: Path | None = None) -> Training:
    """Build a training before its first step.

    Args:
        run: What it is.
        world: The ranks.
        device: Of this rank.
        init: A model folder that gives the weights; what this run's model has beyond it stays fresh.

    Raises:
        ValueError: If the batch can't be shared out evenly, the run leaves out what its objective needs, or `init`
            holds no model that fits.
    """
    if run.batch_size % world.size:
        raise ValueError(f"batch_size {run.batch_size} is no multiple of the {world.size} processes. Change one.")
    _check_needs(run)
    if not (run.machine.self_contained or isinstance(run.model, ConfiguredModel)):
        raise ValueError(f"{type(run.model).__name__} saves all of itself. Use --set machine.self_contained=true.")
    machine, batch_size = run.machine, run.batch_size // world.size
    # Before the model, whose making takes seconds: a misspelt source is told at once.
    stream = run.data.open(run.model, batch_size=batch_size, seed=run.seed, world=world, workers=machine.workers)
    torch.manual_seed(run.seed)
    model = run.model.build() if init is None else run.model.open(init)
    form = _without_memory(model)
    tune(model, run.tuning)
    frozen_names = _frozen_names(model)
    model.to(device).train()
    for module in model.modules():
        if isinstance(module, Transformer):
            module.recompute = machine.activation_checkpointing
            # Blocks are alike, so one is compiled for all of them; around them lengths differ from batch to batch.
            for block in module.blocks if machine.compile else ():
                block.compile(dynamic=True)
    if machine.precision == "bf16":
        torch.set_float32_matmul_precision("high")  # the losses' similarities are fp32, and large
        model.forward = torch.autocast(device.type, torch.bfloat16)(model.forward)
    wrapped_model = wrapped(model, machine.parallel, world)
    return Training(
        run=run,
        world=world,
        device=device,
        model=model,
        wrapped=wrapped_model,
        form=form,
        adam=adamw(model, run.optimizer),
        frozen_names=frozen_names,
        average=None if run.ema is None else Average(model, run.ema),
        objective=run.objective.start() if isinstance(run.objective, CarryingObjective) else run.objective,
        stream=stream,
    )


def _without_memory(model: nn.Module) -> nn.Module:
    """Return a copy of a module whose weights are on the meta device."""
    memo: dict[int, Any] = {}
    for tensor in model.state_dict(keep_vars=True).values():
        empty = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def _frozen_names(model: nn.Module) -> frozenset[str]:
    """Name the frozen weights, if they are worth a file of their own."""
    frozen = {name: p for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return frozenset(frozen if sum(parameter.nbytes for parameter in frozen.values()) > SMALL else ())


def _check_needs(run: Run[Any]) -> None:
    """Refuse a run that leaves out the texts that its objective can't do without."""
    if isinstance(run.data, GroupedData):
        check_groups(run.data.group_names(run.model), getattr(run.objective, "needs", ()))


def _rng_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_rng_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
