"""The plan of an indexing run: pictures to read, and a report of what became of each."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tqdm.auto import tqdm

from ...data.formats.folder import counts, leading_out, unread
from ..sources import Entry, Listing, id_of
from ..store import Store
from .read import Loaded, Read, Unreadable

log = logging.getLogger(__name__)

Batch = Sequence[tuple[Entry, str]]
"""Pictures to read, each with the hash of its indexed content, or ""."""

MOST_GONE = 10
"""Pictures gone from which on it counts that they are most of an index: an unmounted disk looks the same."""


@dataclass
class Report:
    """Counts and reasons of what became of the pictures of a source.

    Attributes:
        added: New ones.
        updated: Those with another content than before.
        unchanged: Those left as they were.
        forgotten: Those deleted from the index, as they are gone from the source.
        kept: Those that are gone from the source as it seems, but were not deleted.
        passed_over: Files that are no pictures, by suffix or by what they are.
        count: Pictures in the index now.
        broken: Path and reason of each that could not be indexed.
        notes: What was left out of pictures that were indexed, and why, by path.
        remark: What else there is to know, in lines.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    forgotten: int = 0
    kept: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    count: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Sequence[str]] = field(default_factory=dict)
    remark: str = ""

    def __str__(self) -> str:
        """Return one line, and more with what is to be looked at."""
        other_files = sum(self.passed_over.values())
        line = f"{self.count} pictures: {self.added} added, {self.updated} updated, {self.unchanged} unchanged, "
        line += f"{self.forgotten} forgotten; {len(self.broken)} broken, {other_files} other files passed over"
        line += f" ({counts(self.passed_over)})." if other_files else "."
        return line + (f"\n{self.remark}" if self.remark else "")


class IndexPlan:
    """Pictures that may have to be read, each with the hash of its indexed content; outcomes are counted here."""

    def __init__(self, listing: Listing, store: Store, *, forget: bool = False, progress: bool = False) -> None:
        """Compare what a source holds with what an index knows.

        Args:
            listing: The source, a folder of pictures or anything `open_source` knows.
            store: The index.
            forget: Delete what is gone from the index even where that is most of it.
            progress: Show a bar on standard error: with an end in sight for folders, without one for shards.

        Raises:
            ValueError: If there is no such source.
        """
        self._listing, self._store, self._forget = listing, store, forget
        self.report = Report(broken=self._listing.broken)
        total = None if listing.folder is None else len(listing.folder)
        self.bar = tqdm(total=total, desc="pictures", unit="", disable=not progress, smoothing=0.05)
        self._states = store.file_states()
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[tuple[Entry, str]]:
        """Yield pictures that are not known to be unchanged without reading them."""
        for entry in self._listing:
            if entry.id in self._seen:
                self.report.broken[entry.path] = "Another picture has this name. Rename one of them."
                continue
            self._seen.add(entry.id)
            size, modified, known_hash = self._states.get(entry.id, (-1, 0, ""))
            if known_hash and (entry.bytes, entry.modified) == (size, modified):
                self.unchanged(1)
                continue
            yield entry, known_hash

    def sort_out(self, read: Iterable[tuple[Entry, Read]]) -> list[Loaded]:
        """Return the pictures to encode. Count the others."""
        outcomes = list(read)
        self.unchanged(sum(outcome is None for _, outcome in outcomes))
        self.refuse({entry.path: outcome for entry, outcome in outcomes if isinstance(outcome, str)})
        self.report.notes.update(
            {entry.path: outcome.notes for entry, outcome in outcomes if isinstance(outcome, Loaded) and outcome.notes}
        )
        return [outcome for _, outcome in outcomes if isinstance(outcome, Loaded)]

    def refuse(self, broken: dict[str, str]) -> None:
        """Record broken pictures. What was indexed under their names before is forgotten with those that are gone.

        Those whose files could not be read at all stay in the index.
        """
        for path, reason in broken.items():
            self.report.broken[path] = reason
            if not isinstance(reason, Unreadable):
                self._seen.discard(id_of(path))
            self.bar.update()
            log.warning("%s is broken: %s", path, reason)

    def write(self, rows: Any, ids: Sequence[str]) -> None:
        """Commit rows and count them.

        Args:
            rows: A pyarrow table, or a reader of batches.
            ids: Of the rows.
        """
        if not ids:
            return
        replaced = [image_id for image_id in ids if image_id in self._states]
        self._store.write(rows, replace=replaced)
        self.report.updated += len(replaced)
        self.report.added += len(ids) - len(replaced)
        self.bar.update(len(ids))

    def finish(self) -> Report:
        """Delete indexed pictures that are gone from the source, unless the source itself may be missing.

        Nothing is deleted where a part of the source cannot be read, nor where most of the index is gone; and nothing
        of folders that are there and empty, as those are that a disk is mounted on.

        Raises:
            ValueError: If the source is empty and the index is not: more likely a disk that is not mounted.
        """
        report, listing, lines = self.report, self._listing, []
        gone = [image_id for image_id in self._states if image_id not in self._seen]
        if gone and not self._seen and not report.broken and not self._forget:
            raise ValueError(
                f"'{listing.source}' holds no pictures, the index {len(gone)}. Is it mounted? To empty it: --forget"
            )
        retained, why = self._retained(gone)
        if retained:
            report.kept = len(retained)
            lines.append(f"{len(retained)} pictures were not seen but kept, as {why}")
            gone = [image_id for image_id in gone if image_id not in retained]
        self._store.forget(gone)
        report.forgotten = len(gone)
        report.passed_over, report.count = dict(listing.passed_over), self._store.count()
        report.remark = "\n".join([*lines, *self._remarks()])
        return report

    def _retained(self, gone: Sequence[str]) -> tuple[set[str], str]:
        """Return which of those gone are not deleted, and why."""
        if not self._listing.whole:
            return set(gone), "part of the source cannot be read."
        if self._forget or not gone:
            return set(), ""
        mounted = "Is a disk not mounted? To forget them: --forget"
        if len(gone) >= MOST_GONE and 2 * len(gone) > len(self._states):
            return set(gone), f"they are most of the {len(self._states)} there were. {mounted}"
        return self._below_empty(gone), f"their folders are there but empty. {mounted}"

    def _below_empty(self, gone: Sequence[str]) -> set[str]:
        """Return those of the gone pictures that lay in folders that are there but empty."""
        empty = set() if self._listing.folder is None else self._listing.folder.empty
        below = set[str]()
        for start in range(0, len(gone) if empty else 0, 1000):
            chunk = gone[start : start + 1000]
            for image_id, row in zip(chunk, self._store.rows(chunk, ["path"]), strict=True):
                if not empty.isdisjoint(map(str, PurePosixPath(row["path"]).parents)):
                    below.add(image_id)
        return below

    def _remarks(self) -> Iterator[str]:
        """Yield what else a user should know of the source."""
        listing = self._listing
        yield from unread(listing.passed_over)
        yield from (f"{line} To index them too: --outside" for line in leading_out(listing.broken))
        if listing.withheld:
            yield (
                f"{listing.withheld} pictures lie outside '{listing.source}', where its table says."
                " Their originals are not given out. To allow it: --outside"
            )
        if self.report.notes:
            path, notes = next(iter(self.report.notes.items()))
            yield f"Something was left out of {len(self.report.notes)} pictures, of {path}: {notes[0]}"

    def unchanged(self, count: int) -> None:
        """Count pictures whose content has the known hash."""
        self.report.unchanged += count
        self.bar.update(count)
