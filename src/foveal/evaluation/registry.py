"""Every benchmark by name. A new one is a line here; what it looks for in the data folder stands in `sources`.

The folder holds, as far as the benchmarks asked for need it: `coco/images/` or `coco/val2017/` (photos named as
COCO names them), `coco/annotations.json` or `coco/annotations/instances_val2017.json`, `fg_ovd/*.jsonl`,
`sugar_crepe/*.json`, and `captions/coco_captions_val2017.json` or `coco/annotations/captions_val2017.json`.
"""

from collections.abc import Callable
from pathlib import Path

from ..data.scenes import Scenes
from .benchmark import Benchmark, Task
from .choice import CaptionChoice, RegionChoice
from .classification import imagenet_prompts
from .regions import RegionClassification, RegionRetrieval
from .retrieval import Retrieval
from .sources import CocoBoxes, CocoCaptions, FgOvd, SugarCrepe

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


def fg_ovd(root: Path, file: str) -> Benchmark:
    """One of FG-OVD's files: regions and near misses of their phrases.

    Args:
        root: The data folder.
        file: Its name in `fg_ovd/`.
    """
    return Benchmark(FgOvd(_first(root, f"fg_ovd/{file}"), _photos(root)), (RegionChoice(),))


def sugar_crepe(root: Path) -> Benchmark:
    """SugarCrepe: captions and near misses of seven kinds."""
    return Benchmark(SugarCrepe(_first(root, "sugar_crepe"), _photos(root)), (CaptionChoice(),))


def coco_captions(root: Path) -> Benchmark:
    """COCO val2017: 5,000 photos, five captions each."""
    path = _first(root, "coco/annotations/captions_val2017.json", "captions/coco_captions_val2017.json")
    return Benchmark(CocoCaptions(path, _photos(root)), (Retrieval("caption"),))


def coco_boxes(root: Path) -> Benchmark:
    """COCO's boxes: which of all classes is in each, with CLIP's 80 prompts (FG-CLIP's protocol)."""
    source = CocoBoxes(_first(root, "coco/annotations/instances_val2017.json", "coco/annotations.json"), _photos(root))
    return Benchmark(source, (RegionClassification(source.classes, imagenet_prompts()),))


BENCHMARKS: dict[str, Callable[[Path], Benchmark]] = {
    "scenes": lambda _: Benchmark(Scenes(split="test", count=1000), SCENE_TASKS),
    "scenes_long": lambda _: Benchmark(LONG_SCENES, (Retrieval("long_caption"),)),
    "fg_ovd_hard": lambda root: fg_ovd(root, "h_attributes_llava.jsonl"),
    "fg_ovd_medium": lambda root: fg_ovd(root, "m_attributes_llava.jsonl"),
    "fg_ovd_easy": lambda root: fg_ovd(root, "e_attributes_llava.jsonl"),
    "fg_ovd_trivial": lambda root: fg_ovd(root, "shuffle_negatives_llava.jsonl"),
    "sugar_crepe": sugar_crepe,
    "coco_captions": coco_captions,
    "coco_boxes": coco_boxes,
}


def _photos(root: Path) -> Path:
    return _first(root, "coco/val2017", "coco/images")


def _first(root: Path, *names: str) -> Path:
    """The first of several places that is there."""
    for name in names:
        if (root / name).exists():
            return root / name
    raise ValueError(f"{root} has no {' nor '.join(names)}. Put it there, or give another data folder.")
