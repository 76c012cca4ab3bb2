"""ImageNet's validation photos, its copies and its harder relatives, with CLIP's names and 80 prompts."""

import csv
from collections.abc import Iterator
from pathlib import Path

from ...classification import imagenet_prompts
from ..canonical import Label
from ..names import imagenet_names, imagenet_part, imagenet_wnids, objectnet_folders
from ..reading import SUFFIXES, Data, Folders, Layout, Options
from .crops import Borders
from .shards import shards


def wnid_folders(folder: Path, options: Options) -> Data:
    """Return the rows of folders named by WordNet id.

    Raises:
        ValueError: If no folder is named so.
    """
    label = {imagenet_wnids()[number]: place for place, number in enumerate(_labels(options))}
    return _data(folder, {name: number for name, number in label.items() if (folder / name).is_dir()}, options)


def numbered_folders(folder: Path, options: Options) -> Data:
    """Return the rows of folders 0 to 999, which are numbers and no words: 10 comes after 9."""
    return _data(folder, {str(number): number for number in range(1000) if (folder / str(number)).is_dir()}, options)


def flat(folder: Path, options: Options) -> Data:
    """Return the rows of one folder of photos, with `val.txt` or `LOC_val_solution.csv` beside it."""
    rows = tuple(_listed(folder.parent))
    return Data(rows=rows, images=Folders((folder,)), classes=_classes(options), prompts=imagenet_prompts())


def tars(folder: Path, options: Options) -> Data:
    """Return the rows of shards, with the protocol's own names and prompts.

    Raises:
        ValueError: If the shards bring other names.
    """
    read = shards(folder, options)
    return Data(read.rows, read.images, classes=_classes(options), prompts=imagenet_prompts(), by_position=True)


def objectnet(folder: Path, _: Options) -> Data:
    """Return the rows of the 113 folders whose class ImageNet has too. The red border of the photos is cut off."""
    members = objectnet_folders()
    names = imagenet_names()
    synonyms = tuple(tuple(names[label] for label in labels) for labels in members.values())
    place = {name: number for number, name in enumerate(members)}
    return Data(
        rows=tuple(_rows(folder, {name: number for name, number in place.items() if (folder / name).is_dir()})),
        images=Borders((folder,), width=2),
        classes=tuple("; ".join(each) for each in synonyms),
        synonyms=synonyms,
        prompts=imagenet_prompts(),
    )


def _labels(options: Options) -> tuple[int, ...]:
    part = options.get("part")
    return tuple(range(1000)) if part is None else imagenet_part(part)


def _classes(options: Options) -> tuple[str, ...]:
    names = imagenet_names()
    return tuple(names[label] for label in _labels(options))


def _data(folder: Path, labels: dict[str, int], options: Options) -> Data:
    if not labels:
        raise ValueError(f"{folder} has no folder of a class. Put one folder a class there.")
    rows = tuple(_rows(folder, labels))
    return Data(rows=rows, images=Folders((folder,)), classes=_classes(options), prompts=imagenet_prompts())


def _rows(folder: Path, labels: dict[str, int]) -> Iterator[Label]:
    for name, label in labels.items():
        for path in (folder / name).iterdir():
            if path.suffix in SUFFIXES and not path.name.startswith("._"):
                yield Label(f"{name}/{path.name}", label)


def _listed(folder: Path) -> Iterator[Label]:
    """Rows of the list beside a folder of photos."""
    wnids = {wnid: label for label, wnid in enumerate(imagenet_wnids())}
    if (folder / "val.txt").is_file():
        for number, line in enumerate((folder / "val.txt").read_text(encoding="utf-8").splitlines(), start=1):
            name, _, label = line.partition(" ")
            if not label.strip().isdigit() or int(label) > 999:
                raise ValueError(f"{folder / 'val.txt'}:{number}: not a photo and a label from 0 to 999.")
            yield Label(name, int(label))
        return
    path = folder / "LOC_val_solution.csv"
    if not path.is_file():
        raise ValueError(f"{folder} has photos and neither val.txt nor LOC_val_solution.csv. Put one of them there.")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            wnid = row["PredictionString"].split()[0]
            if wnid not in wnids:
                raise ValueError(f"{path}: {wnid} is no class of ImageNet. It is another file.")
            yield Label(f"{row['ImageId']}.JPEG", wnids[wnid])


_FOLDER = "val/n01440764/ILSVRC2012_val_00000293.JPEG"

VAL = (
    Layout(
        "a folder a class", ("imagenet/val/n01440764",), lambda path, o: wnid_folders(path.parent, o), example=_FOLDER
    ),
    Layout(
        "one folder and a list",
        ("imagenet/val",),
        flat,
        example="val/ILSVRC2012_val_00000001.JPEG, and val.txt: ILSVRC2012_val_00000001.JPEG 65",
    ),
    Layout(
        "CLIP_benchmark's shards", ("wds_imagenet1k/test", "imagenet/wds/test"), tars, example="0.tar: s0.jpg, s0.cls"
    ),
)
V2 = (
    Layout(
        "as downloaded",
        ("imagenet-v2", "imagenetv2-matched-frequency-format-val"),
        numbered_folders,
        example="imagenet-v2/0/1e7d1a2c.jpeg to imagenet-v2/999/...",
    ),
)


def _wnids(name: str) -> tuple[Layout, ...]:
    return (Layout("a folder a class", (name, f"{name}/val"), wnid_folders, example=f"{name}/n01498041/photo.jpg"),)


A, R, SKETCH = _wnids("imagenet-a"), _wnids("imagenet-r"), _wnids("imagenet-sketch")
OBJECTNET = (
    Layout(
        "as downloaded", ("objectnet-1.0/images", "objectnet/images"), objectnet, example="images/umbrella/photo.png"
    ),
)
