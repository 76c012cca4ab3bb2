"""Indexing on several machines: Ray Data actors embed, each batch becomes a file, and all files one commit.

Needs `pip install "foveal[ray]"`, and a folder that all workers see.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...encoder import Encoder
from ...writing import replacing
from ..fingerprint import probe
from ..store import Layout, Store, schema
from .encode import encode_rows
from .plan import Batch, IndexPlan
from .read import Loaded, Unreadable, read_entry

DONE = b"foveal"  # key of a fragment's summary, in its schema


def encode_with_ray(
    plan: IndexPlan,
    entries: Sequence[Batch],
    store: Store,
    open_encoder: Callable[[], Encoder],
    staging: Path,
    *,
    workers: int,
) -> None:
    """Embed the pictures of a plan in workers of a Ray cluster, started here where there is none, and commit once.

    Batches that workers of a run that was cut off have finished are taken as they are.

    Args:
        plan: Counts what becomes of the pictures.
        entries: Pictures that may have to be read, a file's in one batch.
        store: The index.
        open_encoder: Gives the model, in every worker.
        staging: A folder that all workers see. It goes when all is committed.
        workers: Actors, each with a model.

    Raises:
        ValueError: If Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("Engine 'ray' needs Ray. Install it: pip install 'foveal[ray]'.") from error
    work = [{"number": number, "work": _Work(batch)} for number, batch in enumerate(entries)]
    if work:
        if not ray.is_initialized():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        staging.mkdir(parents=True, exist_ok=True)
        rows = ray.data.from_items(work, override_num_blocks=len(work)).map_batches(
            _Worker,
            batch_size=1,
            concurrency=min(workers, len(work)),
            fn_constructor_args=(open_encoder, store.layout, str(staging.absolute())),
        )
        done = {}
        for row in rows.iter_rows():
            done[row["number"]] = Path(row["fragment"])
            plan.bar.set_postfix_str(f"{len(done)} of {len(work)} batches done")
        _commit(plan, store, [done[number] for number in sorted(done)])
    shutil.rmtree(staging, ignore_errors=True)


@dataclass(frozen=True)
class _Work:
    """One batch, wrapped so that Ray takes it for one value."""

    entries: Batch


class _Worker:
    """A process with a model: batches in, files out."""

    def __init__(self, open_encoder: Callable[[], Encoder], layout: Layout, staging: str) -> None:
        self.encoder, self.layout = open_encoder(), layout
        self.staging = Path(staging)
        self.model = json.dumps([probe(self.encoder), asdict(layout)])

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        files = [str(self.fragment(work.entries)) for work in rows["work"]]
        return {"number": list(rows["number"]), "fragment": files}

    def fragment(self, entries: Batch) -> Path:
        """Return the file with the rows of one batch, named by its content, so that it is made only once."""
        import pyarrow

        read = [(entry, read_entry(entry, known_hash, self.layout.thumbnail)) for entry, known_hash in entries]
        contents = [(entry.path, outcome.hash if isinstance(outcome, Loaded) else outcome) for entry, outcome in read]
        name = blake2b(json.dumps([self.model, contents]).encode(), digest_size=16).hexdigest()
        path = self.staging / f"{name}.arrow"
        if path.is_file():
            return path
        pictures = [outcome for _, outcome in read if isinstance(outcome, Loaded)]
        rows, broken = encode_rows(self.encoder, self.layout, pictures)
        broken |= {entry.path: outcome for entry, outcome in read if isinstance(outcome, str)}
        notes = {outcome.entry.path: outcome.notes for outcome in pictures if outcome.notes}
        unreadable = [entry.path for entry, outcome in read if isinstance(outcome, Unreadable)]
        summary = {
            "broken": broken,
            "unreadable": unreadable,
            "notes": notes,
            "unchanged": sum(outcome is None for _, outcome in read),
        }
        rows = rows.replace_schema_metadata({DONE: json.dumps(summary)})
        with replacing(path) as unfinished, pyarrow.ipc.new_file(str(unfinished), rows.schema) as writer:
            writer.write_table(rows)
        return path


def _commit(plan: IndexPlan, store: Store, fragments: list[Path]) -> None:
    """Write all rows of all files, in their order, in one commit."""
    import pyarrow

    def readers() -> Iterator[Any]:
        for path in fragments:
            with pyarrow.memory_map(str(path)) as file:
                yield pyarrow.ipc.open_file(file)

    ids: list[str] = []
    for reader in readers():
        summary = json.loads(reader.schema.metadata[DONE])
        plan.refuse(
            summary["broken"] | {path: Unreadable(summary["broken"][path]) for path in summary.get("unreadable", ())}
        )
        plan.unchanged(summary["unchanged"])
        plan.report.notes.update(summary.get("notes", {}))
        ids += reader.read_all()["id"].to_pylist()
    plain = schema(store.layout)
    parts = (reader.get_batch(n) for reader in readers() for n in range(reader.num_record_batches))
    columns = (pyarrow.record_batch(part.columns, schema=plain) for part in parts)
    plan.write(pyarrow.RecordBatchReader.from_batches(plain, columns), ids)
