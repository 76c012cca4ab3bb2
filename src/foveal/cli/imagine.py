"""`foveal imagine`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def imagine(  # noqa: PLR0913  # a switch each
    pipeline: Annotated[str, typer.Argument(help="Pipeline of diffusers: a folder or hub name.")],
    prompt: Annotated[str, typer.Argument(help="What the picture shall show; as long as the text encoder reads.")] = "",
    text_encoder: Annotated[
        str | None, typer.Option(help="Model whose text tower reads the prompt, 248 tokens long: Long-CLIP, FG-CLIP.")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="File of prompts: *.txt, a line each, or captions in any format of foveal.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The picture; a folder with --captions, a page with --compare. "
            "[default: imagined.png, imagined, imagined.html]"
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Write a page: each prompt cut at 77 tokens and whole, and where its last words look.")
    ] = False,
    layer: Annotated[
        Literal["penultimate", "final-normed"] | None,
        typer.Option(
            help="Which layer of the text encoder is seen; Long-CLIP and FineLIP take final-normed for SDXL. "
            "[default: the pipeline's own]"
        ),
    ] = None,
    pad: Annotated[
        Literal["pipeline", "zero"], typer.Option(help="What fills prompts up: zero as in the papers' code.")
    ] = "pipeline",
    negative: Annotated[str | None, typer.Option(help="What pictures should not show.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of denoising.")] = 40,
    guidance: Annotated[float, typer.Option(min=0, help="Scale of classifier-free guidance.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Of the first picture; each further one has one more.")] = 1971,
    size: Annotated[int | None, typer.Option(min=8, help="Side in pixels. [default: the pipeline's own]")] = None,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"] | None, typer.Option(help="[default: float16 on a GPU]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1. [default: the GPU if there is one]")] = None,
) -> None:
    """Draw a picture of a prompt, or of every caption of a file, with a text encoder that reads long ones.

    A folder goes on where it was: pictures that are there stay. Prompts longer than the encoder reads are cut, with a
    warning that names the words.

    For example: `foveal imagine sd-v1-5 "a long description ..." --text-encoder longclip-L.pt --out picture.png`
    """
    import torch

    from ..diffusion.imagine import Drawing, open_pipeline
    from ..diffusion.run import Job
    from ..diffusion.run import imagine as run
    from ..encoder.load import load

    drawing = Drawing(steps=steps, guidance=guidance, seed=seed, size=size, layer=layer, negative=negative)
    names = {"pipeline": pipeline, "text_encoder": text_encoder or "", "pad": pad}
    job = Job(prompt, captions, out, drawing, names, compare=compare)
    encoder = load(text_encoder, device="cpu") if text_encoder else None
    opened = open_pipeline(pipeline, getattr(torch, dtype) if dtype else None, device)
    run(opened, encoder, job, print)
