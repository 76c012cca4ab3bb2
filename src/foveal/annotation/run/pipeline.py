"""A run of the data engine: begin or go on, pass samples through stages, write them down, report."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from errno import EDQUOT, ENOSPC
from functools import partial
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, Literal, NoReturn
from uuid import uuid4

from tqdm.auto import tqdm

from ...data.formats import WebDataset
from ...data.formats.rows import sample_from_row
from ...data.numbered import numbered, size
from ...data.stream import Record, Source
from ...flow import do_nothing
from ...outside import printable
from ...types import Sample
from ...writing import replacing
from ..assistant.answers import Answers, Spend
from ..assistant.assistant import Assistant
from ..duplicates.fingerprints import Hashes
from ..stage import Halted, Stage
from .engine import LOOKED_AT, prepared, process
from .journal import Journal
from .output import Output, Writer, fitting
from .report import Gallery, write_report
from .tally import Tally

Begin = Literal["new", "resume", "overwrite", "retry"]
Entries = Generator[dict[str, Any]]
Result = tuple[dict[str, Any], Callable[[], Sample]]
"""A sample's entry in the journal, and what gives the sample with its picture, or says why there is none."""
Engine = Callable[[Source, Mapping[str, Stage], Answers | None, int, Hashes | None], Entries]
"""Gives the journal's entries of a source's samples from a number on, in order."""
log = logging.getLogger(__name__)

REFRESH = 2.0
"""Seconds between looks at what has been spent."""
_FORMER_DETECTOR = ("detector=Pointing(", "detector=AssistantDetector(")
"""What runs of an earlier version call a detector in their settings, and its name now."""


def beginning(*, resume: bool, overwrite: bool, retry: bool) -> Begin:
    """Return how to begin, from what a command line said.

    Raises:
        ValueError: If it said more than one thing.
    """
    wishes: dict[Begin, bool] = {"resume": resume, "overwrite": overwrite, "retry": retry}
    chosen_modes = [wish for wish, holds in wishes.items() if holds]
    if len(chosen_modes) > 1:
        raise ValueError(f"--{chosen_modes[0]} and --{chosen_modes[1]} exclude each other. Choose one.")
    return chosen_modes[0] if chosen_modes else "new"


def engine_of(name: str, workers: int | None = None, *, asks: bool = False) -> Engine | None:
    """Return the engine of a name; None is this process.

    Args:
        name: "local" or "ray".
        workers: Processes. None: one, or two of Ray's.
        asks: Whether stages ask an endpoint. Locally one process does: it would wait for answers in any case.

    Raises:
        ValueError: If there is none of this name, or not with so many processes.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"There cannot be {workers} workers. Name 1 or more.")
    if name == "ray":
        from .ray import Ray

        return Ray(workers or 2)
    if name != "local":
        raise ValueError(f"There is no engine '{name}'. There are: local, ray.")
    if workers is None or workers == 1:
        return None
    if asks:
        raise ValueError(
            f"An endpoint is asked from one process, not from {workers}. Leave out workers, take --engine ray,"
            " or annotate twice: with the endpoint first, and its output with the other stages."
        )
    from .processes import Processes

    return Processes(workers)


class _Unrestorable(ValueError):  # noqa: N818  # what a sample is
    """Journal entry that no sample can be made from, as an earlier version may have written it."""


@dataclass(frozen=True)
class Summary:
    """Counts, price and report of a run that has ended.

    Attributes:
        samples: That the source had.
        written: Of them, to the output.
        dropped: Judged as not wanted.
        failed: Kept aside; they can be tried again.
        spend: What the endpoint's answers cost.
        report: The page to look through.
    """

    samples: int
    written: int
    dropped: int
    failed: int
    spend: Spend
    report: Path

    @property
    def is_vain(self) -> bool:
        """True if samples failed and none came through."""
        return self.failed > 0 and self.written == 0

    def __str__(self) -> str:
        """Return one or two lines for a terminal."""
        paid = f" {spend_line(self.spend)}." if self.spend.answers else ""
        hint = " Try those again with --retry." if self.failed else ""
        return (
            f"{self.samples:,} samples: {self.written:,} written, {self.dropped:,} dropped, {self.failed:,} failed."
            f"{hint}{paid}\nLook through {self.report}"
        )


@dataclass(frozen=True)
class Annotation:
    """Run over a source: what is done to its samples, and where they go.

    Attributes:
        source: What is annotated.
        name: Of the source, as it was given.
        stages: By name, in order.
        output: Where samples go, once all are through; beside it lies the memory of the run.
        assistant: Whom stages ask; its answers are counted as the run's spend.
        near_duplicates: Bits of 128 in which pictures that count as the same may differ; the first of them is kept.
            None: they are not looked for.
        looked_at: Samples that stages may look at before the first of them comes to them.
    """

    source: Source
    name: str
    stages: Mapping[str, Stage]
    output: Output
    assistant: Assistant | None = None
    near_duplicates: int | None = None
    looked_at: int = LOOKED_AT

    def run(self, begin: Begin = "new", engine: Engine | None = None) -> Summary:
        """Annotate all samples and write them in the order of the source.

        What became of each is on disk as soon as it is known, and so is every answer of an endpoint. A run that was
        killed goes on with "resume" as if it had not been: the output is the same, byte for byte.

        Args:
            begin: "new" refuses what is there already, "resume" goes on, "overwrite" begins anew (answers of the
                endpoint are kept), "retry" tries those again that failed.
            engine: Passes the samples through the stages; see `run/ray.py`. None: this process does.

        Raises:
            ValueError: If there is something already, or nothing to go on with, or the settings are others, or the disk
                is full; what is done is kept.
            Halted: If no sample can go on. What is done is kept.
        """
        writer = self.output.writer()
        journal = Journal(self.output.memory / "journal.jsonl")
        state = self._begin(begin)
        journal.mend()
        answers = None if self.assistant is None else self.assistant.answer_store
        if answers is not None:
            answers.begin(state["run"])
        try:
            stages = prepared(self.stages, self.source, self.looked_at)
            if begin == "retry":
                self._retry(journal, stages)
                bar = tqdm(unit="sample", total=len(journal), desc="write")
                results = self._remembered(journal)
            else:
                bar = tqdm(unit="sample", total=size(self.source), desc="annotate")
                results = self._all(journal, stages, engine)
            with bar, closing(results):
                return self._write_down(self._followed(results, bar), writer)
        except Halted as error:
            raise Halted(f"{error} {self._resume_hint(journal, begin)}") from error
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"Stopped. {self._resume_hint(journal, begin)}") from error
        except OSError as error:
            journal.mend()
            problem = f"The disk of '{self.output.path}' is full" if error.errno in (ENOSPC, EDQUOT) else str(error)
            raise ValueError(f"{problem}. {self._resume_hint(journal, begin)}") from error
        finally:
            self._keep_aside(journal)

    def _begin(self, begin: Begin) -> dict[str, Any]:
        """Return what is known of the run: as it was left, or fresh."""
        file = self.output.memory / "run.json"
        settings: dict[str, Any] = {
            "input": printable(self.name),
            "stages": {name: repr(stage) for name, stage in self.stages.items()},
        }
        settings["near_duplicates"] = self.near_duplicates
        old: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if begin == "new" and (old is not None or self.output.is_there):
            raise ValueError(
                f"'{self.output.path}' is there already. Go on with --resume, begin anew with --overwrite,"
                " or choose another name."
            )
        if begin in ("resume", "retry") and old is not None:
            _refuse_change(old["settings"], settings, self.output.memory)
            return old
        if begin == "retry" or (begin == "resume" and self.output.is_there):
            raise ValueError(f"There is no run at '{self.output.memory}' to go on with. Begin one with --overwrite.")
        if begin == "overwrite":
            self.output.clear()
            (self.output.memory / "journal.jsonl").unlink(missing_ok=True)
        state = {"run": uuid4().hex, "settings": settings}
        with replacing(file) as partial_file:
            partial_file.write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return state

    def _all(self, journal: Journal, stages: Mapping[str, Stage], engine: Engine | None) -> Generator[Result]:
        """Yield what became of all samples: first what the journal knows, then what the stages make of the others."""
        start = len(journal)
        yield from self._remembered(journal)
        hashes = None if self.near_duplicates is None else journal.hashes(self.near_duplicates)
        if engine is None:
            yield from self._locally(journal, stages, numbered(self.source, start), hashes)
            return
        answers = None if self.assistant is None else self.assistant.answer_store
        with journal.appending() as append, closing(engine(self.source, stages, answers, start, hashes)) as entries:
            for entry, sample_of in self._restored(entries, start):
                append(entry)
                yield entry, sample_of

    def _remembered(self, journal: Journal) -> Generator[Result]:
        """Yield what the journal knows. An entry that no sample can be is dropped with a line, and can be retried."""
        for entry, sample_of in self._restored(journal, 0):
            if "reason" in entry:
                yield entry, sample_of
                continue
            try:
                sample = sample_of()
            except _Unrestorable as error:
                log.warning("sample %d is kept aside: %s", entry["number"], error)
                *counts, _ = entry["passed"]
                fate = {"failed": list(self.stages)[-1], "reason": str(error), "remarks": {}}
                failed = {"number": entry["number"], **fate, "passed": counts, "row": {"id": entry["row"].get("id")}}
                with journal.appending(is_retry=True) as append:
                    append(failed)
                yield failed, sample_of
            else:
                yield entry, partial(_itself, sample)

    def _locally(
        self,
        journal: Journal,
        stages: Mapping[str, Stage],
        records: Iterator[tuple[int, Record]],
        hashes: Hashes | None = None,
        *,
        is_retry: bool = False,
    ) -> Generator[Result]:
        """Yield what the stages make of samples in this process, where their pictures are at hand."""
        stop = do_nothing if self.assistant is None else self.assistant.close
        flow = process(records, stages, stop, hashing=hashes is not None, hashes=hashes)
        with journal.appending(is_retry) as append, closing(flow) as outcomes:
            for outcome in outcomes:
                entry = outcome.entry()
                append(entry)
                yield entry, outcome.whole

    def _retry(self, journal: Journal, stages: Mapping[str, Stage]) -> None:
        """Let the stages try those samples again that failed."""
        failed = journal.failed()
        records = (item for item in numbered(self.source, 0, max(failed, default=-1) + 1) if item[0] in failed)
        results = self._locally(journal, stages, records, is_retry=True)
        with tqdm(unit="sample", total=len(failed), desc="retry") as bar, closing(results):
            for _ in self._followed(results, bar):
                pass

    def _followed(self, results: Iterable[Result], bar: "tqdm[NoReturn]") -> Iterator[Result]:
        """Yield the same results; the bar says how far it has come, how fast, and what it costs."""
        failed, next_look = 0, 0.0
        for entry, sample_of in results:
            failed += "failed" in entry
            if monotonic() > next_look:
                next_look = monotonic() + REFRESH
                paid = [] if self.assistant is None else [spend_line(self.assistant.answer_store.spent())]
                bar.set_postfix_str(", ".join([f"{failed:,} failed", *paid]), refresh=False)
            yield entry, sample_of
            bar.update()

    def _restored(self, entries: Iterable[dict[str, Any]], start: int) -> Generator[Result]:
        """Yield entries of the samples from a number on, which the source gives the pictures of."""
        records = numbered(self.source, start)
        for entry in entries:
            number, record = next(records, (-1, None))
            if record is None or number != entry["number"]:
                raise ValueError(f"'{self.name}' has fewer samples than when the run began. Restore it.")
            yield entry, partial(_restore, record, entry)

    def _resume_hint(self, journal: Journal, begin: Begin) -> str:
        option = "retry" if begin == "retry" else "resume"
        return f"{len(journal):,} samples are kept in {self.output.memory}; go on with --{option}."

    def _keep_aside(self, journal: Journal) -> None:
        """Write the failed samples with their errors to `failed.jsonl`."""
        path = self.output.memory / "failed.jsonl"
        with replacing(path) as partial_file, partial_file.open("w", encoding="utf-8") as file:
            for number, entry in journal.failed().items():
                file.write(json.dumps({"number": number, **entry}, ensure_ascii=False) + "\n")

    def _write_down(self, results: Iterable[Result], writer: Writer) -> Summary:
        """Write the output, sample by sample as they come, and then the report."""
        tally, gallery, left_out = Tally(tuple(self.stages)), Gallery(), Counter[str]()
        samples = fitting(_through(results, tally, gallery), writer, left_out)
        first = next(samples, None)
        if first is not None:
            self._write(writer, chain([first], samples))
        spend = Spend() if self.assistant is None else self.assistant.answer_store.spent()
        report = self.output.memory / "report.html"
        write_report(
            report,
            tally,
            gallery,
            title=printable(f"{self.name} → {self.output.path}"),
            settings={name: repr(stage) for name, stage in self.stages.items()},
            spend=spend,
            left_out=left_out,
        )
        return Summary(tally.samples, tally.written, tally.dropped, tally.failed, spend, report)

    def _write(self, writer: Writer, samples: Iterator[Sample]) -> None:
        """Write samples so that no half of them is ever seen."""
        if not isinstance(writer, WebDataset) or writer.path.suffix == ".tar":
            writer.write(samples)
            return
        with replacing(writer.path) as partial:
            replace(writer, path=partial).write(samples)
            self.output.clear()


def _through(results: Iterable[Result], tally: Tally, gallery: Gallery) -> Iterator[Sample]:
    """Yield the samples that passed all stages. All are counted, and shown to the gallery."""
    for entry, sample_of in results:
        tally.add(entry)
        gallery.offer(entry, sample_of)
        if "reason" not in entry:
            yield sample_of()


def spend_line(spend: Spend) -> str:
    """Return what was spent, in a few words."""
    price = f", {spend.cost:,.4f} spent" if spend.cost else ""
    return f"{spend.answers:,} answers, {spend.prompt_tokens:,} + {spend.completion_tokens:,} tokens{price}"


def _restore(record: Record, entry: dict[str, Any]) -> Sample:
    """Return a sample as the journal has it, with its picture; as its source has it where the journal says nothing."""
    sample = record()
    if "row" not in entry:
        return sample
    try:
        annotated = sample_from_row(entry["row"], sample.image)
        if annotated.notes:  # a reader leaves odd parts out; what a stage made has none
            raise ValueError(annotated.notes[0])
    except (TypeError, ValueError) as error:
        raise _Unrestorable(f"what was made of it cannot be used: {error}") from error
    return replace(annotated, notes=sample.notes)


def _itself(sample: Sample) -> Sample:
    return sample


def _refuse_change(old: Mapping[str, Any], new: Mapping[str, Any], memory: Path) -> None:
    """Refuse to go on with other settings than a run was begun with."""
    begun = {name: stage.replace(*_FORMER_DETECTOR) for name, stage in old["stages"].items()}
    pairs = {name: (old[name], new[name]) for name in ("input", "near_duplicates")}
    pairs |= {name: (begun.get(name), new["stages"].get(name)) for name in {**begun, **new["stages"]}}
    pairs["the order of stages"] = (list(begun), list(new["stages"]))
    changed = [f"{name}: {was}, now {now}" for name, (was, now) in pairs.items() if was != now]
    if changed:
        raise ValueError(
            f"The run in {memory} was begun with other settings ({'; '.join(changed)}). Use those, or --overwrite."
        )
