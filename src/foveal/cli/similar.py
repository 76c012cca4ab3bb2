"""`foveal similar`."""

from pathlib import Path
from typing import Annotated

import typer

from .machine import QueryDtype, Threads, use_threads


def similar(
    index: Annotated[str, typer.Argument(help="An index made by `foveal index`.")],
    picture: Annotated[str, typer.Argument(help="A picture of the index, by path or id, or any picture file.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many pictures.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Write hits to this .json, .csv, .html or .png too.")] = None,
    dtype: QueryDtype = None,
    threads: Threads = None,
    model: Annotated[str | None, typer.Option(help="The index's model, if not under its own name.")] = None,
) -> None:
    """Find pictures like a picture.

    To find what a part of it shows, give a box: `foveal search INDEX --image PICTURE --box 0.1,0.2,0.6,0.9`.

    For example: `foveal similar photos.index holiday/0031.jpg --out sheet.html`
    """
    from ..search import Searcher
    from ..search.contact_sheet import as_lines, write_hits

    use_threads(threads)
    searcher = Searcher.open(index, model=model, dtype=dtype or "fp32")
    hits = searcher.similar(picture, k)
    print(as_lines(hits))
    if out is not None:
        write_hits(hits, out, f"Like {picture}", searcher.thumbnail)
