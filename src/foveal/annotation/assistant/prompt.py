"""Prompts for assistants: text files, one a version, that a run can replace by its own."""

from pathlib import Path
from string import Template

FOLDER = Path(__file__).with_name("prompts")


def fill(prompt: str, **values: object) -> str:
    """Return a prompt with its placeholders filled in.

    Args:
        prompt: The name of a prompt that comes with the package ("caption.v1"), or a text file of one's own.
        values: For placeholders like $phrases. A prompt need not use all of them.

    Raises:
        ValueError: If there is no such prompt, or it has a placeholder that nothing fills.
    """
    shipped = FOLDER / f"{prompt}.txt"
    path = shipped if shipped.is_file() else Path(prompt)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in FOLDER.glob("*.txt")))
        raise ValueError(f"There is no prompt '{prompt}'. Give a text file, or one of: {names}.")
    try:
        return Template(path.read_text(encoding="utf-8").strip()).substitute(values)
    except (KeyError, ValueError) as error:
        names = ", ".join(f"${name}" for name in values) or "none"
        raise ValueError(f"Prompt '{path}' has a wrong placeholder ({error}). It may use: {names}.") from error
