"""The spellings of a sample's fields: the one table that all formats of rows read by."""

import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from reprlib import Repr
from types import MappingProxyType
from typing import Any

log = logging.getLogger(__name__)

SPELLINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "id": ("id", "key", "image_id", "img_id", "sample_id", "uid", "uuid"),
        "image": (
            *("image", "jpg", "jpeg", "png", "webp", "img", "picture", "photo", "image_path", "img_path"),
            *("image_file", "image_filename", "image_name", "img_name", "file_name", "file_path", "file", "path"),
            *("image_bytes", "img_bytes", "images"),
        ),
        "captions": (
            *("captions", "caption", "short_caption", "text", "texts", "txt", "title", "sentences", "sentence"),
            *("raw", "alt_text", "alt", "comment"),
        ),
        "long_caption": ("long_caption", "detailed_caption", "dense_caption", "description", "long_text"),
        "regions": ("regions",),
        "caption_negatives": ("caption_negatives",),
        "long_caption_negatives": ("long_caption_negatives",),
    }
)
"""The names of each field's column, the first that says something before the others. Letter case, spaces, `-` and `_`
do not count. Columns of captions may be numbered (caption_1, caption_2, ...): all of them are read."""

TEXTS = ("captions", "long_caption", "regions")
"""The fields that say something about an image."""
MOST_LISTED = 20
"""Most names of columns in a message."""

_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_REPR.maxlevel = 3


@dataclass(frozen=True)
class Columns:
    """The columns that hold images and captions, where their names do not say so.

    Attributes:
        image: A column's name, or `outer.inner` for a field of a struct. Empty: one of `SPELLINGS`.
        caption: Likewise.
    """

    image: str = ""
    caption: str = ""

    def values(self, row: Mapping[str, Any], field: str) -> list[Any]:
        """Return what a row says of a field, one value for each of its columns; none where all are empty."""
        for names in _columns(tuple(row), self)[field]:
            values = [value for name in names if not is_empty(value := _value(row, name))]
            if values:
                return values
        return []

    def check(self, names: Iterable[str], where: object) -> None:
        """Refuse a table without images, and warn of one whose captions are in no known column.

        Args:
            names: Of its columns.
            where: Of what table.

        Raises:
            ValueError: If no column holds the images, or a column that was named is not there.
        """
        names = tuple(names)
        table = _columns(names, self)
        columns = listed(names)
        for option, name in (("image", self.image), ("caption", self.caption)):
            if name and not _is_there(name, names):
                raise ValueError(f"{where}: no column '{name}'. There are: {columns}. Give another --{option}-column.")
        if not table["image"]:
            raise ValueError(
                f"{where}: no column is known to hold images. There are: {columns}. Name it: --image-column"
            )
        used = {name for groups in table.values() for group in groups for name in group}
        unknown = set(names) - used - {name.partition(".")[0] for name in used}
        if unknown and not any(table[field] for field in TEXTS):
            log.warning(
                "%s: no column is known to hold captions. There are: %s. Name it: --caption-column", where, columns
            )

    def are_in(self, names: Iterable[str]) -> bool:
        """True if a table with these columns holds images and whatever columns were named."""
        names = tuple(names)
        named = (name for name in (self.image, self.caption) if name)
        return bool(_columns(names, self)["image"]) and all(_is_there(name, names) for name in named)

    def column(self, names: Iterable[str], field: str) -> str | None:
        """Return the first column of a field; None if there is none."""
        return next((name for group in _columns(tuple(names), self)[field] for name in group), None)

    def count_fields(self, names: Iterable[str]) -> int:
        """Return how many fields of a sample the columns of a table hold."""
        names = tuple(names)
        return sum(self.column(names, field) in names for field in SPELLINGS)


BY_NAME = Columns()


def is_empty(value: Any) -> bool:
    """True for what says nothing: null, not a number, a blank text, a list or object or bytes of no length."""
    if isinstance(value, str):  # first, as it is the most frequent
        return not value or value.isspace()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, bytes | list | tuple | dict) and not value


def is_unicode(text: str) -> bool:
    """True if a text holds no half of a surrogate pair, which no file and no tokenizer takes."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def plain(name: str) -> str:
    """Return a column's name as `SPELLINGS` are compared: letters and digits alone, in lower case."""
    return "".join(filter(str.isalnum, name.lower()))


def shown(value: Any) -> str:
    """Return a value as messages show it: on one line, and short whatever it is."""
    return _REPR.repr(value)


def listed(names: Iterable[str]) -> str:
    """Return names of columns as messages show them."""
    names = [name if name.isprintable() and len(name) <= 60 else shown(name) for name in names]
    return (
        ", ".join(names[:MOST_LISTED]) + (f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else "")
        or "none"
    )


@lru_cache(1024)
def _columns(names: tuple[str, ...], columns: Columns) -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """Return the columns of each field, by spelling; those of one spelling are read together."""
    table = {
        field: tuple(group for spelling in spellings if (group := _spelled(names, spelling, field == "captions")))
        for field, spellings in SPELLINGS.items()
    }
    for field, name in (("image", columns.image), ("captions", columns.caption)):
        if name:
            table[field] = ((name if name in names else next(iter(_spelled(names, name)), name),),)
    return table


def _spelled(names: Iterable[str], spelling: str, numbered: bool = False) -> tuple[str, ...]:
    """Return the columns of a spelling: the first one, or the numbered ones in order."""
    places = re.compile(re.escape(plain(spelling)) + (r"(\d{0,6})" if numbered else "()"))
    matches = [(match[1], name) for name in names if (match := places.fullmatch(plain(name)))]
    if numbered:
        matches.sort(key=lambda match: int(match[0] or -1))
    return tuple(name for _, name in (matches if numbered else matches[:1]))


def _is_there(name: str, names: Iterable[str]) -> bool:
    """True if a column that was named is among others."""
    return name in names or name.partition(".")[0] in names or bool(_spelled(names, name))


def _value(row: Mapping[str, Any], name: str) -> Any:
    """Return what a row has under a name, or under `outer.inner`."""
    if name in row or "." not in name:
        return row.get(name)
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
