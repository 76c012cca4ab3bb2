"""A made-up folder in every layout of every reader: all layouts of a protocol give the same rows, and its images."""

import contextlib
import csv
import io
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from foveal.evaluation.pinned.canonical import canonical, stem
from foveal.evaluation.pinned.check import checked
from foveal.evaluation.pinned.names import imagenet_names, imagenet_wnids, objectnet_folders
from foveal.evaluation.pinned.readers import READERS
from foveal.evaluation.pinned.readers.crops import Crops
from foveal.evaluation.pinned.reading import Folders, Roots, folders, places, read
from foveal.evaluation.pinned.registry import find, registry

PAIRS = [("7", ["A red mug.", "Two mugs."]), ("12", ['Say "hi", now.', " A dog ran; 3.5 km "])]
SINGLE = [(name, texts[:1]) for name, texts in PAIRS]


def picture(path: Path, size=(32, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(path.name) * 9 % 255, 40, 90)).save(path, "JPEG" if path.suffix != ".png" else "PNG")


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24)).save(file, "JPEG")
    return file.getvalue()


def put(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def lines(path: Path, rows) -> None:
    put(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def parquet(path: Path, **columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=1)


def images(*names):
    return [{"bytes": jpeg(), "path": name} for name in names]


def coco(names, suffix=".jpg"):
    return {
        "images": [{"id": number, "file_name": f"{name}{suffix}"} for number, (name, _) in enumerate(names)],
        "annotations": [
            {"image_id": number, "caption": text} for number, (_, texts) in enumerate(names) for text in texts
        ],
    }


def karpathy(names, split="test"):
    entries = [
        {"split": split, "filename": f"{name}.jpg", "sentences": [{"raw": text} for text in texts]}
        for name, texts in names
    ]
    return {"images": [*entries, {"split": "restval", "filename": "0.jpg", "sentences": [{"raw": "no"}]}]}


def listed(names, key="filename", prefix="any/prefix/"):
    return [{key: f"{prefix}{name}.jpg", "caption": texts[0]} for name, texts in names]


def boxes(extra=()):
    return {
        "categories": [{"id": 3, "name": "traffic_light"}, {"id": 1, "name": "person"}],
        "images": [{"id": 7, "file_name": "000000000007.jpg", "width": 32, "height": 24, **dict(extra)}],
        "annotations": [{"image_id": 7, "bbox": [1, 2, 3.004, 4], "category_id": 3, "segmentation": [[1, 2]]}],
    }


def tar(root, name, pairs):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "nshards.txt").write_text(str(len(pairs)))
    for shard, (_, content) in enumerate(pairs):
        ending, text = content if isinstance(content, tuple) else ("txt", "\n".join(content))
        with tarfile.open(folder / f"{shard}.tar", "w") as file:
            for member, data in ((f"s{shard:07d}.jpg", jpeg()), (f"s{shard:07d}.{ending}", text.encode())):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))


def docci(split="test"):
    return [(f"{split}_00000", ["An outdoor view. Wide."]), (f"{split}_00001", ["A lamp."])]


def flickr_lines(root, name, pairs, mark="#"):
    put(root / name, "".join(f"{image}{mark}{n}\t{text}\n" for image, texts in pairs for n, text in enumerate(texts)))


def hub_table(root):
    file = io.StringIO()
    writer = csv.DictWriter(file, ["raw", "sentids", "split", "filename", "img_id"])
    writer.writeheader()
    for name, texts in PAIRS:
        writer.writerow({"raw": json.dumps(texts), "split": "test", "filename": f"{name}.jpg"})
    put(root / "flickr30k/flickr_annotations_30k.csv", file.getvalue())


def choice_files(root, folder, name, rows_of):
    for kind in find(name).options["files"]:
        put(root / folder / f"{kind}.json", rows_of(kind))


def sugar_crepe_pp(kind):
    return [{"id": 4, "filename": "000000000007.jpg", "caption": "A", "caption2": "A'", "negative_caption": kind}]


def refcoco(root):
    columns = {
        "image": images("x.jpg"),
        "answer": [["the man"]],
        "bbox": [[1.0, 2.0, 3.0, 4.0]],
        "file_name": ["7.jpg"],
    }
    parquet(root / "refcoco/data/val-00000-of-00001.parquet", **columns)


def aro_order(root):
    shuffles = {f"hard_text_{n}": [f"mug red {n}"] for n in range(1, 5)}
    parquet(root / "aro/coco-order/0.parquet", images=images("7.jpg"), correct_caption=["red mug"], **shuffles)


def winoground_parquet(root):
    columns = {"id": [0], "caption_0": ["a b"], "caption_1": ["b a"], "collapsed_tag": ["Object"]}
    parquet(root / "winoground/0.parquet", image_0=images("x.png"), image_1=images("y.png"), **columns)


def mteb(root):
    parquet(root / "coco/mteb/corpus/0.parquet", id=["7", "12"], image=images("a.jpg", "b.jpg"))
    queries = [text for _, texts in PAIRS for text in texts]
    parquet(root / "coco/mteb/queries/0.parquet", id=[f"q{n}" for n in range(4)], text=queries)
    pairs = {"query-id": [f"q{n}" for n in range(4)], "corpus-id": ["7", "7", "12", "12"], "score": [1, 1, 1, 1]}
    parquet(root / "coco/mteb/qrels/0.parquet", **pairs)


def urban_files(root):
    for name, (text,) in SINGLE:
        put(root / f"urban1k/caption/{name}.txt", f"{text}\r\nmore\n")
        picture(root / f"urban1k/image/{name}.jpg")


def iiw(root, path_of):
    for name, rows in {
        "IIW-400": [{"image/key": "aar_test_04600", "IIW": "One."}],
        "DOCCI_Test": [{"image": "test_00731", "IIW": "Two."}],
        "DCI_Test": [{"image": "sa_1.jpg", "IIW": "Three."}],
    }.items():
        lines(root / path_of(name), rows)


def dci(root):
    base = root / "dci/densely_captioned_images"
    for name, extra in (("1", "One."), ("2", "")):
        entry = {"image": f"sa_{name}.jpg", "short_caption": "Short.", "extra_caption": extra, "mask_data": {}}
        put(base / f"annotations/{name}-data.json", entry)
    put(base / "splits.json", {"train": ["1-data.json"], "test": ["2-data.json"]})


def conversations(names):
    entries = [
        {"id": name, "image": f"sam/images/{name}.jpg", "conversations": [{"value": "?"}, {"value": texts[0]}]}
        for name, texts in names
    ]
    return json.dumps(entries * 500, indent=1)  # a thousand rows


def imagenet(root, name, part=()):
    for label in part or (0, 1):
        picture(root / name / imagenet_wnids()[label] / f"p{label}.JPEG")


FG = {
    "img_path": "val2017/000000000007.jpg",
    "bbox": [1, 2, 3, 4],
    "pos_expression": ["A red mug."],
    "neg_expression": ["A blue mug."],
    "width": 32,
    "height": 24,
}
ARO = [{"image_path": "images/1.jpg", "true_caption": "a", "false_caption": "b", "relation_name": "on"}]
ARO = [row | {f"bbox_{edge}": 9 for edge in "xywh"} for row in ARO]
POPE = [{"question_id": 1, "image": "COCO_val2014_7.jpg", "text": "Is there a cat in the image?", "label": "no"}]

# What writes a folder, by reader and layout; and a protocol that reads it.
FOLDERS = {
    ("urban1k", "as downloaded"): urban_files,
    ("urban1k", "FLAIR's"): lambda r: put(r / "Urban1k/annotations.json", {"annotations": listed(SINGLE, "image", "")}),
    ("urban1k", "GOAL's"): lambda r: put(r / "urban1k/urban_dataset_test.json", listed(SINGLE)),
    ("docci", "as downloaded"): lambda r: lines(
        r / "docci/docci_descriptions.jsonlines",
        [
            {"example_id": name, "split": name[:-6], "image_file": f"{name}.jpg", "description": text}
            for name, (text,) in [*docci(), *docci("qual_test"), *docci("train")]
        ],
    ),
    ("docci", "HiMo-CLIP's"): lambda r: lines(
        r / "docci/test_set.jsonl", [{"image_file": f"{n}.jpg", "description": t} for n, (t,) in docci()]
    ),
    ("docci", "GOAL's"): lambda r: put(r / "docci/docci_test.json", listed([*docci("qual_test"), *docci()])),
    ("docci-sentences", "FLAIR's"): lambda r: put(
        r / "docci/annotations/test_annotations.json", {"annotations": listed([*docci(), *docci()], "image")}
    ),
    ("dci", "as downloaded"): dci,
    ("dci-long", "as downloaded"): dci,
    ("dci-long", "TULIP's"): lambda r: put(r / "dci/dci_long.csv", "filepath\ttitle\nx/sa_1.jpg\tOne.\n"),
    ("dci-goal", "GOAL's"): lambda r: put(r / "dci/DCI_test.json", listed(SINGLE)),
    ("sharegpt4v", "as downloaded"): lambda r: put(
        r / "sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json", conversations(SINGLE)
    ),
    ("sharegpt4v", "LoTLIP's"): lambda r: put(r / "share4v/share4v_sam_10k.json", conversations(SINGLE)),
    ("iiw", "as downloaded"): lambda r: iiw(r, lambda name: f"imageinwords/{name}/data.jsonl"),
    ("iiw", "a file each"): lambda r: iiw(
        r, lambda name: f"captions/iiw{name[3:] if name[:3] == 'IIW' else '_' + name.lower()}.jsonl".replace("-", "")
    ),
    ("iiw-sentences", "FLAIR's"): lambda r: put(
        r / "imageinwords/annotations.json", {"annotations": listed(PAIRS, "image")}
    ),
    ("coco-val2017", "as downloaded"): lambda r: put(r / "coco/annotations/captions_val2017.json", coco(PAIRS)),
    ("coco-karpathy", "Karpathy's"): lambda r: put(r / "coco/dataset_coco.json", karpathy(PAIRS)),
    ("coco-karpathy", "in COCO's own form"): lambda r: put(r / "coco/coco_test_karpathy.json", coco(PAIRS)),
    ("coco-karpathy", "Salesforce's"): lambda r: put(
        r / "coco/coco_karpathy_test.json", [{"image": f"val2014/{n}.jpg", "caption": t} for n, t in PAIRS]
    ),
    ("coco-karpathy", "CLIP_benchmark's shards"): lambda r: tar(r, "wds_mscoco_captions/test", PAIRS),
    ("coco-karpathy", "Parquet of the hub"): lambda r: parquet(
        r / "coco/parquet/0.parquet", image=images("x/7.jpg", "12.jpg"), caption=[t for _, t in PAIRS]
    ),
    ("coco-mbeir", "mteb's"): mteb,
    ("flickr30k-split", "Karpathy's"): lambda r: put(r / "flickr30k/dataset_flickr30k.json", karpathy(PAIRS, "val")),
    ("flickr30k-split", "the hub's table"): lambda r: (
        hub_table(r),
        put(
            r / "flickr30k/flickr_annotations_30k.csv",
            (r / "flickr30k/flickr_annotations_30k.csv").read_text().replace(",test,", ",val,"),
        ),
    ),
    ("flickr30k-test", "Karpathy's"): lambda r: put(r / "flickr30k/dataset_flickr30k.json", karpathy(PAIRS)),
    ("flickr30k-test", "the hub's table"): hub_table,
    ("flickr30k-test", "CLIP_benchmark's list"): lambda r: put(
        r / "flickr30k/flickr30k_test_karpathy.txt",
        "image,caption\n" + "".join(f"{name}.jpg,{text}\n" for name, texts in PAIRS for text in texts),
    ),
    ("flickr30k-test", "Salesforce's"): lambda r: put(
        r / "flickr30k/flickr30k_test.json", [{"image": f"flickr30k-images/{n}.jpg", "caption": t} for n, t in PAIRS]
    ),
    ("flickr30k-test", "CLIP_benchmark's shards"): lambda r: tar(r, "wds_flickr30k/test", PAIRS),
    ("flickr30k-test", "Parquet of the hub"): lambda r: parquet(
        r / "flickr30k/parquet/0.parquet", image=images("7.jpg", "12.jpg"), caption=[t for _, t in PAIRS]
    ),
    ("flickr30k-entities", "as downloaded"): lambda r: (
        flickr_lines(r, "flickr30k/results_20130124.token", [(f"{n}.jpg", t) for n, t in [*PAIRS, ("9", ["no"])]]),
        put(r / "flickr30k/test.txt", "7\n12\n"),
    ),
    ("flickr30k-full", "as downloaded"): lambda r: flickr_lines(
        r, "flickr30k/results_20130124.token", [(f"{n}.jpg", [t.strip() for t in texts]) for n, texts in PAIRS]
    ),
    ("flickr30k-full", "Kaggle's"): lambda r: put(
        r / "flickr30k/results.csv",
        "image_name| comment_number| comment\n7.jpg| 0| A red mug.\n7.jpg| 1   Two mugs.\n"
        '12.jpg| 0| Say "hi", now.\n12.jpg| 1| A dog ran; 3.5 km\n',
    ),
    ("flickr30k-cna", "as downloaded"): lambda r: flickr_lines(r, "flickr30k-cna/flickr30k_cna_test.txt", PAIRS),
    ("flickr30k-cn", "Chinese-CLIP's"): lambda r: lines(
        r / "flickr30k-cn/test_texts.jsonl",
        [{"text_id": 1, "text": text, "image_ids": [int(name)]} for name, texts in PAIRS for text in texts],
    ),
    ("lit-cn", "as downloaded"): lambda r: put(r / "lit-cn/image_caption_long_cn.txt", "a/7.jpg\t一个\nb/8.jpg\t二\n"),
    ("dci-cn", "as downloaded"): lambda r: put(r / "dci-cn/image_caption_trans.txt", "a/7.jpg\t一个\n"),
    ("docci-cn", "as downloaded"): lambda r: put(r / "docci-cn/captions.txt", "a/7.jpg\t一个\n"),
    ("coco-cn", "FG-CLIP's"): lambda r: put(
        r / "coco-cn/pair.txt", "COCO_val2014_7#zhm#1 二\nCOCO_val2014_9#zhm#0 三\nCOCO_val2014_7#zhm#0 一 个\n"
    ),
    ("imagenet", "a folder a class"): lambda r: imagenet(r, "imagenet/val"),
    ("imagenet", "one folder and a list"): lambda r: (
        picture(r / "imagenet/val/p0.JPEG"),
        picture(r / "imagenet/val/p1.JPEG"),
        put(r / "imagenet/val.txt", "p0.JPEG 0\np1.JPEG 1\n"),
    ),
    ("imagenet", "CLIP_benchmark's shards"): lambda r: tar(
        r, "wds_imagenet1k/test", [("p0", ("cls", "0")), ("p1", ("cls", "1"))]
    ),
    ("imagenet-v2", "as downloaded"): lambda r: [picture(r / f"imagenet-v2/{n}/p{n}.jpeg") for n in (2, 10)],
    ("imagenet-a", "a folder a class"): lambda r: imagenet(r, "imagenet-a", (6, 11)),
    ("imagenet-r", "a folder a class"): lambda r: imagenet(r, "imagenet-r", (1, 2)),
    ("imagenet-sketch", "a folder a class"): lambda r: imagenet(r, "imagenet-sketch"),
    ("objectnet", "as downloaded"): lambda r: [
        picture(r / f"objectnet-1.0/images/{name}/p.png") for name in ("umbrella", "still_camera", "squeegee")
    ],
    ("ade20k", "as downloaded"): lambda r: [
        picture(r / f"ADEChallengeData2016/annotations/validation/ADE_val_0000000{n}.png") for n in (1, 2)
    ],
    ("voc", "as downloaded"): lambda r: put(
        r / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "2007_000033\n2007_000042\n"
    ),
    ("coco-boxes", "as downloaded"): lambda r: put(r / "coco/annotations/instances_val2017.json", boxes()),
    ("coco-detection", "as downloaded"): lambda r: put(
        r / "coco/annotations/instances_val2017.json",
        boxes() | {"categories": [{"id": entry["id"], "name": "dog"} for entry in boxes()["categories"]]},
    ),
    ("lvis-detection", "as downloaded"): lambda r: put(r / "lvis/lvis_v1_val.json", lvis()),
    ("lvis-boxes", "as downloaded"): lambda r: put(r / "lvis/lvis_v1_val.json", lvis()),
    ("panoptic-boxes", "as downloaded"): lambda r: put(
        r / "coco/annotations/panoptic_val2017.json",
        boxes() | {"annotations": [{"image_id": 7, "segments_info": [{"category_id": 3, "bbox": [1, 2, 3, 4]}]}]},
    ),
    ("openimages-boxes", "as downloaded"): lambda r: (
        put(r / "openimages/class-descriptions-boxable.csv", "/m/01,Tortoise\n/m/02,Mug\n"),
        put(
            r / "openimages/validation-annotations-bbox.csv",
            "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n0001,x,/m/02,1,0.1,0.6,0.2,0.3\n",
        ),
    ),
    ("boxclass-cn", "as downloaded"): lambda r: put(r / "boxclass-cn/valid_category_data_total_zh.json", boxes()),
    ("fg-ovd", "FG-CLIP's"): lambda r: lines(r / "fg_ovd/h_attributes_llava.jsonl", [FG]),
    ("fg-ovd-original", "as downloaded"): lambda r: put(
        r / "fg_ovd/1_attributes.json",
        boxes() | {"annotations": [{"image_id": 7, "bbox": [1, 2, 3, 4], "category_id": 3, "neg_category_ids": [1]}]},
    ),
    ("sugarcrepe", "as downloaded"): lambda r: choice_files(
        r,
        "sugar_crepe",
        "sugarcrepe@7",
        lambda kind: {"3": {"filename": "7.jpg", "caption": "A", "negative_caption": kind}},
    ),
    ("sugarcrepe++", "as downloaded"): lambda r: choice_files(r, "sugar_crepe_pp", "sugarcrepe++@itt", sugar_crepe_pp),
    ("valse", "as downloaded"): lambda r: choice_files(
        r,
        "valse",
        "valse@agreed",
        lambda kind: {
            key: {"image_file": "7.jpg", "caption": kind, "foil": "B", "mturk": {"caption": votes}}
            for key, votes in (("yes", 2), ("no", 1))
        },
    ),
    ("vl-checklist", "as downloaded"): lambda r: put(
        r / "vl-checklist/data/Attribute/color.json",
        [
            ["VG_100K/2.jpg", {"POS": ["brown knob"], "NEG": ["teal knob"]}],
            ["VG_100K/3.jpg", {"POS": ["a"], "NEG": []}],
        ],
    ),
    ("aro-boxes", "as downloaded"): lambda r: put(r / "aro/visual_genome_relation.json", ARO),
    ("aro-order", "mteb's fixed texts"): aro_order,
    ("winoground", "images and lines"): lambda r: lines(
        r / "winoground/examples.jsonl",
        [
            {"id": 0, "image_0": "ex_0_img_0", "image_1": "ex_0_img_1", "caption_0": "a b", "caption_1": "b a"}
            | {"collapsed_tag": "Object"}
        ],
    ),
    ("winoground", "Parquet of the hub"): winoground_parquet,
    ("mmvp", "as downloaded"): lambda r: put(
        r / "mmvp-vlm/Questions.csv", "Question ID,Type,Statement\n1,Color,a red mug\n2,Color,a blue mug\n"
    ),
    ("sorce", "as downloaded"): lambda r: lines(
        r / "sorce-1k/dataset.jsonl", [{"image": "sa_7.jpg", "caption": "A mug", "bbox": [[1, 2, 3, 4]]}]
    ),
    ("reircoco", "as downloaded"): lambda r: put(
        r / "reircoco/reircoco_val.json", {"images": [{"file_name": "7.jpg", "expressions": ["the mug", "it"]}]}
    ),
    ("ilias", "ObjEmbed's"): lambda r: put(
        r / "ilias/ilias_data.json",
        [{"query_text": "a jug", "queries": ["q/1.jpg"], "candidates": ["c/1.jpg", "c/2.jpg"]}],
    ),
    ("refcoco", "Parquet of the hub"): refcoco,
    ("refcoco", "a list"): lambda r: put(
        r / "refcoco/val.json", [{"file_name": "7.jpg", "bbox": [1, 2, 3, 4], "expressions": ["the man"]}]
    ),
    ("himo", "HiMo-CLIP's"): lambda r: lines(
        r / "himo/himo_docci_data.json",
        [{"img_path": "test_0.jpg", "caption": ["A.", "A. B."], "raw_caption": "A. B. C."}],
    ),
    ("pope", "as downloaded"): lambda r: lines(r / "pope/coco_pope_random.json", POPE),
    ("pope-as-choice", "as downloaded"): lambda r: lines(r / "pope/coco_pope_random.json", POPE),
}


def lvis():
    content = boxes()
    content["categories"] = [{"id": 3, "name": "aerosol_can"}]
    urls = ("http://images.cocodataset.org/train2017/8.jpg", "http://images.cocodataset.org/val2017/7.jpg")
    content["images"] = [{"id": n, "coco_url": url, "width": 32, "height": 24} for n, url in enumerate(urls)]
    content["annotations"] = [{"image_id": n, "bbox": [1, 2, 3, 4], "category_id": 3} for n in (0, 1)]
    return content


def protocol(reader):
    return next(pinned for pinned in registry().values() if pinned.reader == reader)


def test_every_layout_has_a_made_up_folder():
    assert set(FOLDERS) == {(reader, layout.name) for reader, layouts in READERS.items() for layout in layouts}


@pytest.mark.parametrize("reader", READERS)
def test_all_layouts_of_a_protocol_give_the_same_rows(tmp_path, reader):
    pinned = protocol(reader)
    seen = []
    for number, layout in enumerate(READERS[reader]):
        root = tmp_path / str(number)
        root.mkdir()
        FOLDERS[reader, layout.name](root)
        data = read(pinned, Roots((tmp_path / "empty", root)))
        assert data.layout == layout.name
        assert data.rows
        seen.append((data.by_position, canonical(data.rows, data.classes, data.prompts)))
    named = [rows for by_position, rows in seen if not by_position]
    assert all(rows == named[0] for rows in named)
    for by_position, rows in seen:
        if by_position:  # the same texts in the same order; ids are places
            assert [json.loads(row)[1:] for row in rows[1:]] == [json.loads(row)[1:] for row in by_place(named[0])[1:]]


def by_place(rows):
    """Rows in the order of the made-up files, which is not that of their ids."""
    if rows[0] != '["retrieval",1]':
        return rows
    order = [name for name, _ in PAIRS]
    return [rows[0], *sorted(rows[1:], key=lambda row: order.index(json.loads(row)[0]))]


@pytest.mark.parametrize(
    "reader", ["coco-karpathy", "flickr30k-test", "imagenet", "winoground", "aro-order", "refcoco"]
)
def test_images_within_shards_and_tables_are_read_one_at_a_time(tmp_path, reader):
    packed = ("CLIP_benchmark's shards", "Parquet of the hub", "mteb's fixed texts")
    for layout in (layout for layout in READERS[reader] if layout.name in packed):
        root = tmp_path / layout.name
        root.mkdir()
        FOLDERS[reader, layout.name](root)
        data = read(protocol(reader), Roots((root,)))
        names = [name for row in data.rows for name in (row.images if hasattr(row, "images") else (row.image,))]
        for name in names:
            place = data.images.place(name)
            assert data.images.holds(place)
            with Image.open(io.BytesIO(data.images.load(place))) as image:
                assert image.size == (32, 24)
        assert not data.images.holds(data.images.place("another.jpg"))


def test_folders_of_numbers_are_numbers(tmp_path):
    FOLDERS["imagenet-v2", "as downloaded"](tmp_path)
    data = read(find("imagenet-v2@matched-80"), Roots((tmp_path,)))
    assert {stem(row.image): row.label for row in data.rows} == {"p2": 2, "p10": 10}


def test_classes_that_do_not_exist_in_ov_coco_are_not_asked(tmp_path):
    content = boxes()
    content["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "hot dog"}]
    content["annotations"] = [
        {"image_id": content["images"][0]["id"], "bbox": [1, 2, 3, 4], "category_id": number} for number in (1, 2)
    ]
    put(tmp_path / "coco/annotations/instances_val2017.json", content)
    data = read(find("coco-oracle-boxes@ov17"), Roots((tmp_path,)))
    assert [row.right for row in data.rows] == [("dog",)]
    assert len(data.classes) == 65
    assert "hot dog" not in data.classes


def test_classes_of_a_part_are_counted_within_it(tmp_path):
    FOLDERS["imagenet-a", "a folder a class"](tmp_path)
    data = read(find("imagenet-a@200"), Roots((tmp_path,)))
    assert len(data.classes) == 200
    assert {data.classes[row.label] for row in data.rows} == {imagenet_names()[6], imagenet_names()[11]}


def test_objectnet_has_several_names_a_class_and_no_border(tmp_path):
    FOLDERS["objectnet", "as downloaded"](tmp_path)
    data = read(find("objectnet@113"), Roots((tmp_path,)))
    assert len(data.classes) == len(data.synonyms) == len(objectnet_folders()) == 113
    assert sorted(data.synonyms[row.label] for row in data.rows) == [
        ("Polaroid camera", "reflex camera"),
        ("umbrella",),
    ]
    with Image.open(io.BytesIO(data.images.load(data.images.place(data.rows[0].image)))) as image:
        assert image.size == (28, 20)


def test_variants_of_dci_differ_as_stated(tmp_path):
    dci(tmp_path)
    roots = Roots((tmp_path,))
    texts = {
        name: [text for row in read(find(f"dci@{name}"), roots).rows for text in row.texts]
        for name in ("extra7805", "extra7602", "short+extra7805-joined", "short+extra7805-rejoined", "test108")
    }
    assert sorted(texts["extra7805"]) == ["", "One."]
    assert texts["extra7602"] == ["One."]
    assert sorted(texts["short+extra7805-joined"]) == ["Short.", "Short.One."]
    assert sorted(texts["short+extra7805-rejoined"]) == ["Short", "Short. One"]
    assert texts["test108"] == [""]


def test_a_part_of_lvis_is_told_by_the_folder_of_its_photos(tmp_path):
    put(tmp_path / "lvis/lvis_v1_val.json", lvis())
    roots = Roots((tmp_path,))
    assert [row.image for row in read(find("lvis-boxes@v1val-1203"), roots).rows] == [
        "train2017/8.jpg",
        "val2017/7.jpg",
    ]
    data = read(find("lvis-boxes@minival-1203"), roots)
    assert [row.image for row in data.rows] == ["val2017/7.jpg"]
    assert len(data.classes) == 1203


def test_a_name_that_climbs_out_of_its_folder_is_looked_for_inside_it(tmp_path):
    picture(tmp_path / "secret.jpg")
    (tmp_path / "data/urban1k/image").mkdir(parents=True)
    for name in ("../../../secret.jpg", str(tmp_path / "secret.jpg"), "..\\..\\secret.jpg"):
        put(tmp_path / "data/urban1k/urban_dataset_test.json", [{"filename": name, "caption": "A."}])
        data = read(find("urban1k@1000"), Roots((tmp_path / "data",)))
        place = data.images.place(data.rows[0].image)
        assert not data.images.holds(place)
        assert place == tmp_path / "data/urban1k/image/secret.jpg"


def test_images_are_found_under_other_endings_and_beside_each_other(tmp_path):
    urban_files(tmp_path)
    (tmp_path / "urban1k/image/7.jpg").rename(tmp_path / "urban1k/image/7.webp")
    (tmp_path / "urban1k/image/._12.jpg").write_bytes(b"of a Mac")
    found = checked(find("urban1k@1000"), read(find("urban1k@1000"), Roots((tmp_path,))))
    assert (found.present, found.images, found.verdict) == (2, 2, "differs")
    (tmp_path / "urban1k/image/12.jpg").unlink()
    found = checked(find("urban1k@1000"), read(find("urban1k@1000"), Roots((tmp_path,))))
    assert (found.present, found.missing) == (1, str(tmp_path / "urban1k/image/12.jpg"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"filename": "1.jpg", "caption": "A."}', r"urban_dataset_test.json: not whole JSON"),
        ('[{"filename": "1.jpg"}]', r"urban_dataset_test.json: entry 0 has no field 'caption'"),
        ('[{"filename": "1.jpg", "caption": 5}]', r"urban_dataset_test.json: entry 0 is not as it should be: texts"),
        ("[]", r"urban_dataset_test.json holds no row of urban1k@1000"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, said):
    put(tmp_path / "urban1k/urban_dataset_test.json", content)
    with pytest.raises(ValueError, match=said):
        read(find("urban1k@1000"), Roots((tmp_path,)))


def test_a_missing_folder_says_every_place_that_was_looked_at(tmp_path):
    pinned = find("docci@test5000")
    with pytest.raises(
        ValueError, match=r"docci@test5000: .* holds no docci/docci_descriptions.jsonlines nor docci/test_set"
    ):
        read(pinned, Roots((tmp_path,)))
    assert places(READERS["fg-ovd"][0], find("fg-ovd@hard"))[0] == "fg_ovd/h_attributes_llava.jsonl"


def test_a_list_that_ends_too_early_is_no_first_thousand(tmp_path):
    put(tmp_path / "share4v/share4v_sam_10k.json", json.dumps(json.loads(conversations(SINGLE))[:5]))
    with pytest.raises(ValueError, match="ends after 5 of 1,000 entries"):
        read(find("sharegpt4v@first1000"), Roots((tmp_path,)))
    whole = json.dumps(json.loads(conversations(SINGLE)))
    put(tmp_path / "share4v/share4v_sam_10k.json", whole[: len(whole) // 2 - 30])
    with pytest.raises(ValueError, match=r"entry \d+ is cut off"):
        read(find("sharegpt4v@first1000"), Roots((tmp_path,)))


def test_a_shard_that_is_missing_or_cut_off_is_named(tmp_path):
    tar(tmp_path, "wds_flickr30k/test", PAIRS)
    pinned, roots = find("flickr30k@karpathy1k"), Roots((tmp_path,))
    shard = tmp_path / "wds_flickr30k/test/1.tar"
    shard.write_bytes(shard.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"1\.tar"):
        read(pinned, roots)
    shard.unlink()
    with pytest.raises(ValueError, match="has 1 of 2 shards"):
        read(pinned, roots)


def test_shards_have_a_hash_of_their_own(tmp_path):
    tar(tmp_path, "wds_flickr30k/test", PAIRS)
    pinned = find("flickr30k@karpathy1k")
    found = checked(pinned, read(pinned, Roots((tmp_path,))))
    assert found.verdict == "differs"  # none is pinned, and two photos are not a thousand
    right = replace(pinned, data_by_position=found.sha256)
    assert checked(right, found.data).verdict == "ok"


def test_a_shard_without_captions_or_one_class_is_refused_unread(tmp_path):
    pinned, roots = find("flickr30k@karpathy1k"), Roots((tmp_path,))
    for ending, said in (("npy", r"s0000000 has several classes"), ("json", "has neither a caption")):
        tar(tmp_path / ending, "wds_flickr30k/test", [("0", (ending, "\x93NUMPY or not"))])
        with pytest.raises(ValueError, match=said):
            read(pinned, Roots((tmp_path / ending,)))
    assert not roots.find("wds_flickr30k/test")


def test_photos_of_the_other_split_stand_for_those_of_imageinwords(tmp_path):
    put(tmp_path / "imageinwords/DOCCI_Test/data.jsonl", {"image": "test_00731", "IIW": "A clean hall."})
    pinned, roots = find("iiw@docci100"), Roots((tmp_path,))
    picture(tmp_path / "docci/images/train_00731.jpg")
    assert read(pinned, roots).images.place("test_00731").name == "train_00731.jpg"
    picture(tmp_path / "docci/images/test_00731.jpg")
    assert read(pinned, roots).images.place("test_00731").name == "test_00731.jpg"


def left_red(path: Path, **saved) -> None:
    """A picture of 40 x 20 pixels whose left half is red."""
    image = Image.new("RGB", (40, 20))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    image.save(path, "PNG", **saved)


def test_a_box_of_an_image_is_cut_at_the_border_and_turned_with_it(tmp_path):
    left_red(tmp_path / "plain.png")
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned by a quarter, clockwise
    left_red(tmp_path / "turned.png", exif=exif)
    boxes = {"plain.png": (10, 5, 100, 10), "turned.png": (10, 5, 100, 10), "outside.png": (50, 0, 10, 10)}
    places = {Path(name): (tmp_path / name, box) for name, box in boxes.items()}
    places[Path("outside.png")] = (tmp_path / "plain.png", boxes["outside.png"])
    crops = Crops(Folders((tmp_path,)), places)
    for name, size, red in (("plain.png", (30, 10), (0, 0, 10, 10)), ("turned.png", (10, 30), (0, 0, 10, 10))):
        with Image.open(io.BytesIO(crops.load(Path(name)))) as image:
            assert image.size == size
            assert sorted(image.getcolors()) == [(100, (255, 0, 0)), (200, (0, 0, 0))]
            assert image.crop(red).getcolors() == [(100, (255, 0, 0))]
    with pytest.raises(ValueError, match=r"plain.png of 40 x 20 pixels shows nothing in the box \[50, 0, 10, 10\]"):
        crops.load(Path("outside.png"))


EXAMPLES = [
    (reader, layout)
    for reader, layouts in READERS.items()
    for layout in layouts
    if re.match(r"([\w/-]+[.]jsonl?: )?[\[{]", layout.example)
]


@pytest.mark.parametrize(("reader", "layout"), EXAMPLES, ids=lambda value: getattr(value, "name", value))
def test_an_example_as_the_card_prints_it_is_read_and_its_photo_found(tmp_path, reader, layout):
    file, content = re.fullmatch(r"(?:([\w/-]+[.]jsonl?): )?(.*)", layout.example, re.DOTALL).groups()
    for pinned in (pinned for pinned in registry().values() if pinned.reader == reader):
        place = tmp_path / places(layout, pinned)[0]
        put(place / file.removeprefix("data/") if file else place, content)
        one_file = {"files": (Path(file).stem,)} if file and "files" in pinned.options else {}
        alone = replace(pinned, options={**pinned.options, "first": 1, **one_file})
        with contextlib.suppress(ValueError):  # another variant's split
            rows = read(alone, Roots((tmp_path,))).rows
            names = [name for row in rows for name in getattr(row, "images", None) or (row.image,)]
            for photo in (tmp_path / folders(layout, pinned)[0] / name for name in names):
                picture(photo if photo.suffix else photo.with_suffix(".png"))
            images = read(alone, Roots((tmp_path,))).images
            assert names
            assert all(images.holds(images.place(name)) for name in names)
            return
    pytest.fail("no protocol of the reader takes the example")
