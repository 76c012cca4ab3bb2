"""Parquet: samples as rows of columns, pictures inside. Holds every field of a sample.

Needs `pip install "foveal[parquet]"`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ...types import Sample
from .folder import files_below
from .paths import expand, replacing
from .pictures import encoded
from .rows import row_from_sample, sample_from_row

BATCH = 64
"""Rows decoded at once: few enough that their pictures fit into memory many times over."""


@dataclass(frozen=True)
class Parquet:
    """Samples of Parquet files, read row group by row group.

    Columns are the fields of a JSON line, and `image` is a struct of `bytes` and `path` (as Hugging Face datasets
    have it), plain bytes, or a path from the file's own folder.

    Attributes:
        path: A folder of `*.parquet`, in folders of it too, one file, or a pattern such as "part-{00..09}.parquet".
        samples_per_shard: How many samples `write` puts into a row group.
    """

    path: Path
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
        """The row groups of all files."""
        files = files_below(self.path, (".parquet",)) if self.path.is_dir() else expand(self.path)
        return tuple(RowGroup(file, number) for file in files for number in range(_row_groups(file)))

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
            while group := list(islice(rest, self.samples_per_shard)):
                writer.write_table(_table(group, schema))
                written += len(group)
        return written


@dataclass(frozen=True)
class RowGroup:
    """The samples of one row group.

    Attributes:
        path: The file.
        number: Which of the file's row groups.
    """

    path: Path
    number: int

    def records(self) -> Iterator[Callable[[], Sample]]:
        """The rows, read but not yet checked; calling one gives the sample."""
        row_number = 0
        arrow, parquet = _pyarrow()
        try:
            with parquet.ParquetFile(self.path) as file:
                # threads of its own do not live through the fork of a loader's worker
                for batch in file.iter_batches(BATCH, row_groups=[self.number], use_threads=False):
                    for row in batch.to_pylist():
                        yield partial(_sample, self.path, f"row group {self.number}, row {row_number}", row)
                        row_number += 1
        except arrow.ArrowException as error:
            raise ValueError(f"{self.path}: row group {self.number} is damaged: {error}") from error


def _pyarrow() -> tuple[Any, Any]:
    """The optional package, and its Parquet half."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("Parquet needs pyarrow. Install it: pip install 'foveal[parquet]'.") from error
    return pyarrow, pyarrow.parquet


def _row_groups(path: Path) -> int:
    """How many row groups a file has."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            return int(file.num_row_groups)
    except arrow.ArrowException as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error


def _schema() -> Any:
    """The columns that `write` makes."""
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
    """Samples as columns."""
    rows = [{**row_from_sample(sample), "image": {"bytes": encoded(sample)}} for sample in samples]
    return _pyarrow()[0].Table.from_pylist(rows, schema=schema)


def _sample(path: Path, where: str, row: dict[str, Any]) -> Sample:
    """The sample of one row."""
    try:
        image = row.get("image")
        if isinstance(image, dict):
            image = image.get("bytes") or image.get("path")
        if not isinstance(image, bytes | str) or not image:
            raise ValueError("no picture in column 'image'")
        return sample_from_row(row, path.parent / image if isinstance(image, str) else image)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {where}: not a sample: {error}") from error
