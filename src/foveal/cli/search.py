"""`foveal search`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .machine import QueryDtype, Threads, use_threads

if TYPE_CHECKING:
    from ..types import Hit


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
    accuracy: Annotated[
        float, typer.Option(min=0.1, max=10, help="More finds more of the best, below 1 is faster: large indices.")
    ] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Write hits to this .json, .csv, .html or .png too.")] = None,
    dtype: QueryDtype = None,
    threads: Threads = None,
    model: Annotated[str | None, typer.Option(help="The index's model, if not under its own name.")] = None,
    server: Annotated[
        bool, typer.Option("--server/--no-server", help="Ask a `foveal serve` that runs on this index, if one does.")
    ] = True,
) -> None:
    """Find pictures by a text, a picture, or a box in one, and see where in them.

    "sure" is the share of hits this good that are expected to be no accident. Boxes are x0, y0, x1, y1 in fractions.

    For example: `foveal search photos.index "a brown bear in shallow water" --where "width >= 640" --out hits.csv`
    """
    from ..search.arguments import parse_box, read_texts
    from ..search.contact_sheet import as_lines, numbered, write_hits

    use_threads(threads)
    texts = read_texts(text)
    options = {"box": parse_box(box), "exclude": exclude, "where": where, "k": k, "mode": mode}
    requests = [{"text": line, **options} for line in texts]
    asked = _by_server(index, model, image, requests) if server and accuracy == 1 and dtype is None else None
    answers, thumbnail = asked or _here(index, image, requests, model=model, dtype=dtype or "fp32", accuracy=accuracy)
    for number, (line, hits) in enumerate(zip(texts, answers, strict=True)):
        print(as_lines(hits, line if len(texts) > 1 else ""))
        if out is not None:
            write_hits(hits, numbered(out, number, len(texts)), line or str(image), thumbnail)


Answers = tuple[Sequence[Sequence["Hit"]], Callable[[str], bytes]]
"""Hits of each query, and what gives thumbnails."""


def _by_server(index: str, model: str | None, image: Path | None, requests: list[dict[str, Any]]) -> Answers | None:
    """Ask the server that runs on the index; None if none does, or it cannot answer this."""
    from ..search.server import UnansweredError, running_server

    server = running_server(index, model)
    if server is None:
        return None
    try:
        content = None if image is None else image.read_bytes()
        return server.search([{**request, "image": content} for request in requests]), server.thumbnail
    except (UnansweredError, OSError):  # searching here says what is wrong
        return None


def _here(index: str, image: Path | None, requests: list[dict[str, Any]], **options: Any) -> Answers:
    """Load the model and search in this process."""
    from ..search import Query, Searcher

    queries = [Query(**request, image=image) for request in requests]
    searcher = Searcher.open(index, **options)
    return searcher.search_many(queries), searcher.thumbnail
