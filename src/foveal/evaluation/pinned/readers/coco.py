"""COCO's captions: val2017, and Karpathy's test split of val2014."""

from ..reading import Layout
from .mteb import retrieval as mteb
from .pairs import coco_json, image_and_captions, karpathy, other_tools

VAL2017 = (
    Layout(
        "as downloaded",
        ("coco/annotations/captions_val2017.json", "captions/coco_captions_val2017.json"),
        coco_json,
        ("coco/val2017", "coco/images/val2017", "coco/images"),
        '{"images": [{"id": 7, "file_name": "000000000007.jpg"}], "annotations": [{"image_id": 7, "caption": "A."}]}',
    ),
)

_VAL2014 = ("coco/val2014", "coco/images/val2014", "coco/images", "coco")

KARPATHY = (
    Layout(
        "Karpathy's",
        ("coco/dataset_coco.json", "coco/annotations/dataset_coco.json"),
        karpathy,
        _VAL2014,
        '{"images": [{"split": "test", "filename": "COCO_val2014_000000000007.jpg", "sentences": [{"raw": "A."}]}]}',
    ),
    Layout(
        "in COCO's own form",
        (
            "coco/coco_test_karpathy.json",
            "coco/annotations/coco_test_karpathy.json",
            "coco/annotations/coco_karpathy.json",
        ),
        coco_json,
        _VAL2014,
        "as captions_val2014.json, for the 5,000 photos of the split",
    ),
    Layout(
        "Salesforce's",
        ("coco/coco_karpathy_test.json", "coco/annotations/coco_karpathy_test.json"),
        image_and_captions,
        _VAL2014,
        '[{"image": "val2014/COCO_val2014_000000000007.jpg", "caption": ["A.", "B."]}]',
    ),
    *other_tools("wds_mscoco_captions", folder="coco"),
)

MBEIR = (
    Layout(
        "mteb's",
        ("coco/mteb", "coco-mbeir"),
        mteb,
        example="Parquet in corpus/ (id, image), queries/ (id, text) and qrels/ (query-id, corpus-id, score)",
    ),
)
