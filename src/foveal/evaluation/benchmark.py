"""A benchmark: samples, and the tasks that are measured on them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..types import Box, Sample
from .encoded import Encoded, Encodes, Needs, encode
from .result import Result


@runtime_checkable
class Task(Protocol):
    """One kind of question asked about samples. A task is a frozen dataclass; its fields are its protocol."""

    @property
    def name(self) -> str:
        """What its results are filed under; unlike that of the other tasks of a benchmark."""

    @property
    def unit(self) -> str:
        """What it counts, in the plural."""

    def count(self, samples: Iterable[Sample]) -> int:
        """How many of its units the samples hold."""

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """What must be encoded."""

    def __call__(self, encoded: Encoded) -> Result:
        """Ask."""


@runtime_checkable
class PictureTask(Task, Protocol):
    """A task that looks at pictures themselves: what it needs of an encoder is more than embeddings."""

    def measure(self, encoder: object, samples: Sequence[Sample], load: Callable[[Path], Path | bytes]) -> Result:
        """Ask about pictures, each read when its turn comes."""


@runtime_checkable
class Images(Protocol):
    """Where images are that samples name by path: files, or parts of larger ones."""

    def holds(self, place: Path) -> bool:
        """True if the image is there."""

    def load(self, place: Path) -> Path | bytes:
        """Return what a model reads."""


@dataclass(frozen=True)
class Files:
    """Images that are files of their own."""

    def holds(self, place: Path) -> bool:
        """True if the file is there."""
        return place.is_file()

    def load(self, place: Path) -> Path | bytes:
        """Return the file itself."""
        return place


@dataclass(frozen=True)
class Benchmark:
    """Samples and tasks. Called with an encoder it measures; each picture and text is encoded once for all tasks.

    Attributes:
        samples: Where the samples come from. A picture file may be absent: what is asked about it is counted.
        tasks: What is measured.
        scaled_decoding: Large JPEGs are decoded at a part of their size: faster, and not what was published.
        images: Where the images are that samples name by path.
    """

    samples: Iterable[Sample]
    tasks: tuple[Task, ...]
    scaled_decoding: bool = False
    images: Images = field(default_factory=Files)

    def __call__(self, encoder: Encodes) -> dict[str, Result]:
        """Measure an encoder.

        Args:
            encoder: Of pictures and texts.

        Returns:
            By the tasks' names. `found` and `total` of a result say how much of the benchmark was measured.

        Raises:
            ValueError: If no sample has its picture, or a task finds nothing to ask.
        """
        everything = tuple(self.samples)
        measurable = tuple(with_area(sample) for sample in everything if self._has_picture(sample))
        if not measurable:
            example = f", for example {everything[0].image!s:.200}" if everything else ""
            raise ValueError(f"0 of {len(everything):,} samples have their picture{example}. Get the pictures first.")
        counts = {task.name: task.count(measurable) for task in self.tasks}
        for task in self.tasks:
            if not counts[task.name]:
                raise ValueError(
                    f"{task.name}: none of {len(measurable):,} samples with a picture holds {task.unit}. "
                    "Leave this task out, or bring other samples."
                )
        exact = encoder.decoding(scaled=self.scaled_decoding)
        needs = [task.needs(measurable) for task in self.tasks if not isinstance(task, PictureTask)]
        encoded = encode(exact, measurable, needs, self.images.load) if needs else None
        results = {}
        for task in self.tasks:
            if isinstance(task, PictureTask):
                result = task.measure(exact, measurable, self.images.load)
            else:
                assert encoded is not None
                result = task(encoded)
            found, total = counts[task.name], task.count(everything)
            results[task.name] = replace(result, unit=task.unit, found=found, total=total)
        return results

    def _has_picture(self, sample: Sample) -> bool:
        """The sample carries its picture, or it is there."""
        return isinstance(sample.image, bytes) or self.images.holds(sample.image)


def with_area(sample: Sample) -> Sample:
    """Without boxes that show nothing. Annotators leave a few; they count as not found."""
    regions = tuple(region for region in sample.regions if _area(region.box) > 0)
    return sample if len(regions) == len(sample.regions) else replace(sample, regions=regions)


def _area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)
