"""What the data engine's output is worth in training, beside exact annotations of the same pictures.

FG-CLIP's demo recipe is trained three times on the same scenes: on exact regions without near misses, on exact regions
with exact near misses, and on what the engine makes of the long captions alone. Measured is how often a region's own
phrase is preferred to all its near misses, on scenes of compositions never seen. Asked: the engine reaches 90 % of the
gain that exact near misses bring.

A run that was stopped goes on where it was: finished shards and trainings in `--out` are taken as they are. All of it
takes some 25 minutes on one core, of which the trainings take most; each shows its own progress.

Boxes are the truth's by default, so that phrases and near misses are what is measured. `--ground FOLDER` lets a model's
dense features find them instead, "baseline" the first of the three models.
"""

import json
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from annotation_quality import fitting
from foveal.annotation.detectors import Detection, Proposed
from foveal.annotation.run.engine import LOOKED_AT
from foveal.annotation.stage import Dropped
from foveal.annotation.stages.filter import Filter
from foveal.annotation.stages.ground import Choice, Ground, intersection_over_union, open_phrases
from foveal.annotation.stages.negatives import Negatives
from foveal.annotation.stages.phrases import Parser, Phrases
from foveal.data.formats import WebDataset
from foveal.data.scenes import Scenes
from foveal.detection.dense import Dense
from foveal.encoder import Encoder
from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.choice import RegionChoice
from foveal.recipes import fg_clip
from foveal.training.run import Run
from foveal.training.start import train
from foveal.types import Sample


@dataclass(frozen=True)
class TrueBoxes:
    """Puts a phrase that fits one tile of a scene only into its box.

    Of those for one tile, that of the most words stays, and "a" comes before "the", which only has a sense in context.
    """

    scenes: Scenes

    def __call__(self, sample: Sample) -> Sample:
        """The sample, each tile in its box."""
        index = int(sample.id.rsplit("-", 1)[1])
        tiles, boxes = self.scenes.truth(index).tiles, self.scenes.boxes(index)
        found = []
        for number, region in enumerate(open_phrases(sample)):
            fits, count = fitting(region.phrase, self.scenes.truth(index))
            if len(fits) == 1 and count is None:
                x0, y0, x1, y1 = (edge / self.scenes.size for edge in boxes[tiles.index(fits[0])])
                words = region.phrase.lower().split()
                found.append(Detection(number, (x0, y0, x1, y1), len(words) - words.count("the") / 10))
        return Choice().place(sample, found)


def annotated(scenes: Scenes, encoder: Encoder | None, parser: Parser) -> Iterator[Sample]:
    """What the engine makes of the pictures and their long captions, and nothing else of them."""
    ground = TrueBoxes(scenes) if encoder is None else Ground(Proposed(Dense(encoder)))
    plain = (replace(exact, regions=()) for exact in islice(scenes, LOOKED_AT))
    stages = (Phrases(parser), ground, Negatives().prepared(plain), Filter())
    for exact in scenes:
        sample = replace(exact, regions=(), caption_negatives=(), long_caption_negatives=())
        try:
            for stage in stages:
                sample = stage(sample)
        except Dropped:
            continue
        yield sample


def accuracy_of_boxes(scenes: Scenes, samples: list[Sample]) -> float:
    """Share of regions in percent that overlap the box of a tile that their phrase fits by one half."""
    right = total = 0
    for sample in samples:
        index = int(sample.id.rsplit("-", 1)[1])
        truth, boxes = scenes.truth(index), scenes.boxes(index)
        for region in sample.regions:
            fits, _ = fitting(region.phrase, truth)
            pixels = [boxes[truth.tiles.index(tile)] for tile in fits]
            exact = [tuple(edge / scenes.size for edge in box) for box in pixels]
            total += 1
            right += any(intersection_over_union(region.box, (a, b, c, d)) >= 0.5 for a, b, c, d in exact)
    return 100 * right / max(total, 1)


def trained(name: str, run: Run, shards: Path, out: Path, changes: list[str]) -> Encoder:
    """The model of a training that is done, or done now."""
    folder = out / name
    if not (folder / "model.safetensors").is_file():
        changes = [*changes, "machine.checkpoint_every=100"]
        train(run, folder, data=[str(shards)], changes=changes, resume=(folder / "run.json").is_file())
    return Encoder.open(folder)


def measured(encoder: Encoder, count: int) -> dict[str, float]:
    """How often a region's phrase is preferred to its near misses, to all of them and by their kind, in percent."""
    scenes = Scenes(split="test", count=count, size=encoder.image_size)
    result = Benchmark(scenes, (RegionChoice(),))(encoder)["region_choice"]
    return {name: metric.value for name, metric in result.metrics.items()}


def shards_of(samples: Iterable[Sample], folder: Path, count: int) -> Path:
    """The samples as shards, written once."""
    if not (folder / "done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        WebDataset(folder, samples_per_shard=500).write(iter(tqdm(samples, desc=folder.name, total=count)))
        (folder / "done").touch()
    return folder


def claim(given: Namespace) -> None:
    """Refuse a folder whose shards and models were made with other options."""
    told = {name: value for name, value in vars(given).items() if name != "out"}
    file = given.out / "options.json"
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != told:
        raise SystemExit(f"{given.out} was made with other options ({file}). Use those, or another --out.")
    given.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def measure(given: Namespace) -> None:
    claim(given)
    run = replace(fg_clip.smoke() if given.smoke else fg_clip.demo(), seed=given.seed)
    count = 48 if given.smoke else given.scenes
    test = 24 if given.smoke else given.test
    run = run if given.steps is None else replace(run, steps=given.steps)
    scenes = Scenes(given.seed, count=count, size=run.model.vision.image_size)
    exact = shards_of(scenes, given.out / "shards_exact", count)
    encoders = {"baseline": trained("baseline", run, exact, given.out, ["data.negatives=0"])}
    eyes = encoders["baseline"] if given.ground == "baseline" else given.ground and Encoder.open(Path(given.ground))
    engine = shards_of(annotated(scenes, eyes or None, given.parser), given.out / "shards_engine", count)
    samples = list(WebDataset(engine))
    regions = [region for sample in samples for region in sample.regions]
    told = {
        "samples": len(samples),
        "regions a picture": len(regions) / len(samples),
        "near misses a region": sum(len(region.negatives) for region in regions) / max(1, len(regions)),
        "boxes right at an overlap of 0.5, %": accuracy_of_boxes(scenes, samples),
    }
    print("engine:", ", ".join(f"{name} {value:.4g}" for name, value in told.items()))
    encoders["exact"] = trained("exact", run, exact, given.out, [])
    encoders["engine"] = trained("engine", run, engine, given.out, [])
    scores = {name: measured(encoder, test) for name, encoder in encoders.items()}
    for name, score in scores.items():
        print(f"{name:9s}", ", ".join(f"{kind} {value:.1f}" for kind, value in score.items()))
    base, best, own = (scores[name]["top1"] for name in ("baseline", "exact", "engine"))
    share = 100 * (own - base) / (best - base) if best != base else float("nan")
    print(f"gain: exact {best - base:+.1f}, engine {own - base:+.1f}: {share:.0f} % of it (asked: 90 %)")
    record = {"told": told, "scores": scores, "share": share}
    (given.out / "gain.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/annotation_gain"), help="The folder of all results.")
    parser.add_argument("--scenes", type=int, default=8000, help="Pictures to train on.")
    parser.add_argument("--steps", type=int, help="Updates of each training. Default: the demo recipe's.")
    parser.add_argument("--seed", type=int, default=0, help="Of the pictures and the order.")
    parser.add_argument("--test", type=int, default=1000, help="Scenes to measure on.")
    parser.add_argument("--parser", default="best", help="spacy, rules, or best: spaCy if it is installed.")
    parser.add_argument("--ground", help='A model folder whose dense features find the boxes, or "baseline".')
    parser.add_argument("--smoke", action="store_true", help="Seconds: shows that it runs, not what it learns.")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
