"""Canonical form 1: what a protocol measures, as lines of text whose sha256 names it for everybody.

A line is compact JSON; the first one says which form it is. Lines stand in the order of their bytes, so the hash does
not depend on the order of files, their line ends or the spacing of their JSON, and one changed letter of a text changes
it. Images count by the stem of their file's name. Images themselves are not hashed.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

Edges = tuple[float | int, float | int, float | int, float | int]
"""(x, y, width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class Captions:
    """An image and its texts.

    Attributes:
        image: The file's name, as the annotation gives it.
        texts: In the annotation's order.
    """

    form: ClassVar[str] = "retrieval"
    image: str
    texts: tuple[str, ...]

    def line(self) -> list[object]:
        """Return what is hashed."""
        return [stem(self.image), list(self.texts)]


@dataclass(frozen=True, slots=True)
class Ladder:
    """An image and texts that grow, short to long.

    Attributes:
        image: The file's name.
        texts: Each says more than the one before.
    """

    form: ClassVar[str] = "ladder"
    image: str
    texts: tuple[str, ...]

    def line(self) -> list[object]:
        """Return what is hashed."""
        return [stem(self.image), list(self.texts)]


@dataclass(frozen=True, slots=True)
class Case:
    """Right and wrong texts of one image or more.

    Attributes:
        id: Unique within the protocol.
        images: Files' names.
        right: Texts that fit.
        wrong: Texts that do not.
        kind: What is wrong with them, or which part of the protocol the case belongs to.
        box: (x, y, width, height) in pixels of the only image, where the case is about a part of it. Not hashed.
    """

    form: ClassVar[str] = "choice"
    id: str
    images: tuple[str, ...]
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    kind: str = ""
    box: Edges | None = None

    def line(self) -> list[object]:
        """Return what is hashed."""
        return [self.id, [stem(image) for image in self.images], list(self.right), list(self.wrong), self.kind]


@dataclass(frozen=True, slots=True)
class Box:
    """A box in an image with texts, or with its class.

    Attributes:
        image: The file's name.
        box: (x, y, width, height) in pixels, as in the file.
        right: Texts that fit, or the class.
        wrong: Texts that do not.
        size: Width and height of the image, where the file says it. Not hashed.
    """

    form: ClassVar[str] = "regions"
    image: str
    box: Edges
    right: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    size: tuple[int, int] | None = None

    def line(self) -> list[object]:
        """Return what is hashed."""
        return [
            stem(self.image),
            [round(float(edge), 2) for edge in self.box],
            list(self.right),
            list(self.wrong),
        ]


@dataclass(frozen=True, slots=True)
class Label:
    """An image and its class.

    Attributes:
        image: The file's name.
        label: The class, counted from 0.
    """

    form: ClassVar[str] = "labels"
    image: str
    label: int

    def line(self) -> list[object]:
        """Return what is hashed."""
        return [stem(self.image), self.label]


@dataclass(frozen=True, slots=True)
class Mask:
    """An image and its label map.

    Attributes:
        image: The file's name.
        labels: The label map's file, from the annotation's folder on.
    """

    form: ClassVar[str] = "masks"
    image: str
    labels: str

    def line(self) -> list[object]:
        """Return what is hashed: names, not pixels."""
        return [stem(self.image), stem(self.labels)]


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image, answered with yes or no.

    Attributes:
        image: The file's name.
        question: As it is asked.
        answer: "yes" or "no".
    """

    form: ClassVar[str] = "yesno"
    image: str
    question: str
    answer: str

    def line(self) -> list[object]:
        """Return what is hashed."""
        return [stem(self.image), self.question, self.answer]


Row = Captions | Ladder | Case | Box | Label | Mask | Question


def stem(name: str) -> str:
    """Return the id of an image: its file's name without folders and ending."""
    last = name.rstrip("/").rpartition("/")[2]
    dot = last.rfind(".")
    return last[:dot] if 0 < dot < len(last) - 1 else last


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return rows with one `Captions` per image: texts of an image that come in several rows are put together."""
    texts: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    others: list[Row] = []
    for row in rows:
        if isinstance(row, Captions):
            texts.setdefault(stem(row.image), []).extend(row.texts)
            names.setdefault(stem(row.image), row.image)
        else:
            others.append(row)
    return [*(Captions(names[image], tuple(of_image)) for image, of_image in texts.items()), *others]


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Return rows in canonical order, which the queries of a result keep: their place is their identity."""
    return [row for _, row in _lines(rows)]


def canonical(rows: Iterable[Row], classes: Sequence[str] = (), prompts: Sequence[str] = ()) -> list[str]:
    """Return the canonical lines.

    Args:
        rows: Of one form.
        classes: Names in the order of their labels, for images with labels.
        prompts: With {} for the name; their order does not matter.

    Raises:
        ValueError: If rows are of several forms.
    """
    lines = _lines(rows)
    forms = sorted({row.form for _, row in lines}) or ["labels"]
    if len(forms) > 1:
        raise ValueError(f"Rows of {' and '.join(forms)} make no one protocol. Give rows of one form.")
    head = [_json([forms[0], 1])]
    if forms == ["labels"]:
        head += [_json(list(classes)), _json(sorted(prompts))]
    return head + [line for line, _ in lines]


def digest(lines: Iterable[str]) -> str:
    """Return the sha256 of canonical lines."""
    total = hashlib.sha256()
    for line in lines:
        total.update(_bytes(line) + b"\n")
    return total.hexdigest()


def _lines(rows: Iterable[Row]) -> list[tuple[str, Row]]:
    """Lines and their rows, in canonical order."""
    rows = merged(rows)
    if rows and isinstance(rows[0], Captions):  # by image id alone, as the texts follow it
        return sorted(((_json(row.line()), row) for row in rows), key=lambda pair: _first(pair[1]))
    return sorted(((_json(row.line()), row) for row in rows), key=lambda pair: _bytes(pair[0]))


def _first(row: Row) -> bytes:
    assert isinstance(row, Captions)
    return _bytes(stem(row.image))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _bytes(text: str) -> bytes:
    """UTF-8. JSON may hold halves of a character, which have no other spelling."""
    return text.encode("utf-8", "surrogatepass")
