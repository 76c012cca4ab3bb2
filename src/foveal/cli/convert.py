"""`foveal convert`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    model: Annotated[str, typer.Argument(help="Model folder, checkpoint file or hub name (owner/name).")],
    out: Annotated[Path, typer.Option(help="New folder; for long-clip a new file, *.pt.")],
    to: Annotated[
        Literal["foveal", "hf-clip", "open-clip", "long-clip", "text-encoder", "vision-tower"],
        typer.Option(help="Layout to write."),
    ] = "foveal",
    kind: Annotated[
        Literal["caption", "long_caption", "phrase"] | None,
        typer.Option(
            help="Whose text tower is written, where kinds of text have towers of their own (FG-CLIP). "
            "[default: long_caption for text-encoder, else caption]"
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    pad: Annotated[
        Literal["end", "zero"], typer.Option(help="text-encoder: what fills prompts up; zero as in the papers' code.")
    ] = "end",
    layer: Annotated[
        Literal["penultimate", "dense"],
        typer.Option(help="vision-tower: LLaVA's layer, or the patches that regions are read from."),
    ] = "penultimate",
    shape: Annotated[
        Literal["pad", "squash", "crop"], typer.Option(help="vision-tower: how a picture becomes a square.")
    ] = "pad",
    size: Annotated[
        int | None, typer.Option(help="vision-tower: side of that square, in pixels. [default: the model's own]")
    ] = None,
) -> None:
    """Write a model in another layout, so that other programs read it: weights, config, tokenizer, preprocessing.

    `hf-clip` loads as `CLIPModel`, `CLIPTextModel` and `CLIPVisionModel` of transformers, also with 248 positions;
    `open-clip` in open_clip; `long-clip` is a state dictionary for the code of Long-CLIP and FineLIP; `text-encoder`
    are the folders `text_encoder` and `tokenizer` of a pipeline of diffusers; `vision-tower` is the image tower for a
    LLaVA, `CLIPVisionModel` or `SiglipVisionModel`. Numbers are kept bit for bit. What a
    layout has no place for is named.

    For example: `foveal convert runs/mine --out runs/mine-hf --to hf-clip`
    """
    from ..encoder.convert import convert as write
    from ..encoder.load import load
    from ..outside import printable

    encoder = load(model, revision, device="cpu")
    if to == "text-encoder":
        from ..diffusion.text_encoder import save_text_encoder

        save_text_encoder(encoder, out, kind or "long_caption", pad=pad)
        print(printable(f"{out} holds the text encoder of {model}, and its tokenizer, as a pipeline of diffusers."))
        return
    if to == "vision-tower":
        from ..multimodal.tower import save_vision_tower

        reading = save_vision_tower(encoder, out, layer, shape, size)
        print(printable(f"{out} holds the image tower of {model}: {reading.tokens} image tokens, {reading}."))
        return
    left_out = write(encoder, out, to, kind or "caption")
    print(printable(f"{out} holds {model} in the layout {to}."))
    if left_out:
        print(printable(f"Left out, as the layout has no place for it: {', '.join(left_out)}."))
