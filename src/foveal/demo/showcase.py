"""The demo: scenes, recipes trained on them alike, and their scores on unseen scenes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..data.scenes import Scenes, write_notice, write_shards
from ..encoder import Encoder
from ..evaluation.evaluate import evaluate
from ..evaluation.report import Report, read_report, table
from ..models import weights
from ..models.dual_encoder import DualEncoder
from ..recipes import clip
from ..recipes.lookup import find
from ..training.run import Run
from ..training.start import train
from .page import write_page

SCENE_BENCHMARKS = ("scenes@test1000", "scenes-long@test1000")


@dataclass(frozen=True, kw_only=True)
class Showcase:
    """The recipes that are compared, and the amount of data.

    Attributes:
        recipes: Names of recipes that have a `demo`.
        scenes: Pictures to train on.
        steps: Updates of each training. None: what the recipes' demos have.
        seed: Of the pictures, the common start and the order.
        queries: Long queries shown on the page.
    """

    recipes: tuple[str, ...] = ("clip", "foveal")
    scenes: int = 8000
    steps: int | None = None
    seed: int = 0
    queries: int = 6

    def __call__(self, out: Path, say: Callable[[str], None]) -> str:
        """Do it all, or what is missing of it.

        Every recipe sees the same pictures in the same order for as many steps, and begins with the same weights as
        far as its towers are the same.

        Args:
            out: The folder of results. What an interrupted showcase left there is used.
            say: Is told what begins.

        Returns:
            The comparison as a table.

        Raises:
            ValueError: If `out` holds something else.
        """
        runs = {name: self._run(name) for name in self.recipes}  # a misspelt one is refused before any work
        shards, beginning = out / "scenes", out / "start"
        self._claim(out)
        say(f"1. {self.scenes:,} scenes: pictures with long captions, regions and hard negatives")
        self._make_scenes(shards)
        self._make_start(beginning)
        for name, run in runs.items():
            say(f"2. Training {name}")
            _train(run, out / name, shards, beginning)
        reports = []
        for name in runs:
            say(f"3. Measuring {name} on scenes of compositions never seen")
            reports.append(_measure(name, out / name))
        best = self.recipes[-1]
        write_notice(out)  # the page shows scenes, too
        say(f"4. A page of queries answered by {best}")
        write_page(out / "index.html", Encoder.open(out / best), reports, queries=self.queries)
        text = table(reports)
        (out / "comparison.txt").write_text(text + "\n", encoding="utf-8")
        return text

    def _claim(self, out: Path) -> None:
        settings = {"scenes": self.scenes, "steps": self.steps, "seed": self.seed}
        path = out / "showcase.json"
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != settings:
            raise ValueError(f"{out} was made with other settings. Remove it or choose another folder.")
        if out.exists() and any(out.iterdir()) and not path.is_file():
            raise ValueError(f"{out} holds something else. Choose another folder.")
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")

    def _make_scenes(self, shards: Path) -> None:
        if (shards / "ATTRIBUTION.txt").is_file():
            return
        for unfinished in shards.glob("*"):
            unfinished.unlink()
        source = Scenes(self.seed, count=self.scenes, size=clip.demo().model.vision.image_size)
        with tqdm(source, unit="scene") as samples:
            write_shards(samples, shards, 500)

    def _make_start(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            torch.manual_seed(self.seed)
            weights.save(DualEncoder(clip.demo().model), folder)

    def _run(self, name: str) -> Run:
        run = replace(find(f"{name}:demo")(), seed=self.seed)
        return run if self.steps is None else replace(run, steps=self.steps)


def _train(run: Run, out: Path, shards: Path, beginning: Path) -> None:
    if (out / "model.safetensors").is_file():
        return
    same_towers = run.model.vision.pooling == "class"
    resume = (out / "run.json").is_file()
    train(run, out, data=[str(shards)], init=beginning if same_towers else None, resume=resume, changes=[])


def _measure(name: str, folder: Path) -> Report:
    if not (folder / "report.json").is_file():
        evaluate(Encoder.open(folder), SCENE_BENCHMARKS, Path(), model=name).write(folder)
    return read_report(folder)
