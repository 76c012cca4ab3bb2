"""From a protocol's rows to samples and the task that measures them, with the protocol's scoring rules."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from PIL import Image

from ...data.classes import class_names, ov_coco
from ...data.formats.boxes import Frame, frame_of
from ...encoder.segmenting import Segmenting
from ...types import Negative, Region, Sample
from ..benchmark import Benchmark, Task
from ..choice import CaptionChoice, Draws, Levels, RegionChoice
from ..classification import Classification, imagenet_prompts
from ..detection import DetectionTask, frequencies
from ..gallery import GroupedGallery, Ranking
from ..group_choice import GroupChoice, Score
from ..growing import Growing
from ..oracle_boxes import OracleBoxes
from ..regions import RegionClassification
from ..retrieval import Direction, Retrieval
from ..segmentation import SegmentationTask
from ..two_positives import TwoPositives
from .canonical import Box, Captions, Case, Edges, Label, Ladder, Mask, ordered, stem
from .readers import boxes
from .readers.crops import Crops
from .reading import Data
from .registry import Pinned

log = logging.getLogger(__name__)

_VOC_CLASSES = 20  # the first of the names that are asked for with a background of rest


@dataclass(frozen=True)
class Measured:
    """Samples in canonical order, the task that is asked, and where the images are.

    Attributes:
        samples: One per row, or per image of a row.
        task: What is asked.
        data: Rows and images.
    """

    samples: tuple[Sample, ...]
    task: Task
    data: Data

    def benchmark(self, *, scaled_decoding: bool = False) -> Benchmark:
        """Return what measures an encoder."""
        return Benchmark(self.samples, (self.task,), scaled_decoding=scaled_decoding, images=self.data.images)


def measured(pinned: Pinned, data: Data, limit: int | None = None) -> Measured:
    """Return what a protocol measures.

    Args:
        pinned: The protocol.
        data: As a reader gave it.
        limit: Rows that are measured, the first in canonical order. None: all. A part is not the protocol.

    Raises:
        ValueError: If the protocol cannot be run, or a row lacks what its task needs.
    """
    if not pinned.runnable:
        raise ValueError(f"{pinned.name} is known and not run here: {pinned.why_not}.")
    rows = ordered(data.rows)[:limit]
    return _BUILD[pinned.task](pinned, replace(data, rows=tuple(rows)))


def _retrieval(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Captions]", data.rows)
    samples = [Sample(stem(row.image), data.images.place(row.image), captions=row.texts) for row in rows]
    task = Retrieval(
        read_as=pinned.kind,
        equal_texts=pinned.equal_texts,
        ties=pinned.ties,
        directions=cast("tuple[Direction, ...]", pinned.directions),
    )
    return Measured(tuple(samples), task, data)


def _grouped(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Captions]", data.rows)
    zooms, target = pinned.options["zooms"], pinned.options["target"]
    samples = [
        Sample(f"{stem(row.image)}/{zoom}", _zoomed(data, zoom, row.image), row.texts if zoom == target else ())
        for row in rows
        for zoom in zooms
    ]
    task = GroupedGallery(kind=pinned.kind, equal_texts=pinned.equal_texts, ties=pinned.ties)
    return Measured(tuple(samples), task, data)


def _zoomed(data: Data, zoom: str, image: str) -> Path:
    return data.images.place(f"{zoom}/{image}")


def _ranking(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Case]", data.rows)
    queries = [Sample(f"query/{row.id}", data.images.place(row.images[0]), captions=row.right) for row in rows]
    names = dict.fromkeys(name for row in rows for name in row.images[1:])
    gallery = [Sample(name, data.images.place(name)) for name in names]
    right = {f"query/{row.id}": row.images[1:] for row in rows}
    return Measured((*queries, *gallery), Ranking(right=right, kind=pinned.kind), data)


def _choice(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Case]", data.rows)
    crops: dict[Path, tuple[Path, Edges]] = {}
    samples = []
    for row in rows:
        image = data.images.place(row.images[0])
        if row.box is not None:
            whole, image = image, Path(f"{image}#{row.id}")
            crops[image] = (whole, row.box)
        negatives = tuple(Negative(text, row.kind) for text in row.wrong)
        samples.append(Sample(row.id, image, captions=row.right[:1], caption_negatives=negatives))
    if crops:
        data = replace(data, images=Crops(data.images, crops))
    task = CaptionChoice(
        ties=_draws(pinned), levels=_levels(pinned), together=pinned.options.get("negatives") == "together"
    )
    return Measured(tuple(samples), task, data)


def _two_positives(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Case]", data.rows)
    blind = bool(pinned.options.get("texts_only"))
    samples = [
        Sample(
            id=row.id,
            image=NO_IMAGE if blind else data.images.place(row.images[0]),
            captions=row.right,
            caption_negatives=(Negative(row.wrong[0], row.kind),),
        )
        for row in rows
    ]
    return Measured(tuple(samples), TwoPositives(texts_only=blind), data)


def _blank() -> bytes:
    file = BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    return file.getvalue()


NO_BOX = (0.0, 0.0, 0.0, 0.0)
NO_IMAGE = _blank()
"""What stands for an image where texts alone are compared; nothing depends on it."""


def _group_choice(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Case]", data.rows)
    samples = [
        Sample(f"{row.id}/{side}", data.images.place(image), captions=texts)
        for row in rows
        for side, (image, texts) in enumerate(zip(row.images, (row.right, row.wrong), strict=True))
    ]
    scores = cast(
        "tuple[Score, ...]", ("image",) if pinned.options.get("pick") == "images" else ("text", "image", "group")
    )
    kinds = tuple((row.id, row.kind) for row in rows)
    return Measured(tuple(samples), GroupChoice(scores=scores, kinds=kinds), data)


def _regions(pinned: Pinned, data: Data) -> Measured:
    return Measured(
        tuple(map(_region(data), cast("Sequence[Box]", data.rows))), RegionChoice(ties=_draws(pinned)), data
    )


def _box_classes(pinned: Pinned, data: Data) -> Measured:
    task = RegionClassification(classes=data.classes, prompts=data.prompts, ties=pinned.ties)
    return Measured(tuple(map(_region(data), cast("Sequence[Box]", data.rows))), task, data)


def _oracle_boxes(pinned: Pinned, data: Data) -> Measured:
    novel = ov_coco()[1] if pinned.options.get("classes") == "ov-coco" else ()
    task = OracleBoxes(classes=data.classes, novel=novel, prompts=data.prompts)
    return Measured(tuple(map(_region(data), cast("Sequence[Box]", data.rows))), task, data)


def _detection(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Label]", data.rows)
    annotations = boxes.annotations_of(data.path)
    if pinned.options.get("classes") == "ov-coco":
        base, novel = ov_coco()
        task = DetectionTask(data.classes, {"base": base, "novel": novel}, annotations, prompts=data.prompts)
    else:
        groups = frequencies(annotations)
        task = DetectionTask(data.classes, groups, annotations, "lvis-fixed", at50=False, prompts=data.prompts)
    return Measured(tuple(Sample(stem(row.image), data.images.place(row.image)) for row in rows), task, data)


def _segmentation(pinned: Pinned, data: Data) -> Measured:
    rows, options = cast("Sequence[Mask]", data.rows), pinned.options
    folder = data.path if data.path.is_dir() else data.path.parent
    names = class_names(options["classes"])
    windows = {name: options[name] for name in ("short", "window", "stride", "scale", "threshold") if name in options}
    task = SegmentationTask(
        names=names,
        classes=_VOC_CLASSES if options.get("background") == "rest" else len(names),
        masks={stem(row.image): folder / row.labels for row in rows},
        background=options.get("background", "ignored"),
        templates=imagenet_prompts(),
        settings=Segmenting(**windows),
    )
    return Measured(tuple(Sample(stem(row.image), data.images.place(row.image)) for row in rows), task, data)


def _classes(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Label]", data.rows)
    samples = [Sample(row.image, data.images.place(row.image), captions=(str(row.label),)) for row in rows]
    task = Classification(
        classes=data.classes,
        prompts=data.prompts,
        kind=pinned.kind,
        synonyms=data.synonyms,
        numbered=True,
        ties=pinned.ties,
    )
    return Measured(tuple(samples), task, data)


def _ladder(pinned: Pinned, data: Data) -> Measured:
    rows = cast("Sequence[Ladder]", data.rows)
    samples = [Sample(stem(row.image), data.images.place(row.image), captions=row.texts) for row in rows]
    return Measured(tuple(samples), Growing(kind=pinned.kind), data)


def _region(data: Data) -> Callable[[Box], Sample]:
    """What makes a sample with one region of a box, as a photo that EXIF turns is seen.

    A box whose photo does not say which way it lies has no area, and counts as not measured.
    """
    frames: dict[Path, Frame | None] = {}

    def frame(place: Path, row: Box) -> Frame | None:
        if row.size is None:
            raise ValueError(f"A box of {row.image} comes without the size of its image. The file must say it.")
        try:
            return frame_of(place, *row.size) if data.images.holds(place) else Frame(*row.size)
        except ValueError as error:
            log.warning("%s: its boxes are left out: %s", row.image, error)
            return None

    def sample(row: Box) -> Sample:
        place = data.images.place(row.image)
        if place not in frames:
            frames[place] = frame(place, row)
        seen = frames[place]
        box = seen.box(list(row.box), least=0.0) if seen else NO_BOX
        region = Region(box, row.right[0], tuple(Negative(text) for text in row.wrong))
        return Sample(stem(row.image), place, regions=(region,))

    return sample


def _draws(pinned: Pinned) -> Draws:
    if pinned.ties == "half":
        raise ValueError(f"{pinned.name}: ties of a choice count as right or against. Say so in its table.")
    return pinned.ties


def _levels(pinned: Pinned) -> Levels:
    if pinned.options.get("tree"):
        return "tree"
    return "groups" if pinned.reader == "sugarcrepe" else "flat"


_BUILD: Mapping[str, Callable[[Pinned, Data], Any]] = {
    "retrieval": _retrieval,
    "grouped-gallery": _grouped,
    "ranking": _ranking,
    "choice": _choice,
    "two-positives": _two_positives,
    "group-choice": _group_choice,
    "regions": _regions,
    "box-classes": _box_classes,
    "oracle-boxes": _oracle_boxes,
    "segmentation": _segmentation,
    "detection": _detection,
    "classes": _classes,
    "ladder": _ladder,
}
