"""`foveal convert`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    model: Annotated[str, typer.Argument(help="Model folder, checkpoint file or hub name (owner/name).")],
    out: Annotated[Path, typer.Option(help="New folder; for long-clip a new file, *.pt.")],
    to: Annotated[
        Literal["foveal", "hf-clip", "open-clip", "long-clip"], typer.Option(help="Layout to write.")
    ] = "foveal",
    kind: Annotated[
        Literal["caption", "long_caption", "phrase"],
        typer.Option(help="Whose text tower is written, where kinds of text have towers of their own (FG-CLIP)."),
    ] = "caption",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
) -> None:
    """Write a model in another layout, so that other programs read it: weights, config, tokenizer, preprocessing.

    `hf-clip` loads as `CLIPModel`, `CLIPTextModel` and `CLIPVisionModel` of transformers, also with 248 positions;
    `open-clip` in open_clip; `long-clip` is a state dictionary for the code of Long-CLIP and FineLIP. Numbers are kept
    bit for bit. What a layout has no place for is named.

    For example: `foveal convert runs/mine --out runs/mine-hf --to hf-clip`
    """
    from ..encoder.convert import convert as write
    from ..encoder.load import load
    from ..outside import printable

    left_out = write(load(model, revision, device="cpu"), out, to, kind)
    print(printable(f"{out} holds {model} in the layout {to}."))
    if left_out:
        print(printable(f"Left out, as the layout has no place for it: {', '.join(left_out)}."))
