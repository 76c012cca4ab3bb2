"""`foveal serve`."""

from pathlib import Path
from typing import Annotated

import typer

from .machine import Dtype, Threads, use_threads


def serve(  # noqa: PLR0913  # an argument for each option
    index: Annotated[str, typer.Argument(help="An index made by `foveal index`.")],
    model: Annotated[str | None, typer.Option(help="The model it was made with, if not under its own name.")] = None,
    dtype: Dtype = None,
    threads: Threads = None,
    host: Annotated[str, typer.Option(help="Address to listen on. 0.0.0.0 is the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    key_file: Annotated[Path | None, typer.Option(help="File with a key that requests must bring.")] = None,
    open_to_all: Annotated[bool, typer.Option("--open", help="Let anyone in who can reach HOST.")] = False,
    name: Annotated[list[str] | None, typer.Option(help="Host name the service answers to. Repeatable.")] = None,
    root_path: Annotated[str, typer.Option(help="Path below which a proxy offers the service: /photos.")] = "",
    image_host: Annotated[list[str] | None, typer.Option(help="Host to fetch pictures from. Repeatable.")] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Inputs in one pass of the model.")] = 32,
) -> None:
    """Serve an index: a page to search on at /, and REST for programs, described at /docs.

    Listens on this machine alone by default; beyond it, a key or `--open` is required. Ctrl-C finishes what has
    begun, then stops. docs/serving.md tells of limits and safety.

    For example: `foveal serve photos.index --port 8000`
    """
    from ..outside import printable
    from ..search import Searcher
    from ..search.server import Server, announced
    from ..serving import Batching, create_app, listen, settings_for
    from ..serving import serve as run

    use_threads(threads)
    batching = Batching(most=max_batch)
    settings = settings_for(host, key_file, open_to_all, name or [], image_host or [], batching, root_path)
    with listen(host, port) as on:
        searcher = Searcher.open(index, model=model, dtype=dtype)
        where = f"http://{f'[{host}]' if host.count(':') > 1 and '[' not in host else host}:{on.getsockname()[1]}"
        print(printable(f"{searcher.count} pictures, model {searcher.model_name}: {where}"), flush=True)
        told = None if key_file else Server(on.getsockname()[0], on.getsockname()[1], searcher.model_name)
        with announced(index, told):
            run(create_app(searcher, searcher.encoder, settings), on)
