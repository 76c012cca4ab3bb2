"""What there is to do for an index, what was done, and what became of each picture."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tqdm import tqdm

from .rows import Loaded, Read
from .sources import Entry, Listing, id_of, is_folder_of_pictures
from .store import Store

log = logging.getLogger(__name__)

Batch = tuple[tuple[Entry, str], ...]
"""Pictures to look at, each with the hash of its content that is known."""


@dataclass
class Report:
    """What became of the pictures of a source.

    Attributes:
        added: New ones.
        updated: Those with another content than before.
        unchanged: Those left as they were.
        forgotten: Those deleted from the index, as they are gone from the source.
        passed_over: Files that are no pictures.
        count: Pictures in the index now.
        broken: Path and reason of each that could not be indexed.
        remark: What else there is to know.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    forgotten: int = 0
    passed_over: int = 0
    count: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    remark: str = ""

    def __str__(self) -> str:
        """One line, and one more with what is to be looked at."""
        told = f"{self.count} pictures: {self.added} added, {self.updated} updated, {self.unchanged} unchanged, "
        told += f"{self.forgotten} forgotten; {len(self.broken)} broken, {self.passed_over} other files passed over."
        return told + (f"\n{self.remark}" if self.remark else "")


def batches(todo: Iterable[tuple[Entry, str]], size: int) -> Iterator[Batch]:
    """What is to do, some at a time."""
    rest = iter(todo)
    while some := tuple(islice(rest, size)):
        yield some


class Todo:
    """Pictures that may have to be read, each with the hash that is known of it; what is done is counted here."""

    def __init__(self, source: str, store: Store, *, progress: bool = False) -> None:
        """What a source holds, against what an index knows.

        Args:
            source: A folder of pictures, or anything `open_source` knows.
            store: The index.
            progress: Show a bar on standard error: with an end in sight for folders, without one for shards.

        Raises:
            ValueError: If there is no such source.
        """
        self._listing, self._store = Listing(source), store
        self.report = Report(broken=self._listing.broken)
        self._entries: Iterable[Entry] = self._listing
        if is_folder_of_pictures(source):
            self._entries = list(tqdm(self._listing, desc="listing", unit="", disable=not progress, leave=False))
        total = len(self._entries) if isinstance(self._entries, list) else None
        self.bar = tqdm(total=total, desc="pictures", unit="", disable=not progress, smoothing=0.05)
        self._known = store.known()
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[tuple[Entry, str]]:
        """Yield what is not known to be unchanged without a look inside."""
        for entry in self._entries:
            if entry.id in self._seen:
                self.report.broken[entry.path] = "Another picture has this name. Rename one of them."
                continue
            self._seen.add(entry.id)
            size, modified, known = self._known.get(entry.id, (-1, 0, ""))
            if known and (entry.bytes, entry.modified) == (size, modified):
                self.unchanged(1)
                continue
            yield entry, known

    def sort_out(self, read: Iterable[tuple[Entry, Read]]) -> list[Loaded]:
        """Those to encode; the others are counted."""
        found = list(read)
        self.unchanged(sum(outcome is None for _, outcome in found))
        self.refuse({entry.path: outcome for entry, outcome in found if isinstance(outcome, str)})
        return [outcome for _, outcome in found if isinstance(outcome, Loaded)]

    def refuse(self, broken: dict[str, str]) -> None:
        """Note broken pictures. What was indexed under their names before is forgotten with those that are gone."""
        for path, reason in broken.items():
            self.report.broken[path] = reason
            self._seen.discard(id_of(path))
            self.bar.update()
            log.warning("%s is broken: %s", path, reason)

    def write(self, rows: Any, ids: Sequence[str]) -> None:
        """Commit rows and count them.

        Args:
            rows: A pyarrow table, or a reader of batches.
            ids: Theirs.
        """
        if not ids:
            return
        replaced = [each for each in ids if each in self._known]
        self._store.write(rows, replace=replaced)
        self.report.updated += len(replaced)
        self.report.added += len(ids) - len(replaced)
        self.bar.update(len(ids))

    def finish(self) -> Report:
        """Delete what is indexed and no longer there. Where a part of the source cannot be read, nothing is.

        Raises:
            ValueError: If the source is empty and the index is not: more likely a disk that is not mounted.
        """
        report, listing = self.report, self._listing
        gone = [each for each in self._known if each not in self._seen]
        if not listing.whole and gone:
            report.remark = f"{len(gone)} pictures were not seen but kept, as part of the source cannot be read."
        elif gone and not self._seen and not report.broken:
            raise ValueError(
                f"'{listing.source}' holds no pictures, the index {len(gone)}. Is it mounted? To empty it, delete it."
            )
        else:
            self._store.forget(gone)
            report.forgotten = len(gone)
        report.passed_over, report.count = listing.passed_over, self._store.count()
        return report

    def unchanged(self, count: int) -> None:
        """Count pictures whose content is the known one."""
        self.report.unchanged += count
        self.bar.update(count)
