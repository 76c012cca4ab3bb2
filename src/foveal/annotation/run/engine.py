"""Samples through stages: in order, several at once where a stage waits or works on many."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

from ...data.formats.pictures import encoded
from ...data.formats.rows import row_from_sample
from ...data.kinds import suffix
from ...data.numbered import numbered
from ...data.stream import Record, Source
from ...data.whole import check_whole
from ...flow import batched, do_nothing, in_order
from ...types import Sample
from ..duplicates.fingerprints import Hashes, picture_hash
from ..stage import BatchStage, Dropped, Halted, Stage, listening
from .keepable import keepable

READ = "read"
"""Where a sample ends that cannot be read, or whose picture cannot."""
READERS = 2
READ_AT_ONCE = 4
"""Samples that a reader takes at a time: handing them over one by one costs more than some stages."""
LOOKED_AT = 2_000
"""Samples that a stage may look at before the first of them comes to it."""
AHEAD = 8
"""Samples under way for each thread: one slow answer does not keep the others waiting."""
FAILURES = (ValueError, OSError)
"""What a stage raises when it cannot work on a sample. Anything else is a fault of the program and ends the run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """State of a sample on its way through the stages.

    Attributes:
        number: In its source, from 0.
        sample: As far as it came. None: it could not be read.
        ended: The stage that it did not pass. Empty: it is still on its way, or through.
        reason: Why.
        failed: It ended because a stage could not work on it, and can be tried again.
        counts: Regions, hard negatives and remarks after each stage it passed, reading included.
        remarks: Of the stage that it did not pass.
        hash: Of the picture, where near-duplicates are looked for.
    """

    number: int
    sample: Sample | None = None
    ended: str = ""
    reason: str = ""
    failed: bool = False
    counts: tuple[tuple[int, int, dict[str, int]], ...] = ()
    remarks: dict[str, int] = field(default_factory=dict)
    hash: int | None = None

    def entry(self) -> dict[str, Any]:
        """Return the journal's entry: plain values, without the picture."""
        entry: dict[str, Any] = {"number": self.number}
        if self.ended:
            fate = "failed" if self.failed else "dropped"
            entry |= {fate: self.ended, "reason": self.reason, "remarks": self.remarks}
        entry["passed"] = self.counts
        if self.hash is not None:
            entry["hash"] = f"{self.hash:x}"
        return entry if self.sample is None else {**entry, "row": row_from_sample(self.sample)}

    def whole(self) -> Sample:
        """Return the sample.

        Raises:
            ValueError: If it could not be read.
        """
        if self.sample is None:
            raise ValueError(self.reason)
        return self.sample


def prepared(stages: Mapping[str, Stage], source: Source, looked_at: int = LOOKED_AT) -> dict[str, Stage]:
    """Return the stages, those that want it after a look at the first samples of a source.

    Args:
        stages: By name.
        source: What they will work on.
        looked_at: How many samples they may look at.
    """
    return {
        name: stage.prepared(_readable(numbered(source, 0, looked_at))) if hasattr(stage, "prepared") else stage
        for name, stage in stages.items()
    }


def _readable(records: Iterable[tuple[int, Record]]) -> Iterator[Sample]:
    """Yield samples without those that cannot be read: the run itself will meet and count them."""
    for _, record in records:
        with suppress(*FAILURES):
            yield record()


def process(
    records: Iterable[tuple[int, Record]],
    stages: Mapping[str, Stage],
    stop: Callable[[], None] = do_nothing,
    *,
    hashing: bool = False,
    hashes: Hashes | None = None,
) -> Generator[Outcome]:
    """Read samples, look whether their pictures are whole, and pass them through stages.

    Args:
        records: Numbers, and what gives the samples.
        stages: By name, in order.
        stop: Called when the flow is left before its end, so that nobody goes on waiting for answers.
        hashing: Note the hash of every picture.
        hashes: Pictures that near-duplicates are dropped of, and added to. None: nobody looks. Needs `hashing`.

    Yields:
        What became of each, in the order of `records`.

    Raises:
        Halted: If a stage says that no sample can go on.
    """
    blocks = batched(records, READ_AT_ONCE)
    read = in_order(ThreadPoolExecutor(READERS), partial(_read_some, hashing), blocks, ahead=AHEAD)
    flow: Iterator[Outcome] = chain.from_iterable(read)
    flows: list[Iterator[Any]] = [read]
    if hashes is not None:
        flow = (unseen(outcome, hashes) for outcome in flow)
        flows.append(flow)
    for name, stage in stages.items():
        flow = _through(flow, name, stage, stop)
        flows.append(flow)
    try:
        yield from flow
    finally:
        for stream in reversed(flows):
            stream.close()  # all are generators


def entries(
    records: Iterable[tuple[int, Record]], stages: Mapping[str, Stage], hashing: bool
) -> Iterator[dict[str, Any]]:
    """Yield a worker's journal entries of samples, and {"halted": why} in the end if it cannot go on."""
    try:
        for outcome in process(records, stages, hashing=hashing):
            yield outcome.entry()
    except Halted as error:
        yield {"halted": str(error)}


def checked(entry: dict[str, Any], hashes: Hashes | None) -> dict[str, Any]:
    """Return a worker's entry, or that of a near-duplicate: workers do not know one another's pictures.

    Raises:
        Halted: If the worker could not go on.
    """
    if "halted" in entry:
        raise Halted(entry["halted"])
    if hashes is None or "hash" not in entry:
        return entry
    outcome = Outcome(entry["number"], hash=int(entry["hash"], 16))
    judged = unseen(outcome, hashes)
    return entry if judged is outcome else judged.entry()


def unseen(outcome: Outcome, hashes: Hashes) -> Outcome:
    """Return the outcome, or its end if its picture was there before, or nearly. Notes the picture otherwise."""
    if outcome.hash is None:
        return outcome
    if hashes.find(outcome.hash) is None:
        hashes.add(outcome.hash, str(outcome.number))
        return outcome
    return Outcome(outcome.number, ended=READ, reason="near-duplicate picture", hash=outcome.hash)


def _read_some(hashing: bool, items: Sequence[tuple[int, Record]]) -> list[Outcome]:
    return [_read(hashing, number, record) for number, record in items]


def _read(hashing: bool, number: int, record: Record) -> Outcome:
    """Read a sample whose picture can be decoded, or say why there is none."""
    sample = None
    try:
        sample = keepable(record())
        content = encoded(sample)
        suffix(content)
        value = picture_hash(content) if hashing else None
        if not hashing:
            check_whole(content)
    except FAILURES as error:
        return Outcome(number, sample, READ, _line(error), failed=True)
    return _pass(Outcome(number, hash=value), sample, _left_out(sample))


def _through(flow: Iterator[Outcome], name: str, stage: Stage, stop: Callable[[], None]) -> Iterator[Outcome]:
    """Yield outcomes after one more stage."""
    if isinstance(stage, BatchStage):
        for batch in batched(flow, stage.batch_size):
            yield from _together(name, stage, batch)
        return
    threads = getattr(stage, "concurrency", 1)
    work = partial(_stage_outcome, name, stage)
    if threads > 1:
        yield from in_order(ThreadPoolExecutor(threads), work, flow, AHEAD * threads, stop)
    else:
        yield from map(work, flow)


def _stage_outcome(name: str, stage: Stage, outcome: Outcome) -> Outcome:
    """Pass one sample through one stage."""
    if outcome.ended or outcome.sample is None:
        return outcome
    with listening() as remarks:
        try:
            result: Sample | Exception = stage(outcome.sample) or Dropped("not wanted")
        except Halted:
            raise
        except (Dropped, *FAILURES) as error:
            result = error
    return _pass_or_end(outcome, name, result, remarks)


def _together(name: str, stage: BatchStage, outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Pass several samples through one stage; one by one if it cannot work on them together."""
    alive = [outcome for outcome in outcomes if not outcome.ended]
    if not alive:
        yield from outcomes
        return
    outcome_by_number: dict[int, Outcome] = {}
    samples = [outcome.sample for outcome in alive if outcome.sample is not None]
    with listening() as remarks:
        try:
            # where `batch` is a generator, what it remarks before a result is about that sample
            for outcome, result in zip(alive, stage.batch(samples), strict=True):
                outcome_by_number[outcome.number] = _pass_or_end(outcome, name, result, Counter(remarks))
                remarks.clear()
        except Halted:
            raise
        except FAILURES:
            outcome_by_number.clear()
    if outcome_by_number:
        yield from (outcome_by_number.get(outcome.number, outcome) for outcome in outcomes)
    else:
        yield from (_stage_outcome(name, stage, outcome) for outcome in outcomes)


def _pass_or_end(outcome: Outcome, name: str, result: Sample | Exception, remarks: Counter[str]) -> Outcome:
    if isinstance(result, Sample):
        try:
            sample = result if result is outcome.sample else keepable(result)
        except ValueError as error:
            result = error
        else:
            return _pass(outcome, sample, remarks)
    failed = not isinstance(result, Dropped)
    return replace(outcome, ended=name, reason=_line(result), failed=failed, remarks=dict(remarks))


def _pass(outcome: Outcome, sample: Sample, remarks: Counter[str]) -> Outcome:
    """Return an outcome one stage further, with the counts of what its sample holds now."""
    negatives = sum(len(region.negatives) for region in sample.regions)
    counts = (len(sample.regions), negatives, dict(remarks))
    return Outcome(outcome.number, sample, counts=(*outcome.counts, counts), hash=outcome.hash)


def _left_out(sample: Sample) -> Counter[str]:
    """Count what its reader left out of a sample, by kind: the words before what is of this sample alone."""
    return Counter(f"left out: {note.partition(':')[0]}" for note in sample.notes)


def _line(error: Exception) -> str:
    """Return an error's message on one line that UTF-8 can hold."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words.encode(errors="backslashreplace").decode()
