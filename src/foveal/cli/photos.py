"""Command lines of photos and words: which is which, and where pictures of photos go."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from ..data.kinds import SUFFIXES
from ..outside import printable
from ..writing import replacing


def photos_and_names(words: Sequence[str], texts: Sequence[str] = ()) -> tuple[list[Path], list[str]]:
    """Return the photos and the names that a command line holds.

    Args:
        words: Files, folders (their pictures) and patterns that are there are photos; all other words are names.
        texts: Names, whatever files there are.

    Raises:
        ValueError: If a word looks like a picture file that is not there, or there are no photos.
    """
    photos: list[Path] = []
    names: list[str] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            photos += sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        elif path.is_file():
            photos.append(path)
        elif any(sign in path.name for sign in "*?[") and (matches := sorted(path.parent.glob(path.name))):
            photos += matches
        elif path.suffix.lower() in SUFFIXES:
            raise ValueError(f"There is no photo {printable(word)}. If it is a name, give it with --text.")
        else:
            names.append(word)
    if not photos:
        raise ValueError("There is no photo among the words. Give files, folders or patterns such as 'photos/*.jpg'.")
    return photos, [*names, *texts]


def write_pictures(out: Path | None, photos: Sequence[Path], pictures: Iterable[Image.Image]) -> None:
    """Write a picture of each photo as PNG: of one photo into a file, of several into a folder under their names.

    Photos of one name, from several folders, are numbered from the second on.

    Args:
        out: File or folder. None: nothing is written.
        photos: That pictures are of.
        pictures: One for each photo; drawn only if they are written.
    """
    if out is None:
        return
    names = _distinct([photo.stem for photo in photos])
    for name, picture in zip(names, pictures, strict=True):
        target = out if len(photos) == 1 and out.suffix else out / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as unfinished, unfinished.open("wb") as file:
            picture.save(file, "PNG")


def _distinct(stems: Sequence[str]) -> list[str]:
    """Return the names with numbers behind those that stood before."""
    names: dict[str, None] = {}
    for stem in stems:
        numbered = (stem, *(f"{stem}-{number}" for number in range(2, len(stems) + 2)))
        names[next(name for name in numbered if name not in names)] = None
    return list(names)
