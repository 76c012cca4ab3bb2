"""`foveal answer`."""

from pathlib import Path
from typing import Annotated

import typer


def answer(
    model: Annotated[Path, typer.Argument(help="Folder that `foveal train llava:stage2` wrote.")],
    photo: Annotated[Path, typer.Argument(help="Picture.")],
    questions: Annotated[list[str], typer.Argument(help="What to ask about it; several are answered in turn.")],
    most: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 128,
    short: Annotated[bool, typer.Option("--short", help="Ask for a single word or phrase.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda. [default: the GPU if there is one]")] = None,
) -> None:
    """Answer questions about a picture in words, by a language model with our eye.

    For example: `foveal answer runs/l2 photo.jpg "Is there a dog?"`
    """
    from ..multimodal.answer import SHORT, Answerer
    from ..outside import printable

    model_answers = Answerer.open(model, device, most_new=most, suffix=SHORT if short else "")
    for line in model_answers.answer([photo] * len(questions), questions):
        print(printable(line))
