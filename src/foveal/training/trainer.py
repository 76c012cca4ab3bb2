"""The training loop."""

import json
import logging
import math
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..configuration import describe, differences, with_new_fields
from ..data.stream import Stream
from ..distributed import ALONE, World
from ..encoder.protocol import FILE as PROTOCOL
from ..trees import to_device
from . import checkpoint, fingerprint, logbook
from .evaluate import Standing
from .fingerprint import Fingerprint
from .inspection import remarks
from .large_batch import accumulate, backward, split
from .logbook import Logbook, Record
from .optimizer import clip_gradients, clip_scales, lr_at, set_lr
from .parallel import average_whole_gradients, of_first_rank, wait_for_all
from .run import Batch, PreparedData, RowsOutput, Run, SourcedData, TokenCounter
from .state import Training, begin

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
# May change between parts of a training. Workers may not, as the data's order hangs on them; a tokenizer is copied.
FREE = ("steps:", "machine.", "evaluate.", "data.tokenizer.path:", "data.allow_change:")


class NotFiniteError(ValueError):
    """A loss or gradient is infinite or not a number."""


def fit(
    run: Run[Any],
    out: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    world: World = ALONE,
    device: torch.device = CPU,
    progress: bool = True,
) -> Path:
    """Train a model, from the start or from its last checkpoint.

    A training that is resumed gives the same weights and the same log, bit for bit, as one that was never cut off.

    Args:
        run: What is trained, how, and on what.
        out: The folder of results: the model, `run.json`, `log.jsonl`, `curves.png` and `checkpoints/`.
        init: A model folder to start from, ours or a public checkpoint's. None: fresh weights. The run's
            normalization mean and std and its tokenizer count; `train` takes over those of `init`.
        resume: Go on with what `out` holds.
        world: The ranks, see `parallel.processes`.
        device: Of this rank.
        progress: Whether to show a progress bar.

    Returns:
        `out`, which then is a model folder.

    Raises:
        ValueError: If `out` holds something else, its last checkpoint is damaged, the data ends, a loss is not finite,
            or the disk is full.
        KeyboardInterrupt: If it was interrupted. A checkpoint was written before.
    """
    checkpoints = out / "checkpoints"
    _check_folder(run, out, resume=resume)
    last = of_first_rank(lambda: checkpoint.last_whole(checkpoints), world)
    if init is not None and last is None:
        of_first_rank(lambda: checkpoint.check(init), world)
    if run.evaluate.every:
        run.evaluate.check()
    training = begin(run, world, device, init if last is None else None)
    fingerprints = of_first_rank(lambda: _fingerprints(training, out if last else None), world)
    if last is not None:
        training.restore(last)
    elif world.rank == 0:
        for remark in remarks(run, training.stream):
            logger.warning(remark)
    # not before all is well: a misspelt source must not leave a folder that is in use
    _claim(run, out, world, init, fingerprints)
    log = Logbook(out, run.name, run.machine, run.steps, training.step, active=world.rank == 0, progress=progress)
    with closing(log):
        _train(training, out, log)
    training.save_result(out)
    log.draw()
    return out


def _train(training: Training, out: Path, log: Logbook) -> None:
    """Do all steps that are left, with their evaluations and checkpoints."""
    run, world = training.run, training.world
    standing = of_first_rank(lambda: Standing.of(logbook.read(log.path), run.evaluate.decisive), world)
    ended = _has_ended(run, standing)
    batches = iter(training.stream)
    with _interruption() as interrupted:
        while training.step < run.steps and not ended:
            with log.waiting():
                batch = _next(batches, training.step)
            record, stop = _update(training, batch, interrupted.is_set())
            if _is_evaluated(run, training.step):
                with log.paused():
                    standing, record["evaluation"] = _evaluated(training, out, standing)
                ended = _has_ended(run, standing)
            log.write(record, pairs=run.batch_size, tokens=_tokens(run, batch, world))
            if stop or ended or training.step % run.machine.checkpoint_every == 0 or training.step == run.steps:
                log.sync()
                training.save(out / "checkpoints")
            if stop and training.step < run.steps and not ended:
                raise KeyboardInterrupt(f"Stopped after step {training.step} of {run.steps}. Resume to go on.")
    if training.step < run.steps:
        logger.warning(
            "No better model in %d evaluations: the training ends at step %d.", standing.since, training.step
        )


def _is_evaluated(run: Run[Any], step: int) -> bool:
    return run.evaluate.every > 0 and (step % run.evaluate.every == 0 or step == run.steps)


def _has_ended(run: Run[Any], standing: Standing) -> bool:
    return 0 < run.evaluate.patience <= standing.since


def _evaluated(training: Training, out: Path, standing: Standing) -> tuple[Standing, dict[str, float]]:
    """Measure the model as it would be saved now. Keep it in `best` if it is better than all before."""
    run, candidate = training.run, out / "candidate"
    if training.world.rank == 0:
        shutil.rmtree(candidate, ignore_errors=True)
        candidate.mkdir()
        checkpoint.copy_beside(out, candidate)
    training.save_result(candidate, self_contained=True)

    def measure() -> tuple[Standing, dict[str, float]]:
        numbers = run.evaluate(candidate)
        after = standing.after(numbers, run.evaluate.decisive)
        checkpoint.replace_folder(candidate, out / "best") if after.since == 0 else shutil.rmtree(candidate)
        return after, numbers

    with training.unchanged_chance():
        return of_first_rank(measure, training.world)


def _update(training: Training, batch: Batch, stop: bool) -> tuple[Record, bool]:
    """Do one step. Return its record, and whether any rank wants to stop."""
    run, world = training.run, training.world
    lr = lr_at(training.step, run.optimizer, run.steps)
    set_lr(training.adam, lr)
    training.step += 1
    logged: dict[str, Any] = {}

    def objective(output: Any) -> dict[str, Tensor]:
        terms = training.objective(output, world)
        if not terms:
            raise ValueError(
                f"The objective of '{run.name}' has no term for texts of the kinds that the data gives. Ask for others:"
                " --set data.captions=true, or data.long_captions=true."
            )
        return terms

    def measured(terms: dict[str, Tensor], output: Any) -> dict[str, Tensor]:
        flags = next(iter(terms.values())).new_tensor(float(stop))
        *values, stopping = world.mean(torch.stack([*terms.values(), flags]).detach()).tolist()
        logged.update(terms=dict(zip(terms, values, strict=True)), stop=stopping > 0)
        _check_terms(training.step, logged["terms"], output, batch)
        return terms

    parts = [to_device(part, training.device) for part in split(batch, run.machine.micro_batches)]
    if getattr(training.objective, "additive", False):
        terms, output = accumulate(training.wrapped, parts, objective)
        measured(terms, output if len(parts) == 1 else None)
    else:
        _, output = backward(training.wrapped, parts, lambda output: measured(objective(output), output))
    average_whole_gradients(training.wrapped, world)
    norm = clip_gradients(training.model, run.optimizer.clip_gradient_norm).item()
    if not math.isfinite(norm):
        raise NotFiniteError(f"Step {training.step}: the gradient's norm is {norm}. {_ids(batch.ids)}")
    training.adam.step()
    training.adam.zero_grad()
    clip_scales(training.model, run.optimizer.max_scale)
    if training.average is not None:
        training.average.update()
    record = {"step": training.step, "loss": sum(logged["terms"].values()), "terms": logged["terms"], "lr": lr}
    scale = {"scale": output.scale.item()} if hasattr(output, "scale") else {}
    return record | scale | {"gradient_norm": norm}, logged["stop"]


def _check_terms(step: int, terms: dict[str, float], output: Any, batch: Batch) -> None:
    """Stop at a term that is not finite, with the samples to look at."""
    broken = [f"{name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
    if not broken:
        return
    finite = output.finite().tolist() if isinstance(output, RowsOutput) else [True] * len(batch.ids)
    suspects = tuple(name for name, fine in zip(batch.ids, finite, strict=True) if not fine)
    raise NotFiniteError(f"Step {step}: {', '.join(broken)}. {_ids(suspects or batch.ids)}")


def _ids(ids: tuple[str, ...]) -> str:
    return f"Samples: {', '.join(ids)}. Look at them, or lower optimizer.lr."


def _tokens(run: Run[Any], batch: Batch, world: World) -> int | None:
    """Count the text tokens of all ranks' batches, taken to be alike. None for models that read none."""
    return run.model.count_tokens(batch) * world.size if isinstance(run.model, TokenCounter) else None


def _next(batches: Iterator[Batch], step: int) -> Batch:
    batch = next(batches, None)
    if batch is None:
        raise ValueError(f"The data ended after {step} steps. Give more, or let it repeat.")
    return batch


def _check_folder(run: Run[Any], out: Path, *, resume: bool) -> None:
    """Refuse a folder of results that is not this run's."""
    path = out / "run.json"
    if resume:
        if not path.is_file():
            raise ValueError(f"There is nothing to resume in {out}. Leave out --resume to start.")
        changed = differences(with_new_fields(_description(path), run), describe(run))
        free = (*FREE, "data.sources:") if (out / fingerprint.FILE).is_file() else FREE
        changed = [change for change in changed if not change.startswith(free) or "workers" in change]
        if changed:
            raise ValueError(f"{out} was begun with other settings ({'; '.join(changed)}). Use those, or a new folder.")
    elif out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty. Resume it with --resume, or choose another folder.")


def _description(path: Path) -> Any:
    """Read the run as it was written down when its training began."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        last = checkpoint.latest(path.parent / "checkpoints")
        weights = f", from its weights: --init {last}" if last else ""
        raise ValueError(f"{path} is damaged: {error}. Start again in another folder{weights}.") from error


def _fingerprints(training: Training, begun: Path | None) -> list[Fingerprint]:
    """Take fingerprints of the run's sources. Refuse them if a resumed run began with something else."""
    data, stream = training.run.data, training.stream
    if not isinstance(data, SourcedData) or not isinstance(stream, Stream):
        return []
    now = [Fingerprint.of(spec, source) for spec, source in zip(data.sources, stream.sources, strict=True)]
    if begun is not None and not data.allow_change:
        fingerprint.check(begun, now)
    return now


def _claim(run: Run[Any], out: Path, world: World, init: Path | None, fingerprints: list[Fingerprint]) -> None:
    """Make the folder of results, when every rank has looked at it."""
    wait_for_all(world)
    if world.rank == 0:
        checkpoint.clean(out / "checkpoints")
        out.mkdir(parents=True, exist_ok=True)
        if isinstance(run.data, PreparedData) and not (out / PROTOCOL).is_file():
            run.data.write_protocol(out, run.model, init)
        if fingerprints:
            fingerprint.write(out, fingerprints)
        checkpoint.write_text(out / "run.json", json.dumps(describe(run), indent=2) + "\n")
    wait_for_all(world)


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or SIGTERM, so that a step is finished and saved. The second one stops at once."""
    event = threading.Event()  # workers inherit the handler: Ctrl-C reaches them too, and must not end them
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def take(number: int, _: Any) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, take)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
