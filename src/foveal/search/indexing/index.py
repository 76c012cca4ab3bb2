"""Building an index, and keeping it up to date with its source."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ...data.files import MOST_BYTES
from ...flow import batched, in_order
from ...writing import replacing
from ..failures import reason_of
from ..lock import alone, is_remote
from ..sources import Entry, Listing, check_source
from ..store import SCORES_VERSION, Layout, Store
from .plan import IndexPlan, Report
from .read import Read, read_entry

if TYPE_CHECKING:
    from ...encoder import Encoder
    from ...encoder.precision import Precision

Engine = Literal["local", "ray"]
_CONTENTS = {"pictures": "pictures", ".tar": "tar shards", ".parquet": "Parquet files", ".json": "JSON files"}


@dataclass(frozen=True)
class Indexing:
    """Builds an index of a source, or brings one up to date.

    New pictures are added, changed ones replaced, those gone are forgotten. Files whose size and time of change are
    the known ones are not read again. Each batch is one commit: stopped at any moment, the index is whole and holds
    all batches but the one in hand, and the same call goes on from there.

    Attributes:
        source: A folder of pictures, or anything `open_source` knows.
        index: A folder or an object store's URI.
        model: The name that the encoder is found by again.
        tokens: Members of each picture's token set.
        regions: Most boxes of each picture.
        batch: Pictures in a commit.
        workers: Threads that read and decode; under Ray, processes that each hold a model.
        engine: "local" encodes in this process, "ray" in workers of a Ray cluster, to one commit at the end.
        staging: Where Ray workers leave finished batches: a folder that all of them see. None: in the index.
        outside: Pictures outside the source, to which links or paths lead, are indexed and their originals given out.
            None: as the last time, at first not.
        forget: Pictures are forgotten even if the source holds something else now, or most of them are gone.
        most: Largest file of a picture that is read, in bytes.
        progress: Show a bar on standard error.
    """

    source: str
    index: str
    model: str = "starter"
    tokens: int = 16
    regions: int = 12
    batch: int = 64
    workers: int = 2
    engine: Engine = "local"
    staging: str | None = None
    outside: bool | None = None
    forget: bool = False
    most: int = MOST_BYTES
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "regions", "batch", "workers", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.engine not in get_args(Engine):
            raise ValueError(f"Engine '{self.engine}' is unknown. Known: {', '.join(get_args(Engine))}.")
        if self.engine == "ray" and self.staging is None and is_remote(self.index):
            raise ValueError(f"Ray workers of '{self.index}' need a folder that all of them see. Name one: --staging")

    def __call__(self, open_encoder: "Callable[[], Encoder]") -> Report:
        """Index, and say what became of the pictures. `report.json` in the index names the broken ones.

        Args:
            open_encoder: Gives the model. Called once here if anything is new, and once in every Ray worker.

        Raises:
            ValueError: If there is no such source, the index is of another source or model, another process writes to
                it, or nothing can be written: the disk is full, or forbids it.
            KeyboardInterrupt: Stopped; the message says how far it came.
        """
        check_source(self.source)
        if not is_remote(self.index) and Path(self.index).exists() and not Path(self.index).is_dir():
            raise ValueError(f"'{self.index}' is a file. Name a folder for the index.")
        encoder = cache(open_encoder)
        try:
            if not Store.is_there(self.index):
                Store.create(self.index, *self._new(encoder()))
            with alone(self.index):
                return self._bring_up_to_date(encoder, open_encoder)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(
                f"Stopped with {self._count} pictures in {self.index}. The same command goes on."
            ) from error
        except (OSError, RuntimeError) as error:
            reason = reason_of(error, self.index)
            if not reason:
                raise
            raise ValueError(
                f"{reason} {self._count} pictures are kept. Once mended, the same command goes on."
            ) from error

    def _bring_up_to_date(self, encoder: "Callable[[], Encoder]", open_encoder: "Callable[[], Encoder]") -> Report:
        """Index what is new. The model is loaded when the first picture has to be encoded."""
        store = Store.open(self.index)
        self._check(store)
        known = cache(lambda: self._checked(store, encoder()))
        if store.facts["model"] != self.model:
            known()
        plan = IndexPlan(self._listing(store), store, forget=self.forget, progress=self.progress)
        with plan.bar:  # closed whatever happens, so that what is said of it has a line of its own
            self._encode(plan, store, known, open_encoder)
            report = plan.finish()
        facts = store.facts
        if facts.get("finished") != store.versions or facts.get("background", {}).get("scores") != SCORES_VERSION:
            from ..scoring import measure_background

            store.finish()
            store.note(background=measure_background(store, known()), finished=store.versions)
        store.snap()
        self._write_report(store, report)
        return report

    @property
    def _count(self) -> int:
        """Number of pictures in the index by now."""
        return Store.open(self.index).count() if Store.is_there(self.index) else 0

    def _encode(
        self, plan: IndexPlan, store: Store, encoder: "Callable[[], Encoder]", open_encoder: "Callable[[], Encoder]"
    ) -> None:
        if self.engine == "ray":
            from .ray import encode_with_ray

            staging = Path(self.staging or Path(self.index) / "staging")
            work = list(batched(plan, self.batch))
            if work:
                encoder()  # refused here, not in a worker, if it is another model
            encode_with_ray(plan, work, store, open_encoder, staging, workers=self.workers)
        else:
            self._encode_here(plan, store, encoder)

    def _new(self, encoder: "Encoder") -> tuple[Layout, dict[str, Any]]:
        """Return the layout of a new index, and the facts about it."""
        from ...encoder.precision import word_of
        from ..fingerprint import probe

        embeddings = probe(encoder)
        facts = {
            "model": self.model,
            "probe": embeddings,
            "precision": word_of(encoder.dtype),
            "source": self._place,
            "protocol": asdict(encoder.protocol),
        }
        return Layout(len(embeddings[0]), len(embeddings[0]), self.tokens, self.regions), facts

    def _checked(self, store: Store, encoder: "Encoder") -> "Encoder":
        """Return the encoder, if it is the index's model.

        Raises:
            ValueError: If it is another.
        """
        from ...encoder.precision import word_of
        from ..fingerprint import same_model

        facts = store.facts
        if not same_model(encoder, facts["probe"]):
            raise ValueError(
                f"'{self.index}' was made with another model than '{self.model}': '{facts['model']}'."
                " Name that one, or make another index."
            )
        if facts.get("precision", "fp32") != word_of(encoder.dtype):
            store.note(precision=word_of(encoder.dtype))
        return encoder

    def _check(self, store: Store) -> None:
        facts, layout = store.facts, store.layout
        if (layout.tokens, layout.regions) != (self.tokens, self.regions):
            raise ValueError(
                f"'{self.index}' holds {layout.tokens} tokens and {layout.regions} regions a picture, not {self.tokens}"
                f" and {self.regions}. Keep these numbers, or make another index."
            )
        if facts["source"] != self._place:
            if Path(facts["source"]).exists():
                raise ValueError(
                    f"'{self.index}' is of '{facts['source']}', not of '{self._place}'. Use another --out."
                )
            store.note(source=self._place)  # the folder was moved

    def _listing(self, store: Store) -> Listing:
        """Return the source, if it holds what it held when it was indexed before.

        Raises:
            ValueError: If it holds something else now, of which nothing that is indexed is a part.
        """
        facts = store.facts
        outside = bool(facts.get("outside")) if self.outside is None else self.outside
        listing = Listing(self.source, outside, self.most, self.progress)
        was, now = facts.get("content", ""), listing.content
        if was and now and was != now and not self.forget:
            raise ValueError(
                f"'{self.index}' is of {_CONTENTS[was]} in '{self.source}', which holds {_CONTENTS[now]} now. Put those"
                " back, use another --out, or forget all that was indexed: --forget"
            )
        rules = {"outside": outside, "content": now or was}
        if any(facts.get(name) != value for name, value in rules.items()):
            store.note(**rules)
        return listing

    @property
    def _place(self) -> str:
        return str(Path(self.source).absolute())

    def _encode_here(self, plan: IndexPlan, store: Store, encoder: "Callable[[], Encoder]") -> None:
        """Do three things at once: read and decode the next batch, embed this one, write the last one."""
        work = partial(_read, store.layout.thumbnail)
        entries = in_order(ThreadPoolExecutor(self.workers), work, plan, ahead=self.batch)
        writing: Future[None] | None = None
        with closing(entries), ThreadPoolExecutor(1) as writer:
            for batch in batched(entries, self.batch):
                pictures = plan.sort_out(batch)
                if not pictures:
                    continue
                from .encode import encode_rows

                rows, broken = encode_rows(encoder(), store.layout, pictures)
                plan.refuse(broken)
                if writing is not None:
                    writing.result()
                writing = writer.submit(plan.write, rows, rows["id"].to_pylist())
            if writing is not None:
                writing.result()

    def _write_report(self, store: Store, report: Report) -> None:
        """Write the report beside the index; into its notes in an object store."""
        if is_remote(self.index):
            store.note(report=asdict(report))
            return
        with replacing(Path(self.index) / "report.json") as unfinished:
            unfinished.write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def precision_of(index: str) -> "Precision":
    """Return the precision in which an index's pictures were encoded last: "auto" where there is no index yet."""
    return Store.open(index).facts.get("precision", "fp32") if Store.is_there(index) else "auto"


def _read(thumbnail: int, item: tuple[Entry, str]) -> tuple[Entry, Read]:
    """Return an entry of a plan with its picture as it was read."""
    entry, known_hash = item
    return entry, read_entry(entry, known_hash, thumbnail)
