"""A training as a value, how single fields of it are changed from outside, and how it is written down."""

import dataclasses
import inspect
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints, runtime_checkable

from torch import Tensor

from ..distributed import World
from ..models.config import ModelConfig
from ..types import Batch, Output
from .optimizer import Optimizer

T = TypeVar("T")


@runtime_checkable
class Stateful(Protocol):
    """What has to be saved to go on exactly: tensors, numbers, strings, and lists and dictionaries of them."""

    def state_dict(self) -> dict[str, Any]:
        """All there is to save."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@runtime_checkable
class Objective(Protocol):
    """What a training minimizes: the sum of the terms. Called once a step, on the whole batch of a rank.

    One that can't do without something the run could leave out says so in `needs`: pairs of the field's path and what
    to set it to, such as ("data.long_captions", "true"). A run that leaves it out is refused before the first step.
    """

    def __call__(self, output: Output, world: World) -> dict[str, Tensor]:
        """The weighted terms, by name."""


class Stream(Stateful, Protocol):
    """This rank's batches, without end, from where its state says."""

    def __iter__(self) -> Iterator[Batch]:
        """Go on with the next batch."""


@runtime_checkable
class CarryingObjective(Protocol):
    """An objective that carries something from step to step (FG-CLIP 2's threshold). Itself it stays a value."""

    def start(self) -> Objective:
        """An objective at the first step, which is `Stateful`."""


@runtime_checkable
class Data(Protocol):
    """What batches are made of and what they hold."""

    def open(self, model: ModelConfig, *, batch_size: int, seed: int, world: World, workers: int) -> Stream:
        """This rank's stream, with `batch_size` images to a batch, sized and cut for this model."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a training is computed. But for rounding and the data's order, what it learns does not depend on it.

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


def override(value: T, assignments: list[str]) -> T:
    """A copy of a dataclass tree with "path.to.field=value" applied, each value read by the field's type.

    Raises:
        ValueError: If there is no such field (the message lists those there are) or the value does not fit.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"'{assignment}' sets nothing. Write path.to.field=value.")
        try:
            value = _set(value, path.split("."), text)
        except _UnreadableError as error:
            raise ValueError(f"{path}={text}: expected {error}.") from None
    return value


def describe(value: Any) -> Any:
    """A run, or any part of it, as JSON has it. A dataclass becomes a dictionary that begins with its type."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return {"type": type(value).__name__} | {name: describe(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): describe(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [describe(member) for member in value]
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, Path):
        return str(value)
    return value.__qualname__ if inspect.isroutine(value) else type(value).__name__


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two descriptions differ, as "path: old, now new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        found = (differences(old.get(key), new.get(key), f"{path}.{key}".strip(".")) for key in keys)
        return [difference for some in found for difference in some]
    return [] if old == new else [f"{path}: {json.dumps(old)}, now {json.dumps(new)}"]


class _UnreadableError(Exception):
    """A text that does not fit a type; says what would."""


def _set(node: Any, path: list[str], text: str) -> Any:
    head, *rest = path
    if not dataclasses.is_dataclass(node):
        raise ValueError(f"{type(node).__name__} has no fields, so no '{head}'.")
    names = [f.name for f in dataclasses.fields(node)]
    if head not in names:
        raise ValueError(f"{type(node).__name__} has no '{head}'. It has: {', '.join(names)}.")
    if rest:
        new = _set(getattr(node, head), rest, text)
    else:
        new = _read(text, get_type_hints(type(node))[head], getattr(node, head))
    return dataclasses.replace(cast(Any, node), **{head: new})


def _read(text: str, hint: Any, old: Any = None) -> Any:
    """What a text means for a type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(text, get_args(hint), old)
    if origin is Literal:
        return _choose(text, {str(choice): choice for choice in get_args(hint)})
    if origin is tuple:
        return _read_tuple(text, get_args(hint))
    if hint is bool:
        return _choose(text, {"true": True, "false": False})
    if hint in (int, float, str, Path):
        try:
            return hint(text)
        except ValueError:
            raise _UnreadableError({int: "a whole number", float: "a number"}[hint]) from None
    if dataclasses.is_dataclass(old):
        fields = ", ".join(f.name for f in dataclasses.fields(old))
        raise _UnreadableError(f"one of its own fields to be set: {fields}")
    raise _UnreadableError("nothing: this can't be written as text. Set it in a recipe")


def _choose(text: str, choices: dict[str, Any]) -> Any:
    if text.lower() not in choices and text not in choices:
        raise _UnreadableError(f"one of {', '.join(choices)}")
    return choices[text] if text in choices else choices[text.lower()]


def _read_union(text: str, hints: tuple[Any, ...], old: Any) -> Any:
    if type(None) in hints and text.lower() in ("none", "null"):
        return None
    problems = []
    for hint in hints:
        if hint is not type(None):
            try:
                return _read(text, hint, old)
            except _UnreadableError as error:
                problems.append(str(error))
    raise _UnreadableError(" or ".join(problems + ["none"] * (type(None) in hints)))


def _read_tuple(text: str, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple from JSON ("[0.9, 0.98]") or from plain words ("0.9,0.98")."""
    try:
        members = json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",") if part]
    except json.JSONDecodeError:
        raise _UnreadableError("a list such as [1, 2]") from None
    if len(hints) == 2 and hints[1] is ...:
        hints = hints[:1] * len(members)
    if len(hints) != len(members):
        raise _UnreadableError(f"{len(hints)} values, not {len(members)}")
    texts = [member if isinstance(member, str) else json.dumps(member) for member in members]
    return tuple(_read(member, hint) for member, hint in zip(texts, hints, strict=True))
