"""The command line. A verb is a file: its signature is its options, its docstring its help."""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from . import annotate, convert, demo, evaluate, export, index, info, scenes, search, serve, similar, train, upgrade

Options = ParamSpec("Options")

# What is wrong with options is an error of click's, or of the copy of click that newer releases of typer carry.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _stoppable(verb: Callable[Options, None]) -> Callable[Options, None]:
    """The verb, which says what it was stopped at; typer drops the words of an interruption."""

    @wraps(verb)
    def stoppable(*args: Options.args, **kwargs: Options.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except KeyboardInterrupt as error:
            print(f"foveal: {str(error) or 'Stopped.'}", file=sys.stderr)
            raise typer.Exit(130) from error

    return stoppable


app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # docstrings keep no line breaks of their own
    add_completion=False,
    help="Fine-grained, long-text vision-language models: make data, train, measure, search pictures.",
)
for verb in (
    train.train,
    evaluate.evaluate,
    scenes.scenes,
    annotate.annotate,
    demo.demo,
    index.index,
    search.search,
    similar.similar,
    serve.serve,
    info.info,
    convert.convert,
    upgrade.upgrade,
    export.export,
):
    app.command(name="eval" if verb is evaluate.evaluate else None)(_stoppable(verb))


def main(arguments: list[str] | None = None) -> int:
    """Run a verb. A mistake of the user's is one line on standard error and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="foveal: %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(given or ["--help"], standalone_mode=False)
    except (ValueError, OSError, UsageError) as error:
        told = " ".join(getattr(error, "format_message", error.__str__)().split())  # choices come a line each
        print(f"foveal: {told}", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0
