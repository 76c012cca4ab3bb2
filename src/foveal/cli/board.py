"""`foveal board`."""

from pathlib import Path
from typing import Annotated

import typer


def board(
    folders: Annotated[list[Path], typer.Argument(help="Folders of reports, or folders that hold such.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="One table with a column for the protocol.")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="A page; published numbers are gray.")] = False,
    mean: Annotated[bool, typer.Option(help="Add each model's mean over the protocols that all have.")] = False,
    _: Annotated[bool, typer.Option("--markdown", help="Markdown, which is printed anyway.")] = False,
) -> None:
    """Print a leaderboard of whole runs on pinned data, beside the published numbers of the same protocols.

    Runs are folders that `foveal eval --out` wrote. One that measured a part of a protocol, or other data, is left out.

    For example: `foveal board runs --csv`
    """
    from ..evaluation import board as tables

    if mean and (as_csv or as_html):
        raise ValueError("--mean is printed in Markdown. Leave out --csv and --html.")
    write = tables.as_csv if as_csv else tables.as_html if as_html else tables.markdown
    rows = tables.board(folders)
    print(write(rows) + (f"\n{tables.means(rows)}" if mean else ""), end="")
