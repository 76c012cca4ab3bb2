"""Journal with a line for each sample, in order: the memory of a run that may be killed at any moment."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from ..duplicates.fingerprints import Hashes
from .engine import READ

# What a line begins with, enough to count by without parsing the rest.
_HEAD = re.compile(rb'\{(?P<again>"again": true, )?"number": (?P<number>\d+), "((?P<fate>failed|dropped)|passed)"')
MOMENT = 0.5
"""Seconds until what is written to the journal is in its file."""


@dataclass(frozen=True)
class Journal:
    """A file of lines, only ever appended to. Its first lines are the samples 0, 1, 2, ... of the source.

    A sample that failed may be tried again; what became of it then is a later line, marked "again".

    Attributes:
        path: The file.
    """

    path: Path

    def mend(self) -> None:
        """Take away a last line that was cut off while it was written."""
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            end = whole = file.seek(0, 2)
            while whole:
                start = max(0, whole - 65536)
                file.seek(start)
                newline = file.read(whole - start).rfind(b"\n")
                if newline >= 0:
                    whole = start + newline + 1
                    break
                whole = start
            if whole != end:
                file.truncate(whole)

    @contextmanager
    def appending(self, is_retry: bool = False) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Yield a function that writes an entry, as long as the context lasts.

        Entries are in the file a moment later: a process that is killed loses that moment's work, but no answer that
        was paid for, as these are kept apart.

        Args:
            is_retry: Whether these samples failed before.
        """
        flushed = monotonic()
        with self.path.open("a", encoding="utf-8") as file:

            def append(entry: dict[str, Any]) -> None:
                nonlocal flushed
                file.write(json.dumps({"again": True, **entry} if is_retry else entry, ensure_ascii=False) + "\n")
                if monotonic() - flushed > MOMENT:
                    file.flush()
                    flushed = monotonic()

            yield append

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the last that is known of each sample, in order."""
        later = {number: line for number, is_retry, _, line in self._lines() if is_retry}
        for number, is_retry, _, line in self._lines():
            if not is_retry:
                yield json.loads(later.get(number, line))

    def __len__(self) -> int:
        """Return how many samples have been through, those tried again counted once."""
        return sum(not is_retry for _, is_retry, _, _ in self._lines())

    def failed(self) -> dict[int, dict[str, Any]]:
        """Return the samples that a stage could not work on, by number: their id, the stage, and the error."""
        failures: dict[int, dict[str, Any]] = {}
        for number, _, fate, line in self._lines():
            failures.pop(number, None)
            if fate == "failed":
                entry = json.loads(line)
                identity = entry.get("row", {}).get("id", "")
                failures[number] = {"id": identity, "stage": entry["failed"], "error": entry["reason"]}
        return dict(sorted(failures.items()))

    def hashes(self, radius: int) -> Hashes:
        """Return the pictures that were there so far, those dropped as near-duplicates left out."""
        hashes = Hashes(radius)
        for entry in self:
            if "hash" in entry and entry.get("dropped") != READ:
                hashes.add(int(entry["hash"], 16), str(entry["number"]))
        return hashes

    def _lines(self) -> Iterator[tuple[int, bool, str, bytes]]:
        """Yield number, whether it was tried again, how it ended if it did, and the line itself, not yet parsed."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for count, line in enumerate(file, start=1):
                head = _HEAD.match(line)
                if head is None:
                    raise ValueError(f"{self.path}:{count} is damaged. Begin again with --overwrite.")
                yield int(head["number"]), bool(head["again"]), (head["fate"] or b"").decode(), line
