"""Parquet files as the hub's data sets keep them: texts are read column by column, images one at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..canonical import Captions, Row
from ..reading import Data, Options, each, text, texts

_BATCH = 256


@dataclass(frozen=True)
class Cells:
    """Images within Parquet files.

    Attributes:
        where: File, column, row group and row of each, by name.
    """

    where: dict[str, tuple[Path, str, int, int]] = field(default_factory=dict)

    def place(self, name: str) -> Path:
        """Return the name itself: it is the image's in these files alone."""
        return Path(name)

    def holds(self, place: Path) -> bool:
        """True if a file has it."""
        return str(place) in self.where

    def load(self, place: Path) -> bytes:
        """Return the image's bytes."""
        path, column, group, row = self.where[str(place)]
        value = self._group(path, column, group)[row].as_py()
        content: bytes | None = value["bytes"] if isinstance(value, dict) else value
        if not content:
            raise ValueError(f"{path}: {place} has no bytes there. Get the files with images.")
        return content

    def _group(self, path: Path, column: str, group: int) -> Any:
        """A column of a row group; the last one is kept, as images are asked for in order."""
        key = (path, column, group)
        if self._kept.get("key") != key:
            self._kept.update(key=key, column=_open(path).read_row_group(group, columns=[column]).column(column))
        return self._kept["column"]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}


def parquet(path: Path, _: Options) -> Data:
    """Return rows of an image and its captions, from columns `image` and `caption`, `text`, or `answer`.

    An image's id is the stem of its `path`; without one, its position.

    Raises:
        ValueError: If a column is missing or a file is damaged.
    """
    images = Cells()
    rows: list[Row] = []
    named = True
    for file in files(path):
        column = _first(file, ("caption", "captions", "text", "answer", "raw"))
        for entry in entries(file, [column], {"image": ""}):
            name = entry.name("image")
            named = named and bool(name)
            name = name or f"{len(rows)}.jpg"
            images.where[name] = entry.where("image")
            rows.extend(each(file, [(entry.number, entry.values[column])], _caption(name)))
    return Data(rows=tuple(rows), images=images, by_position=not named)


@dataclass(frozen=True)
class Entry:
    """A row of a Parquet file without the bytes of its images.

    Attributes:
        path: The file.
        group: Its row group.
        row: Its place there.
        number: Its place in the file.
        values: Of the columns asked for.
        names: Of its images, by column; empty where the file gives none.
    """

    path: Path
    group: int
    row: int
    number: int
    values: dict[str, Any]
    names: dict[str, str]

    def name(self, column: str) -> str:
        """Return the name of an image; empty if the file gives none."""
        return self.names[column]

    def where(self, column: str) -> tuple[Path, str, int, int]:
        """Return where an image lies."""
        return self.path, column, self.group, self.row


def files(path: Path) -> list[Path]:
    """Return the Parquet files of a folder, in the order of their names, or the one file.

    Raises:
        ValueError: If there is none.
    """
    found = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
    if not found:
        raise ValueError(f"{path} has no Parquet file. Put the data set's files there.")
    return found


def entries(path: Path, columns: Sequence[str], image_columns: dict[str, str]) -> Iterator[Entry]:
    """Yield the rows of a file without reading any image.

    Args:
        path: Of the file.
        columns: To be read.
        image_columns: Columns of images, of which names alone are read.

    Raises:
        ValueError: If a column is missing or the file is damaged.
    """
    file = _open(path)
    names = {column: f"{column}.path" for column in image_columns if _has_path(file, column)}
    for column in (*columns, *image_columns):
        if column not in file.schema_arrow.names:
            raise ValueError(f"{path} has no column '{column}'. It has: {', '.join(file.schema_arrow.names)}.")
    number = 0
    for group in range(file.metadata.num_row_groups):
        row = 0
        for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[*columns, *names.values()]):
            for values in batch.to_pylist():
                paths = {column: (values.pop(column) or {}).get("path") or "" for column in names}
                yield Entry(path, group, row, number, values, dict.fromkeys(image_columns, "") | paths)
                row, number = row + 1, number + 1


def _caption(name: str) -> Callable[[object, Any], Captions]:
    return lambda _, value: Captions(text(name), texts(value))


def _first(path: Path, names: Sequence[str]) -> str:
    have = _open(path).schema_arrow.names
    column = next((name for name in names if name in have), None)
    if column is None:
        raise ValueError(f"{path} has no column {' nor '.join(names)}. It has: {', '.join(have)}.")
    return column


def _has_path(file: Any, column: str) -> bool:
    import pyarrow.types as types

    if column not in file.schema_arrow.names:
        return False
    kind = file.schema_arrow.field(column).type
    return types.is_struct(kind) and "path" in {field.name for field in kind}


def _open(path: Path) -> Any:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise ValueError(f'{path} is Parquet, which needs pyarrow. Run pip install "foveal[parquet]".') from error
    try:
        return ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a whole Parquet file: {error}. Get it again.") from error
