"""`foveal export`."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="Model folder, checkpoint file or hub name (owner/name).")],
    out: Annotated[Path, typer.Option(help="New folder.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="As ONNX graphs, for onnxruntime and its kin.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Weights in 8 bits: a quarter of the size, faster.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
) -> None:
    """Write a model as graphs that run without torch, each checked against torch before it is kept.

    OUT/visual and OUT/textual are what photo applications such as Immich take; beside them lie graphs for regions and
    patches, token sets and every kind of text. OUT/report.json says what goes in, what comes out, how far each graph is
    from torch, and what 8 bits cost.

    For example: `foveal export openai/clip-vit-base-patch16 --out graphs --onnx --int8`
    """
    from ..encoder.load import load
    from ..export.export import export as write
    from ..export.export import summary

    if not onnx:
        raise ValueError("Say in which format: --onnx.")
    print(summary(write(load(model, revision, device="cpu"), out, int8=int8)))
    print(f"Everything is in {out}, all numbers in {out / 'report.json'}.")
