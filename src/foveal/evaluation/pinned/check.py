"""Whether the data at hand are a protocol's: hash, counts, images, and where they differ."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from .canonical import Box, Captions, Case, Label, Ladder, Row, canonical, digest, ordered, stem
from .reading import Data, Roots, folders, places, read
from .registry import Pinned
from .tasks import Measured, measured

FINGERPRINTS = Path(__file__).parent / "tables" / "lines.npz"
Verdict = Literal["ok", "counts only", "unchecked", "differs"]


@dataclass(frozen=True)
class Checked:
    """What was found of a protocol.

    Attributes:
        pinned: The protocol.
        data: As read.
        images: How many distinct images its rows name.
        present: How many of them are there.
        missing: One that is not there. Empty if all are.
    """

    pinned: Pinned
    data: Data
    images: int
    present: int
    missing: str = ""

    @cached_property
    def lines(self) -> list[str]:
        """The canonical lines."""
        rows = _by_position(self.data.rows) if self.data.by_position else self.data.rows
        return canonical(rows, self.data.classes, self.data.prompts)

    @cached_property
    def sha256(self) -> str:
        """Of the canonical form."""
        return digest(self.lines)

    @cached_property
    def labels(self) -> str:
        """The sha256 of class names and prompts alone. Empty without any."""
        return digest(canonical((), self.data.classes, self.data.prompts)) if self.data.classes else ""

    @property
    def wanted(self) -> str:
        """The sha256 that is pinned. Empty if none is."""
        return self.pinned.data_by_position if self.data.by_position else self.pinned.data

    @property
    def rows(self) -> int:
        """How many texts, cases, boxes or photos there are."""
        return sum(len(row.texts) if isinstance(row, Captions | Ladder) else 1 for row in self.data.rows)

    @property
    def verdict(self) -> Verdict:
        """Whether these are the protocol's data; without a pinned hash, whether their numbers fit, if any is known."""
        if self.pinned.labels and self.labels != self.pinned.labels:
            return "differs"
        if self.wanted:
            return "ok" if self.sha256 == self.wanted else "differs"
        if not self.pinned.rows and not self.pinned.images:
            return "unchecked"
        right = self.pinned.rows in (0, self.rows) and self.pinned.images in (0, self.images)
        return "counts only" if right else "differs"

    @property
    def whole(self) -> bool:
        """True if every image is there."""
        return self.present == self.images

    def differences(self) -> list[str]:
        """Return what is wrong, a line each; nothing if the verdict is good."""
        if self.verdict != "differs":
            return []
        reasons = []
        if self.pinned.labels and self.labels != self.pinned.labels:
            reasons.append(f"class names or prompts have hash {self.labels[:8]}, pinned is {self.pinned.labels[:8]}")
        if self.wanted and self.sha256 != self.wanted:
            reasons.append(f"the data have hash {self.sha256[:8]}, pinned is {self.wanted[:8]}")
            if self.sha256 in self.pinned.also:
                reasons.append(f"this is a known copy: {self.pinned.also[self.sha256]}")
        for name, here, stated in (("images", self.images, self.pinned.images), ("rows", self.rows, self.pinned.rows)):
            if stated and here != stated:
                reasons.append(f"{here:,} {name} where {stated:,} are stated")
        reasons += [f"the text of {name} is empty" for name in _empty(self.data.rows)[:3]]
        reasons += _first_difference(self.lines, fingerprints(self.wanted))
        reasons += self._parts()
        return reasons

    def _parts(self) -> list[str]:
        """Which kinds differ, where each has a hash of its own."""
        kinds: dict[str, list[Row]] = {}
        for row in self.data.rows:
            if isinstance(row, Case):
                kinds.setdefault(row.kind, []).append(row)
        return [
            f"{kind} differs: {len(kinds.get(kind, ())):,} cases"
            for kind, sha256 in self.pinned.parts.items()
            if digest(canonical(kinds.get(kind, ()))) != sha256
        ]


def check(pinned: Pinned, roots: Roots) -> Checked:
    """Read a protocol's annotations and look for its images. No model is needed.

    Args:
        pinned: The protocol.
        roots: The data folders.

    Raises:
        ValueError: If no layout is there, or a file is damaged.
    """
    return checked(pinned, read(pinned, roots))


def checked(pinned: Pinned, data: Data, build: Measured | None = None) -> Checked:
    """Return what is found of a protocol in data that were read.

    Args:
        pinned: The protocol.
        data: As read.
        build: What is measured, if it was made already.
    """
    if pinned.runnable:
        build = build or measured(pinned, data)
        places = dict.fromkeys(sample.image for sample in build.samples if isinstance(sample.image, Path))
        images = build.data.images
    else:
        images = data.images
        places = dict.fromkeys(images.place(name) for row in data.rows for name in _names(row))
    missing = [place for place in places if not images.holds(place)]
    return Checked(pinned, data, len(places), len(places) - len(missing), str(missing[0]) if missing else "")


def here(pinned: Pinned, roots: Roots) -> str:
    """Return "yes", "annotations only" or "no": what the data folders hold, by names alone."""
    from .readers import READERS

    for layout in READERS.get(pinned.reader, ()):
        if any(roots.find(name) for name in places(layout, pinned)):
            images = folders(layout, pinned)
            return "yes" if not images or any(roots.all(name) for name in images) else "annotations only"
    return "no"


def fingerprints(sha256: str) -> Sequence[int]:
    """Return a number for each canonical line of pinned data; nothing if they are not kept."""
    if not sha256 or not FINGERPRINTS.is_file():
        return ()
    with np.load(FINGERPRINTS, allow_pickle=False) as stored:
        return stored[sha256[:16]].tolist() if sha256[:16] in stored.files else ()


def fingerprint(line: str) -> int:
    """Return the first 32 bits of a line's sha256."""
    return int.from_bytes(hashlib.sha256(line.encode("utf-8", "surrogatepass")).digest()[:4], "big")


def _first_difference(lines: list[str], stored: Sequence[int]) -> list[str]:
    """The first line that is not as pinned, as it stands here."""
    if not stored:
        return []
    left = Counter(stored)
    for line in lines:
        mark = fingerprint(line)
        if left[mark] == 0:
            return [f"first line that differs: {line[:200]}"]
        left[mark] -= 1
    return [f"{sum(left.values()):,} lines are missing, none differs"]


def _names(row: Row) -> tuple[str, ...]:
    return row.images if isinstance(row, Case) else (row.image,)


def _empty(rows: Sequence[Row]) -> list[str]:
    """Ids of rows with an empty text."""

    def texts(row: Row) -> Iterator[str]:
        if isinstance(row, Captions | Ladder):
            yield from row.texts
        elif isinstance(row, Case | Box):
            yield from (*row.right, *row.wrong)

    return [stem(_names(row)[0]) for row in ordered(rows) if any(not text.strip() for text in texts(row))]


def _by_position(rows: Sequence[Row]) -> list[Row]:
    """Rows whose image's name is its position in the file."""
    return [
        replace(row, image=str(number)) if isinstance(row, Captions | Label) else row for number, row in enumerate(rows)
    ]
