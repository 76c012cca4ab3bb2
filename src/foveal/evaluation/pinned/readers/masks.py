"""Label maps: ADE20K and Pascal VOC 2012."""

from collections.abc import Iterator
from pathlib import Path

from ..canonical import Mask
from ..reading import Layout, Options


def folder(path: Path, _: Options) -> Iterator[Mask]:
    """Yield the label maps of a folder, each under its photo's name."""
    for file in sorted(path.glob("*.png")):
        yield Mask(f"{file.stem}.jpg", file.name)


def voc(path: Path, _: Options) -> Iterator[Mask]:
    """Yield the label maps of the photos that a split lists, a name a line."""
    for name in path.read_text(encoding="utf-8").split():
        yield Mask(f"{name}.jpg", f"../../SegmentationClass/{name}.png")


ADE20K = (
    Layout(
        "as downloaded",
        ("ADEChallengeData2016/annotations/validation", "ade20k/annotations/validation"),
        folder,
        ("ADEChallengeData2016/images/validation", "ade20k/images/validation"),
        "annotations/validation/ADE_val_00000001.png: 0 for none, 1 to 150 for the classes",
    ),
)
VOC = (
    Layout(
        "as downloaded",
        ("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "VOC2012/ImageSets/Segmentation/val.txt"),
        voc,
        ("VOCdevkit/VOC2012/JPEGImages", "VOC2012/JPEGImages"),
        "val.txt: a name a line; SegmentationClass/2007_000033.png: 0 for background, 1 to 20, 255 for none",
    ),
)
