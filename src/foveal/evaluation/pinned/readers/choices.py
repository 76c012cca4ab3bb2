"""Sets of right and wrong captions: SugarCrepe, SugarCrepe++, VALSE, VL-CheckList, ARO, Winoground, MMVP."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..canonical import Case, Row
from ..reading import Data, Layout, Options, each, read_json, read_lines, text, texts
from .parquet import Cells, entries, files

_VAL2017 = ("coco/val2017", "coco/images/val2017", "coco/images")


def sugar_crepe(folder: Path, options: Options) -> Iterator[Case]:
    """Yield the pairs of the seven files; a file's name is the kind of its negatives."""
    for path in _files(folder, options):

        def row(key: object, pair: Any, kind: str = path.stem) -> Case:
            captions, negatives = (text(pair["caption"]),), (text(pair["negative_caption"]),)
            return Case(f"{kind}/{key}", (text(pair["filename"]),), captions, negatives, kind)

        yield from each(path, read_json(path).items(), row)


def sugar_crepe_pp(folder: Path, options: Options) -> Iterator[Case]:
    """Yield the cases of the five files: two right captions, a wrong one."""
    for path in _files(folder, options):

        def row(_: object, case: Any, kind: str = path.stem) -> Case:
            right = (text(case["caption"]), text(case["caption2"]))
            negatives = (text(case["negative_caption"]),)
            return Case(f"{kind}/{case['id']}", (text(case["filename"]),), right, negatives, kind)

        yield from each(path, enumerate(read_json(path)), row)


def valse(folder: Path, options: Options) -> Iterator[Case]:
    """Yield the cases of the eleven files in which two of three people chose the caption."""
    for path in _files(folder, options):

        def row(key: object, case: Any, kind: str = path.stem) -> Case | None:
            if case["mturk"]["caption"] < 2:
                return None
            return Case(
                f"{kind}/{key}", (text(case["image_file"]),), (text(case["caption"]),), (text(case["foil"]),), kind
            )

        yield from each(path, read_json(path).items(), row)


def vl_checklist(folder: Path, _: Options) -> Data:
    """Return the cases of all files below a folder; a file's place in the tree is the kind of its cases."""
    rows: list[Row] = []
    lacking = 0
    for path in sorted(folder.rglob("*.json")):
        kind = path.relative_to(folder).with_suffix("").as_posix()
        for number, (image, pair) in enumerate(read_json(path)):
            if not pair["POS"] or not pair["NEG"]:
                lacking += 1
                continue
            rows.append(Case(f"{kind}/{number}", (text(image),), texts(pair["POS"][:1]), texts(pair["NEG"][:1]), kind))
    return Data(rows=tuple(rows), notes=(f"{lacking:,} entries without a negative are not asked",) if lacking else ())


def aro_boxes(path: Path, _: Options) -> Iterator[Case]:
    """Yield the cases of VG-Relation or VG-Attribution, each about a box of its photo."""

    def row(number: object, case: Any) -> Case:
        kind = case.get("relation_name") or "_".join(case.get("attributes", ()))
        x, y, width, height = (float(case[f"bbox_{edge}"]) for edge in "xywh")
        right, wrong = (text(case["true_caption"]),), (text(case["false_caption"]),)
        return Case(str(number), (text(case["image_path"]),), right, wrong, kind, (x, y, width, height))

    yield from each(path, enumerate(read_json(path)), row)


def aro_order(path: Path, _: Options) -> Data:
    """Return the cases of ARO's order tests with mteb's fixed shuffles: a caption and four others."""
    images = Cells()
    rows: list[Row] = []
    for file in files(path):
        columns = ["correct_caption", *(f"hard_text_{number}" for number in range(1, 5))]
        for entry in entries(file, columns, {"images": ""}):
            name = entry.name("images") or f"{len(rows)}.jpg"
            images.where[name] = entry.where("images")
            right, *wrong = (text(entry.values[column]) for column in columns)
            rows.append(Case(str(len(rows)), (name,), (right,), tuple(wrong)))
    return Data(rows=tuple(rows), images=images)


def winoground_lines(path: Path, _: Options) -> Iterator[Case]:
    """Yield the cases of `examples.jsonl`: two images, two captions of the same words."""

    def row(_: object, case: Any) -> Case:
        images = tuple(_png(text(case[f"image_{side}"])) for side in (0, 1))
        return _winoground(case, images)

    yield from each(path, read_lines(path), row)


def winoground_parquet(path: Path, _: Options) -> Data:
    """Return the cases of the hub's Parquet files."""
    images = Cells()
    rows: list[Row] = []
    for file in files(path):
        for entry in entries(file, ["id", "caption_0", "caption_1", "collapsed_tag"], {"image_0": "", "image_1": ""}):
            names = tuple(f"ex_{entry.values['id']}_img_{side}.png" for side in (0, 1))
            for side, name in enumerate(names):
                images.where[name] = entry.where(f"image_{side}")
            rows.append(_winoground(entry.values, names))
    return Data(rows=tuple(rows), images=images)


def mmvp(path: Path, _: Options) -> Iterator[Case]:
    """Yield the pairs of `Questions.csv`: two images, a statement of each, asked as "a photo of" it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        questions = list(csv.DictReader(file))
    pairs = zip(questions[::2], questions[1::2], strict=False)

    def row(_: object, pair: Any) -> Case:
        images = tuple(f"{one['Type']}/{one['Question ID']}.jpg" for one in pair)
        right, wrong = (f"a photo of {text(one['Statement'])}" for one in pair)
        return Case(str(pair[0]["Question ID"]), images, (right,), (wrong,), text(pair[0]["Type"]))

    yield from each(path, enumerate(pairs), row)


def _winoground(case: Any, images: tuple[str, ...]) -> Case:
    return Case(
        str(case["id"]), images, (text(case["caption_0"]),), (text(case["caption_1"]),), case.get("collapsed_tag") or ""
    )


def _png(name: str) -> str:
    return name if name.endswith(".png") else f"{name}.png"


def _files(folder: Path, options: Options) -> list[Path]:
    """The JSON files of a folder: all that the protocol names must be there."""
    missing = [name for name in options["files"] if not (folder / f"{name}.json").is_file()]
    if missing:
        raise ValueError(f"{folder} has no {missing[0]}.json. Get all {len(options['files'])} files.")
    return [folder / f"{name}.json" for name in options["files"]]


SUGAR_CREPE = (
    Layout(
        "as downloaded",
        ("sugar_crepe", "sugar-crepe/data"),
        sugar_crepe,
        _VAL2017,
        'add_att.json: {"0": {"filename": "000000000007.jpg", "caption": "A.", "negative_caption": "B."}}',
    ),
)
SUGAR_CREPE_PP = (
    Layout(
        "as downloaded",
        ("sugar_crepe_pp", "sugarcrepe_pp"),
        sugar_crepe_pp,
        _VAL2017,
        'swap_obj.json: [{"id": 0, "filename": "000000000007.jpg", "caption": "A.", '
        '"caption2": "A\'.", "negative_caption": "B."}]',
    ),
)
VALSE = (
    Layout(
        "as downloaded",
        ("valse", "VALSE/data"),
        valse,
        (
            "valse/images",
            "coco/val2017",
            "coco/images",
            "coco/val2014",
            "visual7w/images",
            "swig/images_512",
            "VisualDialog_val2018",
        ),
        'plurals.json: {"key": {"image_file": "000000000007.jpg", "caption": "A.", "foil": "B.", '
        '"mturk": {"caption": 3}}}',
    ),
)
VL_CHECKLIST = (
    Layout(
        "as downloaded",
        ("vl-checklist/data", "VL-CheckList/data"),
        vl_checklist,
        ("vl-checklist/images", "vl-checklist", "visual_genome"),
        'data/Attribute/color.json: [["VG_100K/2.jpg", {"POS": ["brown knob"], "NEG": ["teal knob"]}]]',
    ),
)
ARO_BOXES = (
    Layout(
        "as downloaded",
        ("aro/{file}",),
        aro_boxes,
        ("aro", "aro/images", "visual_genome/images"),
        '[{"image_path": "images/1.jpg", "bbox_x": 0, "bbox_y": 0, "bbox_w": 9, "bbox_h": 9, '
        '"true_caption": "A.", "false_caption": "B.", "relation_name": "behind"}]',
    ),
)
ARO_ORDER = (
    Layout(
        "mteb's fixed texts",
        ("aro/{folder}",),
        aro_order,
        example="Parquet with columns images, correct_caption, hard_text_1 to hard_text_4",
    ),
)
WINOGROUND = (
    Layout(
        "images and lines",
        ("winoground/examples.jsonl", "winoground/data/examples.jsonl"),
        winoground_lines,
        ("winoground/images", "winoground/data/images"),
        '{"id": 0, "image_0": "ex_0_img_0", "image_1": "ex_0_img_1", "caption_0": "A.", "caption_1": "B."}',
    ),
    Layout(
        "Parquet of the hub",
        ("winoground",),
        winoground_parquet,
        example="columns id, image_0, image_1, caption_0, caption_1, collapsed_tag",
    ),
)
MMVP = (
    Layout(
        "as downloaded",
        ("mmvp-vlm/Questions.csv", "MMVP_VLM/Questions.csv"),
        mmvp,
        ("mmvp-vlm/MLLM_VLM Images", "MMVP_VLM/MLLM_VLM Images"),
        "Question ID,Type,Statement; images MLLM_VLM Images/<Type>/<Question ID>.jpg",
    ),
)
