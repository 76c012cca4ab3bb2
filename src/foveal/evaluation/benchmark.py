"""A benchmark: samples, and the tasks that are measured on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Benchmark:
    """Samples and tasks. Called with an encoder it measures; each picture and text is encoded once for all tasks.

    Attributes:
        samples: Where the samples come from. A picture file may be absent: what is asked about it is counted.
        tasks: What is measured.
        scaled_decoding: Large JPEGs are decoded at a part of their size: faster, and not what was published.
    """

    samples: Iterable[Sample]
    tasks: tuple[Task, ...]
    scaled_decoding: bool = False

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
        here = tuple(_with_area(sample) for sample in everything if has_picture(sample))
        if not here:
            example = f", for example {everything[0].image!s:.200}" if everything else ""
            raise ValueError(f"0 of {len(everything):,} samples have their picture{example}. Get the pictures first.")
        found = {task.name: task.count(here) for task in self.tasks}
        for task in self.tasks:
            if not found[task.name]:
                raise ValueError(
                    f"{task.name}: none of {len(here):,} samples with a picture holds {task.unit}. "
                    "Leave this task out, or bring other samples."
                )
        exact = encoder.decoding(scaled=self.scaled_decoding)
        encoded = encode(exact, here, [task.needs(here) for task in self.tasks])
        return {
            task.name: replace(task(encoded), unit=task.unit, found=found[task.name], total=task.count(everything))
            for task in self.tasks
        }


def has_picture(sample: Sample) -> bool:
    """The sample carries its picture, or the file is there."""
    return isinstance(sample.image, bytes) or sample.image.is_file()


def _with_area(sample: Sample) -> Sample:
    """Without boxes that show nothing. Annotators leave a few; they count as not found."""
    regions = tuple(region for region in sample.regions if _area(region.box) > 0)
    return sample if len(regions) == len(sample.regions) else replace(sample, regions=regions)


def _area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)
