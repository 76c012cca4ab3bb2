"""Queries as they are typed: boxes, and files of texts."""

from pathlib import Path

from ..types import Box


def parse_box(text: str) -> Box | None:
    """Return the box that "x0,y0,x1,y1" stands for; None for an empty text.

    Raises:
        ValueError: If it is no box in fractions of a picture.
    """
    if not text.strip():
        return None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        x0 = x1 = y0 = y1 = 0.0
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(
            f"Box '{text}' is none. Give x0,y0,x1,y1 in fractions of the picture, such as 0.1,0.2,0.5,0.9."
        )
    return x0, y0, x1, y1


def read_texts(text: str) -> list[str]:
    """Return a text, or the lines of the file that "@file" names.

    Raises:
        ValueError: If the file holds no text.
    """
    if not text.startswith("@"):
        return [text]
    lines = [line for line in Path(text[1:]).read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"'{text[1:]}' holds no text to search for. Write one a line.")
    return lines
