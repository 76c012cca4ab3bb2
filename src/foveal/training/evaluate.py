"""Evaluation while a model trains: numbers for the log, the best model so far, and a reason to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluation of a dual encoder on protocols, as `foveal eval` does it. Does not change the training.

    Attributes:
        every: Steps between evaluations; the last step is evaluated, too. 0: nothing is.
        protocols: Names, groups such as "@long", or files of one's own.
        root: Folder with the protocols' files.
        limit: Rows of each protocol that are measured. None: all.
        decisive: Number, higher is better, that says which model is the best, such as "coco/retrieval/R@1". Empty: the
            first.
        patience: Evaluations in a row without a better number, after which the training ends. 0: it never does.
    """

    every: int = 0
    protocols: tuple[str, ...] = ()
    root: Path = Path()
    limit: int | None = None
    decisive: str = ""
    patience: int = 0

    def check(self) -> None:
        """Refuse names that nothing stands for, before the first step.

        Raises:
            ValueError: If there is one, or there are none.
        """
        from ..evaluation.evaluate import check_names

        if not self.protocols:
            raise ValueError("evaluate.every needs something to measure: --set evaluate.protocols=urban1k@1000.")
        check_names(self.protocols)

    def __call__(self, folder: Path) -> dict[str, float]:
        """Measure the model of a folder. Return the numbers by "protocol/task/metric"."""
        from ..encoder import Encoder
        from ..evaluation.evaluate import evaluate

        report = evaluate(Encoder.open(folder, progress=False), self.protocols, self.root, limit=self.limit)
        return {
            f"{name}/{task}/{metric}": number.value
            for name, task, result in report.rows()
            for metric, number in result.metrics.items()
        }


@dataclass(frozen=True)
class Standing:
    """Where a training stands among its evaluations so far.

    Attributes:
        best: The highest decisive number. None: there was no evaluation.
        since: Evaluations since then.
    """

    best: float | None = None
    since: int = 0

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]], decisive: str) -> "Standing":
        """Return where a training stands after the records of its log."""
        standing = cls()
        for record in records:
            if "evaluation" in record:
                standing = standing.after(record["evaluation"], decisive)
        return standing

    def after(self, numbers: Mapping[str, float], decisive: str) -> "Standing":
        """Return where it stands after one more evaluation.

        Raises:
            ValueError: If the decisive number is not there. The message lists those there are.
        """
        name = decisive or next(iter(numbers), "")
        if name not in numbers:
            raise ValueError(f"evaluate.decisive is '{name}', which was not measured. There are: {', '.join(numbers)}.")
        if self.best is None or numbers[name] > self.best:
            return Standing(numbers[name])
        return Standing(self.best, self.since + 1)
