"""The encoded picture of a sample: its bytes, its kind, its place in a folder. Nothing is decoded here."""

from pathlib import Path

from ...types import Sample
from ...writing import replacing
from ..files import read_file
from ..kinds import suffix


def encoded(sample: Sample) -> bytes:
    """Return the encoded bytes of a sample's picture, read from its file where it is one.

    Raises:
        ValueError: If the file is no regular one, or too large.
        OSError: If it cannot be read.
    """
    return sample.image if isinstance(sample.image, bytes) else read_file(sample.image)


def place(sample: Sample, root: Path, stem: str) -> str:
    """Return the name by which a file in `root` refers to the sample's picture.

    A picture that is a file stays where it is: named from `root` if it lies below, else by its whole path.
    Bytes are written to `root`/`stem`.

    Args:
        sample: Whose picture.
        root: The folder that names start from.
        stem: The new file's path below `root`, without suffix.
    """
    if isinstance(sample.image, Path):
        image, root = sample.image.absolute(), root.absolute()
        return str(image.relative_to(root)) if image.is_relative_to(root) else str(image)
    name = stem + suffix(sample.image)
    with replacing(root / name) as partial:
        partial.write_bytes(sample.image)
    return name


def drawn_name(sample: Sample) -> str:
    """Return the name, without ending, of the picture drawn of a sample's caption: its own picture's, else its id."""
    return sample.image.stem if isinstance(sample.image, Path) else sample.id.replace("/", "_")
