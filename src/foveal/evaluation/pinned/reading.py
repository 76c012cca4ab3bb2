"""From the files that people have to canonical rows: layouts, where they are looked for, and where images lie."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar, runtime_checkable

from .. import benchmark
from .canonical import Box, Captions, Case, Ladder, Question, Row, merged, stem
from .registry import Pinned, TextRule

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".JPEG", ".JPG", ".PNG")
Options = Mapping[str, Any]
R = TypeVar("R", bound=Row)

_PARTS = re.compile(r"\n|</s>|[.]")


@runtime_checkable
class Images(benchmark.Images, Protocol):
    """Where the images of a protocol are."""

    def place(self, name: str) -> Path:
        """Return the place of an image. One that is absent has a place too: where it should be."""


@dataclass(frozen=True)
class Folders(benchmark.Files):
    """Images as files of their own.

    Attributes:
        folders: Where they may lie, best first.
        renamed: Beginnings of names, and with what the same image's name may begin instead.
    """

    folders: tuple[Path, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)

    def place(self, name: str) -> Path:
        """Return the first file that is there: under its whole name, its last name, or with another ending."""
        if name not in self._places:
            self._places[name] = self._find(inside(name))
        return self._places[name]

    def _find(self, name: str) -> Path:
        short = PurePosixPath(name).name
        for folder in self.folders:
            for candidate in dict.fromkeys((name, short)):
                if (folder / candidate).is_file():
                    return folder / candidate
        known = [
            stem(name),
            *(new + stem(name).removeprefix(old) for old, new in self.renamed.items() if stem(name).startswith(old)),
        ]
        for folder in self.folders:
            path = next(
                (self._by_stem(folder)[known_as] for known_as in known if known_as in self._by_stem(folder)), None
            )
            if path is not None:
                return path
        return (self.folders[0] if self.folders else Path()) / name

    def _by_stem(self, folder: Path) -> Mapping[str, Path]:
        if folder not in self._listings:
            self._listings[folder] = _listing(folder)
        return self._listings[folder]

    @cached_property
    def _places(self) -> dict[str, Path]:
        return {}

    @cached_property
    def _listings(self) -> dict[Path, Mapping[str, Path]]:
        return {}


@dataclass(frozen=True)
class Data:
    """What a protocol measures, as one layout gives it.

    Attributes:
        rows: Canonical rows.
        images: Where their images are.
        layout: Which layout it was.
        path: The annotation file or folder that was read.
        classes: Names in the order of labels.
        prompts: With {} for a name.
        notes: What a reader of numbers must know, such as lines that hold no text.
        synonyms: The names of each class, where one has several; the best of them counts.
        by_position: The layout gives no names of images, so their ids are their places.
    """

    rows: tuple[Row, ...]
    images: Images = field(default_factory=lambda: Folders(()))
    layout: str = ""
    path: Path = Path()
    classes: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, ...], ...] = ()
    by_position: bool = False


@dataclass(frozen=True)
class Layout:
    """One way in which people keep a protocol's files.

    Attributes:
        name: Whose it is.
        files: Annotation files or folders below the data folder: the first that is there is read. {} stands for an
            option's value, as in "docci/{split}.json".
        read: Gives rows, or whole data, of that file.
        images: Folders with images, below the data folder.
        example: A line of the file, with made-up content.
        renamed: Beginnings of images' names, and with what the same image's name may begin instead.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path, Options], Iterable[Row] | Data]
    images: tuple[str, ...] = ()
    example: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Roots:
    """The data folders that a user gave.

    Attributes:
        folders: In the order in which they are searched.
    """

    folders: tuple[Path, ...]

    def find(self, name: str) -> Path | None:
        """Return the first file or folder of a name that is there."""
        return next((folder / name for folder in self.folders if (folder / name).exists()), None)

    def all(self, name: str) -> list[Path]:
        """Return every folder of a name that is there."""
        return [folder / name for folder in self.folders if (folder / name).is_dir()]


def read(pinned: Pinned, roots: Roots) -> Data:
    """Return a protocol's data from the first layout that is there.

    Raises:
        ValueError: If none is there, or a file is damaged. The message names the file, or the places looked at.
    """
    from .readers import READERS

    layouts = READERS[pinned.reader]
    for layout in layouts:
        for name in places(layout, pinned):
            path = roots.find(name)
            if path is not None:
                return _read(layout, path, pinned, roots)
    looked = [name for layout in layouts for name in places(layout, pinned)]
    where = ", ".join(map(str, roots.folders)) or "no data folder"
    raise ValueError(
        f"{pinned.name}: {where} holds no {' nor '.join(looked)}. "
        f"Get the files as `foveal eval --explain {pinned.name}` says, or give another --root."
    )


def places(layout: Layout, pinned: Pinned) -> list[str]:
    """Return where a layout's annotation may be, below a data folder."""
    return [name.format(**pinned.options) for name in layout.files]


def folders(layout: Layout, pinned: Pinned) -> list[str]:
    """Return where a layout's images may be, below a data folder."""
    return [name.format(**pinned.options) for name in layout.images]


def _read(layout: Layout, path: Path, pinned: Pinned, roots: Roots) -> Data:
    read = layout.read(path, pinned.options)
    data = read if isinstance(read, Data) else Data(rows=tuple(read))
    if data.images == Folders(()):
        here = [folder for name in folders(layout, pinned) for folder in roots.all(name)]
        should = [roots.folders[0] / name for name in folders(layout, pinned)[:1]] if roots.folders else []
        data = replace(data, images=Folders(tuple(here or should), layout.renamed))
    rows = tuple(_ruled(row, pinned.text) for row in merged(data.rows))
    if not rows and not data.classes:
        raise ValueError(f"{path} holds no row of {pinned.name}. It is another file; see --explain {pinned.name}.")
    return replace(data, rows=rows, layout=layout.name, path=path)


def _ruled(row: Row, rule: TextRule) -> Row:
    """A row with the protocol's text rule applied."""
    if rule == "raw":
        return row
    change: Callable[[str], str] = str.strip if rule == "stripped" else rejoined
    if isinstance(row, Captions | Ladder):
        return replace(row, texts=tuple(map(change, row.texts)))
    if isinstance(row, Case | Box):
        return replace(row, right=tuple(map(change, row.right)), wrong=tuple(map(change, row.wrong)))
    return replace(row, question=change(row.question)) if isinstance(row, Question) else row


def rejoined(text: str) -> str:
    """Return a text cut at line ends and full stops and joined again by ". ", as LoTLIP's numbers are measured.

    Its last stop is lost, and "3.5" becomes "3. 5".
    """
    return ". ".join(part.strip() for part in _PARTS.split(text) if part.strip())


def inside(name: str) -> str:
    """Return a file's name that stays in its folder: one that climbs out, or is absolute, loses its folders."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return path.name
    return str(path)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: If it is none, or cut off. The message names the file and the place.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8: {error}. Get the file again.") from error
    except ValueError as error:
        raise ValueError(f"{path}: not whole JSON: {error}. Get the file again.") from error


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the content of every line of a JSON Lines file; blank ones are passed over.

    Raises:
        ValueError: If a line is no JSON. The message names file and line.
    """
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: not whole JSON: {error}. Get the file again.") from error


def each(path: Path, entries: Iterable[tuple[object, Any]], row: Callable[[object, Any], R | None]) -> Iterator[R]:
    """Yield the row of every entry of a file; None is passed over.

    Args:
        path: Named if an entry is broken.
        entries: A key or number, and the content.
        row: Makes a row of them.

    Raises:
        ValueError: If an entry lacks a field or holds something else. The message names file, entry and field.
    """
    for key, content in entries:
        try:
            made = row(key, content)
        except KeyError as error:
            raise ValueError(f"{path}: entry {key} has no field {error}. It is another file, or damaged.") from error
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(f"{path}: entry {key} is not as it should be: {error}.") from error
        if made is not None:
            yield made


def text(value: object) -> str:
    """Return a text.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"a text is wanted, not {type(value).__name__}")  # noqa: TRY004
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return texts of a list, or of one text.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence):
        raise ValueError(f"texts are wanted, not {type(value).__name__}")  # noqa: TRY004
    return tuple(map(text, value))


def _listing(folder: Path) -> dict[str, Path]:
    """Images of a folder, by stem."""
    if not folder.is_dir():
        return {}
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix in SUFFIXES and not path.name.startswith("._")
    }
