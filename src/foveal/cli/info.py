"""`foveal info`."""

from typing import Annotated

import typer


def info(
    model: Annotated[
        str, typer.Argument(help="Folder, checkpoint file, hub name such as openai/clip-vit-base-patch16, or starter.")
    ],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
) -> None:
    """Say what a model is: family, sizes, licence, and how its pictures and texts are prepared.

    Reads every public layout that foveal knows and runs nothing of it, so it is also a way to look at a file that
    you do not trust.

    For example: `foveal info openai/clip-vit-base-patch16`
    """
    from ..encoder.describe import describe
    from ..encoder.load import load

    print(describe(load(model, revision, device="cpu")))
