"""Output of annotated samples: a format by its name, and the folder beside it that remembers the run."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...data.formats import CsvPairs, FineHard, Jsonl, Parquet, WebDataset
from ...types import Negative, Sample

KINDS = "*.jsonl, *.json (FineHARD), *.parquet, *.csv, *.tsv, *.tar, or a folder (WebDataset shards)"


Writer = CsvPairs | FineHard | Jsonl | Parquet | WebDataset


@dataclass(frozen=True)
class Output:
    """A file or folder of samples, and beside it `NAME.annotation` with the run's memory and report.

    Attributes:
        path: Its ending says which format.
    """

    path: Path

    @property
    def memory(self) -> Path:
        """The folder of the journal, the answers and the report."""
        return self.path.with_name(f"{self.path.name}.annotation")

    @property
    def is_there(self) -> bool:
        """True if something stands where the samples are to go."""
        return any(self.path.iterdir()) if self.path.is_dir() else self.path.exists()

    def writer(self) -> Writer:
        """Return the format.

        Raises:
            ValueError: If no format has this ending.
        """
        ending = self.path.suffix.lower()
        if ending == ".json":
            return FineHard(self.path)
        if ending == ".parquet":
            return Parquet(self.path)
        if ending in (".jsonl", ".jsonlines"):
            return Jsonl(self.path)
        if ending in (".csv", ".tsv"):
            return CsvPairs(self.path, separator="\t" if ending == ".tsv" else ",")
        if ending in ("", ".tar") or self.path.is_dir():
            return WebDataset(self.path)
        raise ValueError(f"'{self.path}' is of no known kind to write. Known: {KINDS}.")

    def clear(self) -> None:
        """Take away what an earlier run wrote; nothing else that may lie in the folder.

        Raises:
            ValueError: If a folder holds something else.
        """
        if not self.path.is_dir():
            self.path.unlink(missing_ok=True)
            return
        strangers = [path.name for path in self.path.iterdir() if not path.match("shard-*.tar")]
        if strangers:
            raise ValueError(f"Folder '{self.path}' holds more than shards ({strangers[0]}, ...). Empty it yourself.")
        for shard in self.path.iterdir():
            shard.unlink()


def fitting(samples: Iterable[Sample], writer: Writer, left_out: Counter[str]) -> Iterator[Sample]:
    """Yield samples without what a format cannot hold.

    Args:
        samples: Whole.
        writer: The format.
        left_out: Counts, by field, what was taken away.
    """
    one_caption = isinstance(writer, FineHard | CsvPairs)
    no_kinds = isinstance(writer, FineHard)
    for sample in samples:
        fit = sample
        for field in ("captions", "long_caption", "regions", "caption_negatives", "long_caption_negatives"):
            if field not in writer.holds and getattr(fit, field):
                left_out[field] += 1
                fit = replace(fit, **{field: type(getattr(fit, field))()})
        if one_caption and len(fit.captions) > 1:
            left_out["captions but the first"] += len(fit.captions) - 1
            fit = replace(fit, captions=fit.captions[:1])
        if no_kinds:
            kinds = sum(bool(negative.kind) for region in fit.regions for negative in region.negatives)
            left_out["kinds of near misses"] += kinds
            plain = (tuple(Negative(negative.text) for negative in region.negatives) for region in fit.regions)
            regions = (replace(region, negatives=texts) for region, texts in zip(fit.regions, plain, strict=True))
            fit = replace(fit, regions=tuple(regions))
        yield fit
