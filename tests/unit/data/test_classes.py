import hashlib
from pathlib import Path

import pytest

from foveal.data import classes
from foveal.data.classes import LISTS, class_names, ov_coco

COUNTS = {"ade150": 150, "ade847": 847, "coco_stuff171": 171, "pc459": 459, "pc59": 59, "voc20": 20, "voc20b": 59}


def test_lists_have_as_many_classes_as_they_say():
    assert {name: len(class_names(name)) for name in LISTS} == COUNTS
    assert class_names("ade150")[7] == "bed"
    assert class_names("voc20b")[:20] == class_names("voc20")
    assert class_names("coco_stuff171")[:3] == ("person", "bicycle", "car")


def test_ov_coco_has_48_base_and_17_novel_classes():
    base, novel = ov_coco()
    assert (len(base), len(novel), len({*base, *novel})) == (48, 17, 65)
    assert "hot dog" not in base + novel


def test_lists_are_as_they_were_published():
    files = sorted(Path(classes.__file__).parent.glob("*.json"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert digest[:16] == "c3b16ad07fbebc0e"


def test_an_unknown_list_names_those_there_are():
    with pytest.raises(ValueError, match="There are: ade150, ade847"):
        class_names("ade151")
