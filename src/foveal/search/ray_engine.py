"""Indexing past one machine: Ray Data actors embed, each batch becomes a file, and all files become one commit.

Needs `pip install "foveal[ray]"`, and a folder that all workers see.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..data.formats.paths import replacing
from ..encoder import Encoder
from .rows import Loaded, Unreadable, encode_rows, probe, read_entry
from .sources import Entry
from .store import Layout, Store, schema
from .todo import Todo, batches

DONE = b"foveal"  # key of what a fragment says about itself, in its schema


def encode_with_ray(
    todo: Todo, store: Store, open_encoder: Callable[[], Encoder], staging: Path, *, batch: int, workers: int
) -> None:
    """Embed what is to do in workers of a Ray cluster, started here where there is none, and commit it once.

    Batches that workers of a run that was cut off have finished are taken as they are.

    Args:
        todo: What may have to be read.
        store: The index.
        open_encoder: Gives the model, in every worker.
        staging: A folder that all workers see. It goes when all is committed.
        batch: Pictures in one file.
        workers: Actors, each with a model.

    Raises:
        ValueError: If Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("Engine 'ray' needs Ray. Install it: pip install 'foveal[ray]'.") from error
    work = [{"number": number, "work": _Work(some)} for number, some in enumerate(batches(todo, batch))]
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
            todo.bar.set_postfix_str(f"{len(done)} of {len(work)} batches done")
        _commit(todo, store, [done[number] for number in sorted(done)])
    shutil.rmtree(staging, ignore_errors=True)


@dataclass(frozen=True)
class _Work:
    """One batch, wrapped so that Ray takes it for one value."""

    entries: tuple[tuple[Entry, str], ...]


class _Worker:
    """A process with a model: batches in, files out."""

    def __init__(self, open_encoder: Callable[[], Encoder], layout: Layout, staging: str) -> None:
        self.encoder, self.layout = open_encoder(), layout
        self.staging = Path(staging)
        self.model = json.dumps([probe(self.encoder), asdict(layout)])

    def __call__(self, some: dict[str, Any]) -> dict[str, list[Any]]:
        files = [str(self.fragment(each.entries)) for each in some["work"]]
        return {"number": list(some["number"]), "fragment": files}

    def fragment(self, entries: tuple[tuple[Entry, str], ...]) -> Path:
        """The file with the rows of one batch, named by what is in it, so that it is made only once."""
        import pyarrow

        read = [(entry, read_entry(entry, known, self.layout.thumbnail)) for entry, known in entries]
        told = [(entry.path, found.hash if isinstance(found, Loaded) else found) for entry, found in read]
        name = blake2b(json.dumps([self.model, told]).encode(), digest_size=16).hexdigest()
        path = self.staging / f"{name}.arrow"
        if path.is_file():
            return path
        pictures = [found for _, found in read if isinstance(found, Loaded)]
        rows, broken = encode_rows(self.encoder, self.layout, pictures)
        broken |= {entry.path: found for entry, found in read if isinstance(found, str)}
        notes = {found.entry.path: found.notes for found in pictures if found.notes}
        unreadable = [entry.path for entry, found in read if isinstance(found, Unreadable)]
        about = {
            "broken": broken,
            "unreadable": unreadable,
            "notes": notes,
            "unchanged": sum(found is None for _, found in read),
        }
        rows = rows.replace_schema_metadata({DONE: json.dumps(about)})
        with replacing(path) as unfinished, pyarrow.ipc.new_file(str(unfinished), rows.schema) as writer:
            writer.write_table(rows)
        return path


def _commit(todo: Todo, store: Store, fragments: list[Path]) -> None:
    """All rows of all files, in their order, in one commit."""
    import pyarrow

    def readers() -> Iterator[Any]:
        for path in fragments:
            with pyarrow.memory_map(str(path)) as file:
                yield pyarrow.ipc.open_file(file)

    ids: list[str] = []
    for reader in readers():
        about = json.loads(reader.schema.metadata[DONE])
        todo.refuse(about["broken"] | {path: Unreadable(about["broken"][path]) for path in about.get("unreadable", ())})
        todo.unchanged(about["unchanged"])
        todo.report.notes.update(about.get("notes", {}))
        ids += reader.read_all()["id"].to_pylist()
    plain = schema(store.layout)
    parts = (reader.get_batch(n) for reader in readers() for n in range(reader.num_record_batches))
    columns = (pyarrow.record_batch(part.columns, schema=plain) for part in parts)
    todo.write(pyarrow.RecordBatchReader.from_batches(plain, columns), ids)
