"""`foveal compare`."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders that `foveal eval --out` wrote; the first against each other.")
    ],
) -> None:
    """Test whether a model is better than others: paired, on the outcomes of every query, corrected for many tests.

    The runs must be of the same data under the same rules. Pictures are drawn with replacement, the same for both
    models: what is printed is the difference with its 95 % interval, and whether it is more than chance.

    For example: `foveal compare runs/before runs/after`
    """
    from ..evaluation.compare import as_text
    from ..evaluation.compare import compare as differences

    if len(runs) < 2:
        raise ValueError("Give two runs at least: folders that `foveal eval --out` wrote.")
    first, *others = runs
    print("\n\n".join(as_text(differences(first, other), (first.name, other.name)) for other in others))
