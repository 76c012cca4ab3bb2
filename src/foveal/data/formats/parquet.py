"""Parquet: samples as rows of columns, pictures inside. Holds every field of a sample.

Needs `pip install "foveal[parquet]"`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

from ...flow import batched
from ...types import Sample
from ...writing import replacing
from .fields import BY_NAME, Columns
from .folder import files_below
from .paths import expand
from .pictures import encoded
from .rows import joined, picture_of, row_from_sample, sample_from_row, unit_of

BATCH = 64
"""Rows decoded at once: few enough that their pictures fit into memory many times over."""
MOST = 1000
"""Rows of one image that are one sample at most: they are held until another image follows."""


@dataclass(frozen=True)
class Parquet:
    """Samples of Parquet files, read row group by row group.

    Columns are the fields of a JSON line under any of their `SPELLINGS`; the image is a struct of `bytes` and `path`
    (as Hugging Face datasets have it), plain bytes, or a path from the file's own folder. Rows of one image that follow
    one another are one sample, as in `RowFile`; those further apart stay samples of their own. A row without an id goes
    by its file's name and its number there.

    Attributes:
        path: A folder of `*.parquet`, in folders of it too, one file, or a pattern such as "part-{00..09}.parquet".
        columns: Names of the columns of image and captions, where they are none of `SPELLINGS`.
        samples_per_shard: How many samples `write` puts into a row group.
    """

    path: Path
    columns: Columns = BY_NAME
    samples_per_shard: int = 1000
    holds: ClassVar[tuple[str, ...]] = (
        "captions",
        "long_caption",
        "regions",
        "negatives",
        "caption_negatives",
        "long_caption_negatives",
    )

    def shards(self) -> tuple["RowGroup", ...]:
        """Return the row groups of all files."""
        files = files_below(self.path, (".parquet",)) if self.path.is_dir() else expand(self.path)
        return tuple(group for file in files for group in _row_groups(file, self.columns))

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If a row is no sample. The message names file, row group and row.
        """
        return (record() for shard in self.shards() for record in shard.records())

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples with their pictures to one file, and return their number."""
        parquet, schema, written, rest = _pyarrow()[1], _schema(), 0, iter(samples)
        with replacing(self.path) as unfinished, parquet.ParquetWriter(unfinished, schema) as writer:
            for group in batched(rest, self.samples_per_shard):
                writer.write_table(_table(group, schema))
                written += len(group)
        return written


@dataclass(frozen=True)
class RowGroup:
    """The samples of one row group.

    Attributes:
        path: The file.
        number: Which of the file's row groups.
        first: The number of its first row in the file.
        columns: Names that a user gave.
    """

    path: Path
    number: int
    first: int = 0
    columns: Columns = BY_NAME

    def records(self) -> Iterator[Callable[[], Sample]]:
        """Yield the rows, not yet checked; calling one gives the sample. Those of one image are one record."""
        rows: list[tuple[int, dict[str, Any]]] = []
        image: str | bytes = b""
        caption = ""
        for number, row in enumerate(self._rows()):
            try:
                now, long = unit_of(row, self.columns)
            except ValueError:  # its sample says what is wrong with it
                now, long = b"", ""
            if rows and not (now and now == image and len(rows) < MOST and (not long or long == (caption or long))):
                yield partial(self._sample, rows)
                rows, caption = [], ""
            rows.append((number, row))
            image, caption = now, caption or long
        if rows:
            yield partial(self._sample, rows)

    def _rows(self) -> Iterator[dict[str, Any]]:
        arrow, parquet = _pyarrow()
        try:
            with parquet.ParquetFile(self.path) as file:
                # threads of its own do not live through the fork of a loader's worker
                for batch in file.iter_batches(BATCH, row_groups=[self.number], use_threads=False):
                    yield from batch.to_pylist()
        except arrow.ArrowException as error:
            raise ValueError(f"{self.path}: row group {self.number} is damaged: {error}") from error

    def _sample(self, rows: list[tuple[int, dict[str, Any]]]) -> Sample:
        """Return the sample of rows of one image."""
        samples = []
        for number, row in rows:
            identity = f"{self.path.stem}/{self.first + number}"
            try:
                image = picture_of(row, self.columns)
                place = self.path.parent / image if isinstance(image, str) else image
                samples.append(sample_from_row(row, place, self.columns, id=identity))
            except (TypeError, ValueError) as error:
                where = f"row group {self.number}, row {number}"
                raise ValueError(f"{self.path}: {where}: not a sample: {error}") from error
        return joined(samples)


def _pyarrow() -> tuple[Any, Any]:
    """Import the optional package, and its Parquet half."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("Parquet needs pyarrow. Install it: pip install 'foveal[parquet]'.") from error
    return pyarrow, pyarrow.parquet


def _row_groups(path: Path, columns: Columns) -> Iterator[RowGroup]:
    """Yield the row groups of a file.

    Raises:
        ValueError: If it is no Parquet file, or none of its columns holds images.
    """
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            counts = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    except arrow.ArrowException as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error
    columns.check(names, path)
    firsts = accumulate(counts, initial=0)
    return (RowGroup(path, number, first, columns) for number, first in zip(range(len(counts)), firsts, strict=False))


def _schema() -> Any:
    """Build the schema of the columns that `write` makes."""
    arrow = _pyarrow()[0]
    negatives = arrow.list_(arrow.struct({"text": arrow.string(), "kind": arrow.string()}))
    region = {"box": arrow.list_(arrow.float64()), "phrase": arrow.string(), "negatives": negatives}
    return arrow.schema(
        {
            "id": arrow.string(),
            "image": arrow.struct({"bytes": arrow.binary(), "path": arrow.string()}),
            "captions": arrow.list_(arrow.string()),
            "long_caption": arrow.string(),
            "regions": arrow.list_(arrow.struct(region)),
            "caption_negatives": negatives,
            "long_caption_negatives": negatives,
        }
    )


def _table(samples: Iterable[Sample], schema: Any) -> Any:
    """Build a table from samples."""
    rows = [{**row_from_sample(sample), "image": {"bytes": encoded(sample)}} for sample in samples]
    return _pyarrow()[0].Table.from_pylist(rows, schema=schema)
