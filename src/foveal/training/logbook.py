"""The log of a training: a line of JSON per step, a progress bar, curves, and TensorBoard where asked for."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from tqdm.auto import tqdm

from .checkpoint import write_text
from .run import Machine
from .trackers import Tracker, trackers

log = logging.getLogger(__name__)

Record = dict[str, Any]


class Logbook:
    """The log of one training.

    Each line of `log.jsonl` holds step, loss, terms, lr, scale, gradient_norm and `speed`. All but `speed` is
    the same, bit for bit, however often the training was cut off and resumed.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        machine: Machine,
        steps: int,
        done: int = 0,
        *,
        active: bool = True,
        progress: bool = True,
    ) -> None:
        """Open the log and forget what came after the step that a resumed training goes on from.

        Args:
            folder: Where `log.jsonl` lies.
            name: Of the run.
            machine: Says where else the numbers go.
            steps: Of the whole training.
            done: Steps done already.
            active: Whether anything is written and shown; true for the first rank only.
            progress: Whether a progress bar is shown.

        Raises:
            ValueError: If a tracker is wanted and not installed.
        """
        self.path = folder / "log.jsonl"
        self._active = active
        self._waited = 0.0
        self._trackers: list[Tracker] = trackers(folder, name, machine, done) if active else []
        if active:
            _forget(self.path, done)
            self._file = self.path.open("a", encoding="utf-8")
        self._bar = tqdm(total=steps, initial=done, unit="step", disable=not (active and progress))
        self._since = perf_counter()

    def close(self) -> None:
        """End the bar and close the files."""
        self._bar.close()
        for tracker in self._trackers:
            tracker.close()
        if self._active:
            self._file.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time in here as time spent waiting for data."""
        start = perf_counter()
        yield
        self._waited += perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time in here out of the step's speed."""
        start = perf_counter()
        yield
        self._since += perf_counter() - start

    def write(self, record: Record, *, pairs: int, tokens: int | None = None) -> None:
        """Log a step.

        Args:
            record: What is known of the step; `step`, `loss` and `terms` at least.
            pairs: Images it saw, on all ranks.
            tokens: Text tokens it read, on all ranks. None: it reads none.
        """
        seconds = perf_counter() - self._since
        counts = {"pairs/s": pairs} | ({} if tokens is None else {"tokens/s": tokens})
        speed = {name: count / seconds for name, count in counts.items()} | {"wait": self._waited / seconds}
        self._since, self._waited = perf_counter(), 0.0
        if not self._active:
            return
        line = record | {"speed": {name: float(f"{value:.4g}") for name, value in speed.items()}}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        postfix = {"loss": record["loss"]} | record["terms"]
        postfix |= {name: speed[name] for name in counts}
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in postfix.items()}, refresh=False)
        self._bar.update()
        for tracker in self._trackers:
            tracker.log(dict(_flat(line)), record["step"])

    def sync(self) -> None:
        """Wait until all lines are on the disk: no checkpoint may be ahead of its log."""
        if self._active:
            os.fsync(self._file.fileno())

    def draw(self) -> None:
        """Draw the curves of the loss and its terms to `curves.png`."""
        if self._active:
            _draw(read(self.path), self.path.with_name("curves.png"))


def read(path: Path) -> list[Record]:
    """Read the whole lines of a log. A last line that was cut off is left out.

    Raises:
        ValueError: If a line is no step of a training.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [_record(line, path, number) for number, line in enumerate(lines, start=1) if line.endswith(b"\n")]


def _record(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
        int(record["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}:{number} is damaged. Move the file away; --resume then begins a new log.") from error
    return record


def _forget(path: Path, done: int) -> None:
    """Remove lines after a step. They are written again when the training comes by."""
    lines = [json.dumps(record) + "\n" for record in read(path) if record["step"] <= done]
    if len(lines) < done:  # a checkpoint is never ahead of its log
        log.warning("%s holds %d of the %d steps so far. The others are lost.", path, len(lines), done)
    write_text(path, "".join(lines))


def _flat(record: Record, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        elif name != "step":
            yield prefix + name, value


def _draw(records: list[Record], path: Path) -> None:
    from matplotlib.figure import Figure

    evaluated = [record for record in records if "evaluation" in record]
    figure = Figure(figsize=(8, 9 if evaluated else 5), layout="constrained")
    if evaluated:
        axes, below = figure.subplots(2, sharex=True)
        for name in evaluated[0]["evaluation"]:
            points = [(r["step"], r["evaluation"][name]) for r in evaluated if name in r["evaluation"]]
            below.plot(*zip(*points, strict=True), marker=".", label=name, linewidth=1)
        below.set(xlabel="step", ylabel="evaluation")
        below.grid(alpha=0.3)
        below.legend(fontsize="x-small")
    else:
        axes = figure.subplots()
    names = list(dict.fromkeys(name for record in records for name in record["terms"]))
    for name in names:
        with_it = [record for record in records if name in record["terms"]]
        axes.plot([r["step"] for r in with_it], [r["terms"][name] for r in with_it], label=name, linewidth=1)
    if len(names) > 1:
        axes.plot([r["step"] for r in records], [r["loss"] for r in records], "k", label="loss", linewidth=1.5)
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    if records:
        axes.legend()
    figure.savefig(path, dpi=120)
