"""The command line. A verb is a file: its signature is its options, its docstring its help."""

import logging
import sys

import click
import typer

from . import demo, evaluate, scenes, train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Fine-grained, long-text vision-language models: make data, train, measure.",
)
for verb in (train.train, evaluate.evaluate, scenes.scenes, demo.demo):
    app.command(name="eval" if verb is evaluate.evaluate else None)(verb)


def main(arguments: list[str] | None = None) -> int:
    """Run a verb. A mistake of the user's is one line on standard error and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="foveal: %(message)s")
    try:
        result = app(arguments, standalone_mode=False)
    except (ValueError, FileNotFoundError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"foveal: {message}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort) as error:
        print(f"foveal: {error or 'Stopped.'}", file=sys.stderr)
        return 130
    return result if isinstance(result, int) else 0
