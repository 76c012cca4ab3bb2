"""`foveal train`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe (clip, fg_clip:stage2, ...) or your own as module:function.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its log, curves and checkpoints.")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="File, folder, 'shards/{00..99}.tar' or 'scenes:seed=0'. Repeat it to mix several."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Model folder, or owner/name[@revision] on the hub, to begin from; stretched where needed."),
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Column of the pictures, where its name does not say so.")
    ] = None,
    caption_column: Annotated[str | None, typer.Option(help="Column of the captions, likewise.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="path.to.field=value, for example optimizer.lr=1e-5. Repeatable.")
    ] = None,
) -> None:
    """Train a model as a recipe says.

    Under torchrun it trains on all processes together. `--set` changes any field of the recipe; a wrong name lists
    the right ones. Ctrl-C stops after the step in hand, and --resume goes on from there, bit for bit.

    For example: `foveal train fg_clip:stage2 --data 'shards/{00..99}.tar' --out runs/fg --set optimizer.lr=1e-5`
    """
    from ..data.formats.source import with_columns
    from ..recipes.lookup import find
    from ..training import start

    sys.path.insert(0, "")  # one's own recipe lies in the current folder, where an installed command does not look
    data = [with_columns(spec, image_column, caption_column) for spec in data or []]
    start.train(find(recipe)(), out, data=data, init=init, resume=resume, changes=change or [])
