"""`foveal upgrade`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def upgrade(
    model: Annotated[str, typer.Argument(help="Model folder, checkpoint file or hub name (owner/name) of a CLIP.")],
    out: Annotated[Path, typer.Option(help="New model folder.")],
    to: Annotated[
        Literal["long", "fg_clip", "finelip", "fg_clip2"],
        typer.Option(help="What it becomes; fg_clip2 is made of a SigLIP 2."),
    ],
    seed: Annotated[int, typer.Option(help="Of the parts that start at random.")] = 0,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
) -> None:
    """Make a CLIP ready for long texts and fine detail: what the papers do before they train.

    Positions are stretched from 77 to 248 tokens and the first 20 kept, new heads start as copies of old ones, token
    refinement at random. Short texts and pictures have the embeddings they had. Then train it:
    `foveal train fg_clip:stage1 --init OUT --out RUN --data ...`

    For example: `foveal upgrade openai/clip-vit-base-patch16 --out start --to fg_clip`
    """
    from ..encoder.convert import convert, upgraded
    from ..encoder.load import load
    from ..outside import printable

    encoder = upgraded(load(model, revision, device="cpu"), to, seed)
    convert(encoder, out, "foveal")
    print(printable(f"{out} holds {model} as {encoder.protocol.family}. Train it with --init {out}."))
