"""Measure a model on a file of your own: retrieval both ways, hard negatives, boxes, each with its interval."""

from pathlib import Path

from foveal import evaluate, load
from foveal.data import Jsonl, Scenes
from foveal.evaluation.report import table

data = Path("mine.jsonl")
if not data.exists():
    Jsonl(data).write(Scenes(seed=2, count=12, size=64))

report = evaluate(load("starter", device="cpu"), [str(data)], Path(), model="starter")
report.write(Path("reports/starter"))  # for `foveal compare` and `foveal board`
print(table([report]))
