"""`foveal search`."""

from pathlib import Path
from typing import Annotated

import typer

from .machine import Dtype, Threads, use_threads


def search(  # noqa: PLR0913  # an argument for each option
    index: Annotated[str, typer.Argument(help="An index made by `foveal index`.")],
    text: Annotated[str, typer.Argument(help="What to look for; long descriptions welcome. @FILE: one a line.")] = "",
    image: Annotated[Path | None, typer.Option(help="A picture to search by; with TEXT, both should fit.")] = None,
    box: Annotated[str, typer.Option(help="x0,y0,x1,y1 in fractions of --image: search by what it shows.")] = "",
    exclude: Annotated[str, typer.Option("--not", help="What hits should not show.")] = "",
    where: Annotated[str, typer.Option(help="SQL filter: \"width >= 640 and path like 'holiday/%'\".")] = "",
    k: Annotated[int, typer.Option("-k", min=1, help="How many pictures.")] = 20,
    mode: Annotated[
        str, typer.Option(help="Score: global (whole pictures), late (their tokens), fused (both), region (boxes).")
    ] = "fused",
    out: Annotated[Path | None, typer.Option(help="Write hits to this .json, .csv, .html or .png too.")] = None,
    dtype: Dtype = None,
    threads: Threads = None,
    model: Annotated[str | None, typer.Option(help="The index's model, if not under its own name.")] = None,
) -> None:
    """Find pictures by a text, a picture, or a box in one, and see where in them.

    "sure" is the share of hits this good that are expected to be no accident. Boxes are x0, y0, x1, y1 in fractions.

    For example: `foveal search photos.index "a brown bear in shallow water" --where "width >= 640" --out hits.csv`
    """
    from ..search import Query, Searcher, parse_box, read_texts
    from ..search.contact_sheet import as_lines, numbered, write_hits

    use_threads(threads)
    texts = read_texts(text)
    queries = [Query(line, image, parse_box(box), exclude, where, k, mode) for line in texts]
    searcher = Searcher.open(index, model=model, dtype=dtype)
    for number, (query, hits) in enumerate(zip(queries, searcher.search_many(queries), strict=True)):
        print(as_lines(hits, query.text if len(texts) > 1 else ""))
        if out is not None:
            write_hits(hits, numbered(out, number, len(texts)), query.text or str(image), searcher.thumbnail)
