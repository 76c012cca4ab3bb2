"""The encoded picture of a sample: its bytes, its kind, its place in a folder. Nothing is decoded here."""

from pathlib import Path

from ...types import Sample
from .paths import replacing

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def encoded(sample: Sample) -> bytes:
    """The encoded bytes of a sample's picture, read from its file where it is one."""
    return sample.image if isinstance(sample.image, bytes) else sample.image.read_bytes()


def suffix(data: bytes) -> str:
    """The file suffix that fits encoded bytes, by their first bytes.

    Returns:
        ".jpg", ".png" or ".webp".

    Raises:
        ValueError: If the bytes are none of these.
    """
    if data[:3] == b"\xff\xd8\xff":
        return ".jpg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return ".png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    raise ValueError(f"Picture that begins with {data[:8]!r} is no JPEG, PNG or WebP. Convert it first.")


def place(sample: Sample, root: Path, stem: str) -> str:
    """How a file in `root` names the sample's picture.

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
