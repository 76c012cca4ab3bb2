"""Where the numbers of a training go beside its own log. Each service is imported only if it is asked for."""

from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .run import Machine


@runtime_checkable
class Tracker(Protocol):
    """Interface of a place for numbers."""

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Take the numbers of a step."""

    def close(self) -> None:
        """End the training's entry."""


def trackers(folder: Path, name: str, machine: Machine, done: int) -> list[Tracker]:
    """Open the trackers that a training asks for.

    Args:
        folder: Of its results.
        name: Of the run.
        machine: Says which.
        done: Steps that were tracked before.

    Raises:
        ValueError: If one is not installed.
    """
    boards: list[Tracker] = [TensorBoard(folder, done)] if machine.tensorboard else []
    return boards + [Service(service, folder, name) for service in machine.trackers]


class TensorBoard:
    """TensorBoard's files, in `tensorboard/`."""

    def __init__(self, folder: Path, done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError("machine.tensorboard needs TensorBoard: pip install 'foveal[tensorboard]'.") from error
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Take the numbers of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


class Service:
    """Weights & Biases, or trackio, which has the same functions. A training that is resumed goes on in its entry."""

    def __init__(self, service: str, folder: Path, name: str) -> None:
        try:
            self._service: Any = import_module(service)
        except ImportError as error:
            raise ValueError(f"machine.trackers needs {service}: pip install 'foveal[{service}]'.") from error
        place = str(folder.resolve())
        # One entry for each folder of results: trackio knows it by its name, Weights & Biases by its id.
        known_by = {"id": blake2b(place.encode(), digest_size=8).hexdigest()} if service == "wandb" else {}
        self._service.init(project="foveal", name=f"{name} {place}", resume="allow", **known_by)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Take the numbers of a step."""
        self._service.log(numbers, step=step)

    def close(self) -> None:
        """End the entry."""
        self._service.finish()
