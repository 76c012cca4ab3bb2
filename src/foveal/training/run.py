"""A training as a value, and the protocols of its parts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from ..distributed import World
from ..models.config import ModelConfig
from ..types import Batch, Output
from .optimizer import Optimizer

T = TypeVar("T")


@runtime_checkable
class Stateful(Protocol):
    """Interface of a part whose state is saved: tensors, numbers, strings, and lists and dictionaries of them."""

    def state_dict(self) -> dict[str, Any]:
        """Return all there is to save."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@runtime_checkable
class Objective(Protocol):
    """Interface of an objective, whose terms' sum is minimized. Called once a step, on a rank's whole batch.

    One that can't do without some texts says so in `needs`, a tuple of their groups' names, such as ("long_caption",).
    A run whose batches lack them is refused before the first step.
    """

    def __call__(self, output: Output, world: World) -> dict[str, Tensor]:
        """Return the weighted terms, by name."""


class Stream(Stateful, Protocol):
    """This rank's batches, without end, from where its state says."""

    def __iter__(self) -> Iterator[Batch]:
        """Go on with the next batch."""


@runtime_checkable
class CarryingObjective(Protocol):
    """An objective that carries something from step to step (FG-CLIP 2's threshold). Itself it stays a value."""

    def start(self) -> Objective:
        """Return the objective of the first step, which is `Stateful`."""


@runtime_checkable
class Data(Protocol):
    """Interface of the data of a run."""

    def open(self, model: ModelConfig, *, batch_size: int, seed: int, world: World, workers: int) -> Stream:
        """Open this rank's stream, with `batch_size` images to a batch, sized and cut for this model."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The settings of computation. But for rounding and the data's order, results do not depend on them.

    Attributes:
        precision: "bf16" runs the model under autocast; weights, embeddings and losses stay fp32.
        micro_batches: Parts a rank's batch is computed in to save memory. All of the batch stays each other's
            negatives; costs a second forward pass.
        activation_checkpointing: Compute the blocks' activations twice instead of keeping them.
        compile: Compile the transformers' blocks.
        parallel: Between ranks: "ddp" (everyone has all weights) or "fsdp" (everyone has a share).
        workers: Processes that prepare batches, per rank. The order of the data hangs on their number.
        checkpoint_every: Steps between checkpoints.
        keep: Checkpoints that are kept.
        tensorboard: Write TensorBoard's files too.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    micro_batches: int = 1
    activation_checkpointing: bool = False
    compile: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    workers: int = 0
    checkpoint_every: int = 1000
    keep: int = 2
    tensorboard: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training. Everything is counted in steps, one step is one update of the weights.

    Attributes:
        name: Of the recipe.
        model: What is trained.
        objective: What is minimized.
        data: What the batches hold.
        optimizer: How the weights follow the gradient.
        steps: Updates.
        batch_size: Images to a step, of all ranks together.
        seed: Of fresh weights and of the data's order.
        ema: Decay of a moving average of the weights, which then is the result. None: the last weights are.
        machine: How it is computed.
    """

    name: str
    model: ModelConfig
    objective: Objective | CarryingObjective
    data: Data
    optimizer: Optimizer
    steps: int
    batch_size: int
    seed: int = 0
    ema: float | None = None
    machine: Machine = field(default_factory=Machine)
