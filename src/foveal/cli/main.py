"""The command line. A verb is a file: its signature is its options, its docstring its help."""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from io import TextIOWrapper
from typing import Annotated, ParamSpec

import typer

from ..outside import printable
from ..version import __version__
from . import (
    annotate,
    answer,
    board,
    compare,
    convert,
    demo,
    detect,
    evaluate,
    export,
    imagine,
    index,
    info,
    scenes,
    search,
    segment,
    serve,
    similar,
    train,
    upgrade,
)
from .machine import prepare_machine

Options = ParamSpec("Options")

# What is wrong with options is an error of click's, or of the copy of click that newer releases of typer carry.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _stoppable(verb: Callable[Options, None]) -> Callable[Options, None]:
    """Wrap a verb so that an interruption prints its message, which typer drops."""

    @wraps(verb)
    def stoppable(*args: Options.args, **kwargs: Options.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except KeyboardInterrupt as error:
            print(f"foveal: {printable(str(error)) or 'Stopped.'}", file=sys.stderr)
            raise typer.Exit(130) from error

    return stoppable


app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # docstrings keep no line breaks of their own
    add_completion=False,
    invoke_without_command=True,
    no_args_is_help=True,
)


def _print_version(wanted: bool | None) -> None:
    if wanted:
        print(f"foveal {__version__}")
        raise typer.Exit


@app.callback()
def foveal(
    _: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = None,
) -> None:
    """Fine-grained, long-text vision-language models: make data, train, measure, search pictures.

    A verb's own `--help` explains it and gives an example.
    """


for verb in (
    train.train,
    evaluate.evaluate,
    compare.compare,
    board.board,
    scenes.scenes,
    annotate.annotate,
    demo.demo,
    index.index,
    search.search,
    detect.detect,
    segment.segment,
    similar.similar,
    serve.serve,
    info.info,
    convert.convert,
    upgrade.upgrade,
    export.export,
    imagine.imagine,
    answer.answer,
):
    app.command(name="eval" if verb is evaluate.evaluate else None)(_stoppable(verb))


class _Escaped(logging.Formatter):
    """Formats a message so that no name in it can steer the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the message on one line."""
        return printable(super().formatMessage(record))


def _prepare_streams() -> None:
    """Send warnings to standard error, and let a terminal of few characters show others as escapes."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Escaped("foveal: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: list[str] | None = None) -> int:
    """Run a verb. A mistake of the user's is one line on standard error and exit code 2."""
    _prepare_streams()
    prepare_machine()
    argv = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(argv or ["--help"], standalone_mode=False)
    except (ValueError, OSError, UsageError) as error:
        message = " ".join(getattr(error, "format_message", error.__str__)().split())  # choices come a line each
        print(f"foveal: {printable(message)}", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0
