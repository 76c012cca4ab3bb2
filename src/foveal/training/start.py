"""The start of a training from a recipe and the command line's changes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..configuration import override
from ..encoder.hub import local_path
from ..encoder.protocol import FILE as PROTOCOL
from .parallel import processes
from .run import PreparedData, Run, SourcedData
from .trainer import fit


def train(
    run: Run[Any],
    out: Path,
    *,
    data: Sequence[str] = (),
    init: str | Path | None = None,
    resume: bool = False,
    changes: Sequence[str] = (),
    progress: bool = True,
) -> Path:
    """Train a run with other data, other settings and another beginning than its own, where such are given.

    Under torchrun it trains on all processes together.

    Args:
        run: What a recipe gave.
        out: The folder of results.
        data: Sources in place of the run's own. Empty: its own.
        init: A model folder to begin from, or "owner/name" or "owner/name@revision" on the hub; what the run's model
            has beyond it is added as the papers do. The normalization mean and std and the tokenizer become this
            model's; `changes` come after.
        resume: Go on with what `out` holds.
        changes: "path.to.field=value" each.
        progress: Whether to show a progress bar.

    Returns:
        `out`, which then is a model folder.

    Raises:
        ValueError: If a change, the data, `init` or `out` is not what it should be.
    """
    if data:
        if not isinstance(run.data, SourcedData):
            raise ValueError(f"The data of '{run.name}', {type(run.data).__name__}, has no sources. Leave out --data.")
        run = replace(run, data=replace(cast(Any, run.data), sources=tuple(data)))
    init = None if init is None else local_path(init)
    begun = init if not resume else out if (out / PROTOCOL).is_file() else None
    if begun is not None and isinstance(run.data, PreparedData):
        run = replace(run, data=run.data.following(begun, run.model))
    run = override(run, list(changes))
    with processes() as (world, device):
        return fit(run, out, init=init, resume=resume, world=world, device=device, progress=progress)
