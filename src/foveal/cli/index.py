"""`foveal index`."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .machine import Dtype, Threads, use_threads

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..encoder.precision import Precision


def index(  # noqa: PLR0913  # an argument for each option
    source: Annotated[str, typer.Argument(help="Folder of pictures, tar or Parquet shards, or a JSONL or CSV file.")],
    out: Annotated[str, typer.Option(help="Folder for the index, or an object store's URI (s3://...).")],
    image_column: Annotated[
        str | None, typer.Option(help="Column of the pictures, where its name does not say so.")
    ] = None,
    caption_column: Annotated[str | None, typer.Option(help="Column of the captions, likewise.")] = None,
    model: Annotated[str, typer.Option(help="Name, hub name or folder of a model.")] = "starter",
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Where pictures are embedded.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode; with ray, processes with a model.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures in one pass and one commit.")] = 64,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens kept of each picture, for the second pass.")] = 16,
    regions: Annotated[int, typer.Option(min=1, help="Boxes kept of each picture.")] = 12,
    staging: Annotated[str | None, typer.Option(help="With ray: folder that all workers see.")] = None,
    outside: Annotated[
        bool | None,
        typer.Option(
            "--outside/--no-outside",
            help="Index pictures outside SOURCE that links or paths lead to, and serve them.",
            show_default="as the last time, at first not",
        ),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget pictures even if SOURCE holds something else now, or few of them.")
    ] = False,
    dtype: Dtype = None,
    threads: Threads = None,
    most: Annotated[int, typer.Option("--max-bytes", min=1, help="Largest file of a picture that is read.")] = 2**29,
) -> None:
    """Index pictures for `foveal search`, or bring an index up to date.

    Called again, it adds what is new, replaces what has changed and forgets what is gone. Stopped at any moment, it
    loses the batch in hand at most. `report.json` in OUT lists the pictures that could not be read, and counts what was
    passed over by suffix. Pictures are kept in the index where their disk may not be mounted.

    For example: `foveal index photos --out photos.index --model qihoo360/fg-clip-base`
    """
    from dataclasses import replace

    from ..data.formats.source import with_columns
    from ..outside import printable
    from ..search import Indexing

    use_threads(threads)
    source = with_columns(source, image_column, caption_column)
    indexing = Indexing(source, out, model, tokens, regions, batch_size, workers, engine, staging, progress=True)
    indexing = replace(indexing, outside=outside, forget=forget, most=most)
    print(printable(str(indexing(partial(_load, model, dtype, out))), keep="\n"))


def _load(model: str, dtype: "Precision | None", out: str) -> "Encoder":
    from ..encoder.load import load  # when a picture is to be encoded: this brings torch
    from ..search import precision_of

    return load(model, dtype=dtype or precision_of(out))
