"""Benchmarks of made-up pictures by name; those of published data are pinned, see `pinned.registry`."""

from collections.abc import Callable

from ..data.scenes import Scenes
from .benchmark import Benchmark, Task
from .choice import CaptionChoice, RegionChoice
from .regions import RegionRetrieval
from .retrieval import Retrieval

SCENE_TASKS: tuple[Task, ...] = (
    Retrieval("caption"),
    Retrieval("long_caption"),
    CaptionChoice("caption"),
    CaptionChoice("long_caption"),
    RegionChoice(),
    RegionRetrieval(),
)

# Families of four scenes that differ in one fact each, told in 96 to 168 tokens: the fact may stand beyond the 77th.
LONG_SCENES = Scenes(split="test", count=1000, objects=(4, 5), siblings=4)


BENCHMARKS: dict[str, Callable[[], Benchmark]] = {
    "scenes@test1000": lambda: Benchmark(Scenes(split="test", count=1000), SCENE_TASKS),
    "scenes-long@test1000": lambda: Benchmark(LONG_SCENES, (Retrieval("long_caption"),)),
}
