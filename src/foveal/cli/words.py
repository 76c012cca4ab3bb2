"""Arguments of command lines that hold photos and names."""

from typing import Annotated

import typer

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO... NAME...",
        help="Photos and names in any order. What is there as a file, folder or pattern is a photo, every other word "
        'is a name: photo.jpg "a red mug" "a dog".',
    ),
]
Texts = Annotated[list[str] | None, typer.Option("--text", help="A name, even if there is a file of that name.")]
