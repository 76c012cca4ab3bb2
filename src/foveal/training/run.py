"""A training as a value, and the protocols of its parts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, runtime_checkable

from torch import Tensor, nn
from typing_extensions import TypeVar  # with a default, which Python 3.11 does not know

from ..distributed import World
from ..models.adapters import Tuning
from ..models.config import ModelConfig
from .evaluate import Evaluate
from .optimizer import Optimizer

Output_contra = TypeVar("Output_contra", contravariant=True)


@runtime_checkable
class Stateful(Protocol):
    """Interface of a part whose state is saved: tensors, numbers, strings, and lists and dictionaries of them."""

    def state_dict(self) -> dict[str, Any]:
        """Return all there is to save."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@runtime_checkable
class Trainable(Protocol):
    """Interface of what a run trains, a frozen dataclass. `ModelConfig` is one, of dual encoders.

    The trainer calls the module with a batch of the run's data and hands what comes out to the run's objective.
    Parameters that require no gradient are frozen.
    """

    def build(self) -> nn.Module:
        """Return the module as it begins."""

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a module as a model folder, which may hold other things already."""

    def open(self, folder: Path) -> nn.Module:
        """Return the module that a model folder holds: one that `save` wrote, or another to begin from (`--init`)."""


Model = TypeVar("Model", bound=Trainable, default=ModelConfig)


@runtime_checkable
class ConfiguredModel(Trainable, Protocol):
    """A trainable whose model folders are a config and a `model.safetensors`, so that checkpoints are such folders."""

    def save_config(self, folder: Path) -> None:
        """Write what belongs beside the weights."""


@runtime_checkable
class TokenCounter(Protocol):
    """A trainable that reads texts, and says how much of a batch is text."""

    def count_tokens(self, batch: Any) -> int:
        """Count the text tokens of a batch, padding left out."""


@runtime_checkable
class Batch(Protocol):
    """Interface of a batch: a tree of dataclasses, mappings, lists and tensors, one row or more for each sample."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples' ids."""


@runtime_checkable
class SplittingBatch(Batch, Protocol):
    """A batch of one's own that can be computed in micro-batches."""

    def split(self, parts: int) -> list[Any]:
        """Return as many batches of neighboring samples."""


@runtime_checkable
class RowsOutput(Protocol):
    """An output that knows which samples spoil a loss."""

    def finite(self) -> Tensor:
        """Return for each sample whether all that the module gave for it is finite."""


@runtime_checkable
class Objective(Protocol[Output_contra]):
    """Interface of an objective, whose terms' sum is minimized. Called once a step, on a rank's whole output.

    One that can't do without some texts says so in `needs`, a tuple of their groups' names, such as ("long_caption",).
    A run whose batches lack them is refused before the first step.

    One whose terms are means over samples, each by itself, says `additive = True`: it is called on each micro-batch,
    and the module runs once. Others compare samples with each other, for which a batch's `Output` is put together.
    """

    def __call__(self, output: Output_contra, world: World) -> dict[str, Tensor]:
        """Return the weighted terms, by name."""


class Stream(Stateful, Protocol):
    """This rank's batches, without end, from where its state says."""

    def __iter__(self) -> Iterator[Any]:
        """Go on with the next `Batch`."""


@runtime_checkable
class CarryingObjective(Protocol):
    """An objective that carries something from step to step (FG-CLIP 2's threshold). Itself it stays a value."""

    def start(self) -> Objective[Any]:
        """Return the objective of the first step, which is `Stateful`."""


@runtime_checkable
class Data(Protocol):
    """Interface of the data of a run."""

    def open(self, model: Any, *, batch_size: int, seed: int, world: World, workers: int) -> Stream:
        """Open this rank's stream, with `batch_size` samples to a batch, sized and cut for the run's model."""


@runtime_checkable
class SourcedData(Data, Protocol):
    """A dataclass of data that is read from sources with names: those of `--data`, whose content is remembered."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources' names, in the order in which a `data.stream.Stream` has them."""

    @property
    def allow_change(self) -> bool:
        """True if a run may resume though they hold something else than when it began."""


@runtime_checkable
class PreparedData(Data, Protocol):
    """Data that says how it prepares images and texts, and hands that on with the model."""

    def following(self, place: Path, model: Any) -> "PreparedData":
        """Return the data for a model that begins from a checkpoint, prepared as that one's was."""

    def write_protocol(self, folder: Path, model: Any, init: Path | None) -> None:
        """Write down beside a model how its data was prepared, and what it began from."""


@runtime_checkable
class GroupedData(Data, Protocol):
    """Data whose batches have texts in groups with names."""

    def group_names(self, model: Any) -> list[str]:
        """Return the names of the groups, for `Objective.needs`."""


@runtime_checkable
class Evaluation(Protocol):
    """Interface of an evaluation while a run trains, a frozen dataclass. `Evaluate` is one, of dual encoders.

    It has the fields `every`, `decisive` and `patience`, which mean what they mean there.
    """

    @property
    def every(self) -> int:
        """Steps between evaluations. 0: nothing is evaluated."""

    @property
    def decisive(self) -> str:
        """Name of the number, higher is better, that says which model is the best. Empty: the first."""

    @property
    def patience(self) -> int:
        """Evaluations in a row without a better number, after which the training ends. 0: it never does."""

    def check(self) -> None:
        """Raise a ValueError before the first step if nothing can be measured."""

    def __call__(self, folder: Path) -> dict[str, float]:
        """Measure the model of a folder that the run's model wrote. Return numbers by name."""


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
        self_contained: The finished model folder holds frozen weights, too. Else it refers to `frozen/` in it, as
            checkpoints do.
        tensorboard: Write TensorBoard's files too.
        trackers: Services that get every number of the log too: "wandb" (Weights & Biases), "trackio".
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    micro_batches: int = 1
    activation_checkpointing: bool = False
    compile: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    workers: int = 0
    checkpoint_every: int = 1000
    keep: int = 2
    self_contained: bool = True
    tensorboard: bool = False
    trackers: tuple[Literal["wandb", "trackio"], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run(Generic[Model]):
    """One training. Everything is counted in steps, one step is one update of the weights.

    A bare `Run` is that of a dual encoder, `Run[Probe]` that of a module of one's own.

    Attributes:
        name: Of the recipe.
        model: What is trained.
        objective: What is minimized.
        data: What the batches hold.
        optimizer: How the weights follow the gradient.
        steps: Updates.
        batch_size: Samples to a step, of all ranks together.
        seed: Of fresh weights and of the data's order.
        tuning: Which weights are trained, where not all are.
        ema: Decay of a moving average of the weights, which then is the result. None: the last weights are.
        evaluate: What is measured while it trains.
        machine: How it is computed.
    """

    name: str
    model: Model
    objective: Objective[Any] | CarryingObjective
    data: Data
    optimizer: Optimizer
    steps: int
    batch_size: int
    seed: int = 0
    tuning: Tuning = field(default_factory=Tuning)
    ema: float | None = None
    evaluate: Evaluation = field(default_factory=Evaluate)
    machine: Machine = field(default_factory=Machine)
