"""Tar shards as CLIP_benchmark writes them: texts are read from front to back, images one at a time when asked for."""

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..canonical import Captions, Label, Row
from ..reading import SUFFIXES, Data, Options

_MOST_TEXT = 2**20  # bytes of a text member; more is no caption


@dataclass(frozen=True)
class Members:
    """Images within tar files.

    Attributes:
        where: File, offset and size of each, by name.
    """

    where: dict[str, tuple[Path, int, int]] = field(default_factory=dict)

    def place(self, name: str) -> Path:
        """Return the name itself: it is the image's in these shards alone."""
        return Path(name)

    def holds(self, place: Path) -> bool:
        """True if a shard has it."""
        return str(place) in self.where

    def load(self, place: Path) -> bytes:
        """Return the image's bytes."""
        path, offset, size = self.where[str(place)]
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


def shards(folder: Path, _: Options) -> Data:
    """Return the rows of all shards, in their order. Images have no id there, so their position is it.

    Raises:
        ValueError: If a shard is missing, compressed or cut off, or an image has neither captions nor a class.
    """
    images = Members()
    rows: list[Row] = []
    for path in _files(folder):
        for key, members in _samples(path):
            name = f"{len(rows)}.jpg"
            if not {"txt", "cls"} & members.keys():
                raise ValueError(_unlabeled(path, key, members))
            image = next((members[suffix[1:]] for suffix in SUFFIXES if suffix[1:] in members), None)
            if image is not None:
                images.where[name] = (path, image.offset_data, image.size)
            rows.append(_row(path, key, name, members))
    classes, prompts = _lines(folder.parent / "classnames.txt"), _lines(folder.parent / _TEMPLATES)
    return Data(
        rows=tuple(rows),
        images=images,
        classes=classes if rows and isinstance(rows[0], Label) else (),
        prompts=tuple(prompt.replace("{c}", "{}") for prompt in prompts) if rows and isinstance(rows[0], Label) else (),
        by_position=True,
    )


def _unlabeled(path: Path, key: str, members: Mapping[str, object]) -> str:
    """What is said of a sample without caption and class; one of several classes in an array is never unpickled."""
    if "npy" in members:
        return f"{path}: {key} has several classes, in an array (.npy). No protocol here measures several."
    return f"{path}: {key} has neither a caption (.txt) nor a class (.cls). Get the shard again."


_TEMPLATES = "zeroshot_classification_templates.txt"


def _files(folder: Path) -> list[Path]:
    """All shards. Their number stands in `nshards.txt`."""
    files = sorted(folder.glob("*.tar"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.stem)])
    stated = folder / "nshards.txt"
    if stated.is_file() and int(stated.read_text().strip()) != len(files):
        raise ValueError(f"{folder} has {len(files)} of {stated.read_text().strip()} shards. Get the others.")
    if not files:
        raise ValueError(f"{folder} has no shard. Put 0.tar and the following there.")
    return files


def _samples(path: Path) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Members of one key, by their endings."""
    try:
        with tarfile.open(path, "r:") as tar:
            key = ""
            members: dict[str, tarfile.TarInfo] = {}
            for member in tar:
                name = PurePosixPath(member.name)
                if not member.isfile() or name.name.startswith("._"):
                    continue
                short, _, ending = name.name.partition(".")
                if short != key and members:
                    yield key, members
                    members = {}
                key = short
                members[ending] = member
            if members:
                yield key, members
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a whole, uncompressed tar: {error}. Get the shard again.") from error


def _row(path: Path, key: str, name: str, members: dict[str, tarfile.TarInfo]) -> Row:
    """The row of one key: its captions, or its class."""
    member = members.get("txt") or members["cls"]
    with path.open("rb") as file:
        file.seek(member.offset_data)
        content = file.read(min(member.size, _MOST_TEXT + 1))
    if len(content) > _MOST_TEXT or len(content) < member.size:
        raise ValueError(f"{path}: the text of {key} is cut off, or no caption. Get the shard again.")
    try:
        words = content.decode("utf-8")
        return Captions(name, tuple(words.splitlines())) if "txt" in members else Label(name, int(words))
    except ValueError as error:
        raise ValueError(f"{path}: {key} is neither a caption nor a class: {error}.") from error


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()
