"""The 54 hashes that were made independently, from files at hand, and what a hash does not depend on."""

import json
import random
import shutil

import pytest

from foveal.evaluation.classification import imagenet_prompts
from foveal.evaluation.pinned.canonical import Captions, Case, Label, canonical, digest
from foveal.evaluation.pinned.check import check
from foveal.evaluation.pinned.names import imagenet_names, imagenet_part, lvis_names
from foveal.evaluation.pinned.reading import Roots, read
from foveal.evaluation.pinned.registry import find, registry

WHOLE = {  # names of hashes.json, and ours
    "urban1k@1000 (GOAL text)": "urban1k@1000",
    "docci@test5000": "docci@test5000",
    "docci@test+qual5100": "docci@test5100",
    "dci@goal1999": "dci@goal1999",
    "iiw@612 raw": "iiw@612",
    "iiw@612 rejoined": "iiw@612-rejoined",
    "iiw@400 raw": "iiw@400",
    "iiw@docci100 raw": "iiw@docci100",
    "iiw@flair-sentences": "iiw@flair-sentences6204",
    "coco@val2017-first5 (raw)": "coco@val2017-x5",
    "coco@val2017-all": "coco@val2017-all25014",
    "flickr30k@karpathy1k": "flickr30k@karpathy1k",
    "flickr30k@karpathy-val1014": "flickr30k@karpathy-val1014",
    "flickr30k-cn@test1k (ObjEmbed file)": "flickr30k-cn@lan1k",
    "coco-cn@test-translated5": "coco-cn@test1k-x5",
    "sorce1k@1023": "sorce1k@1023",
    "himo-docci@1000": "himo@docci-k",
    "fg-ovd@hard": "fg-ovd@hard",
    "fg-ovd@medium": "fg-ovd@medium",
    "fg-ovd@easy": "fg-ovd@easy",
    "fg-ovd@trivial": "fg-ovd@trivial",
    "pope/random": "pope@coco-random",
    "pope/popular": "pope@coco-popular",
    "pope/adversarial": "pope@coco-adversarial",
}
COPIES = {"urban1k@1000 (FLAIR text)": "urban1k@1000", "coco@val2017-first5 (stripped)": "coco@val2017-x5"}
PARTS = {"sugarcrepe": "sugarcrepe@7", "sugarcrepe++": "sugarcrepe++@itt", "valse": "valse@agreed"}


@pytest.fixture(scope="session")
def hashes(shared_data):
    return {
        name: row["sha256"] for name, row in json.loads((shared_data / "protocols/hashes.json").read_text()).items()
    }


@pytest.fixture(scope="session")
def roots(shared_data):
    return Roots((shared_data, shared_data / "protocols"))


def test_every_independent_hash_stands_in_the_registry(hashes):
    for theirs, sha256 in hashes.items():
        family, _, part = theirs.partition("/")
        if theirs in WHOLE:
            assert find(WHOLE[theirs]).data == sha256, theirs
        elif theirs in COPIES:
            assert sha256 in find(COPIES[theirs]).also, theirs
        elif family in PARTS:
            assert find(PARTS[family]).parts[part] == sha256, theirs
        else:
            assert sha256 in {pinned.labels for pinned in registry().values()}, theirs


@pytest.mark.parametrize("name", [name for name, pinned in registry().items() if pinned.data and not pinned.unseen])
def test_the_files_at_hand_give_the_pinned_hash(roots, name):
    assert digest(canonical(read(find(name), roots).rows)) == find(name).data


@pytest.mark.parametrize("name", [name for name, pinned in registry().items() if pinned.unseen])
def test_files_that_are_not_at_hand_are_marked_as_unseen(roots, name):
    with pytest.raises(ValueError, match=r"Get the files as|Get it from"):
        read(find(name), roots)


@pytest.mark.parametrize("family", PARTS)
def test_every_kind_of_a_choice_gives_its_pinned_hash(roots, family):
    pinned = find(PARTS[family])
    rows = read(pinned, roots).rows
    assert digest(canonical(rows)) == pinned.data
    for kind, sha256 in pinned.parts.items():
        assert digest(canonical([row for row in rows if row.kind == kind])) == sha256


def test_names_and_prompts_give_their_pinned_hashes(hashes):
    names, prompts = imagenet_names(), imagenet_prompts()
    for short, part in (("a", "imagenet_a"), ("r", "imagenet_r")):
        chosen = [names[label] for label in imagenet_part(part)]
        assert digest(canonical((), chosen, prompts)) == hashes[f"labels/imagenet-{short}-200x80"]
    assert digest(canonical((), names, prompts)) == hashes["labels/imagenet-1000x80"]
    assert digest(canonical((), lvis_names(), prompts)) == hashes["labels/lvis-1203x80"]


def test_the_classes_of_coco_are_the_pinned_ones(roots, hashes):
    data = read(find("coco-boxes@val2017-80"), roots)
    assert digest(canonical((), data.classes, data.prompts)) == hashes["labels/coco-80x80"]


def test_the_form_agrees_with_the_independent_one_on_all_kinds_of_text(shared_data):
    import importlib.util

    spec = importlib.util.spec_from_file_location("canonical_reference", shared_data / "protocols/canonical.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    pairs = [("b/2.jpg", 'say "hi"\n'), ("1.png", "日本"), ("2.jpg", " two "), ("é.jpg", "\u2028"), ("a.b.jpg", "\\")]
    assert canonical([Captions(image, (text,)) for image, text in pairs]) == reference.retrieval(
        [(reference.stem(image), text) for image, text in pairs]
    )
    cases = [("x/1", ["1"], ["a"], ["b", "c"], "k"), ("x/0", ["2"], ["é"], [""], "")]
    rows = [Case(case, tuple(images), tuple(right), tuple(wrong), kind) for case, images, right, wrong, kind in cases]
    assert canonical(rows) == reference.choice(cases)
    assert canonical([Label("n/2.jpg", 1), Label("1.jpg", 0)], ["b", "a"], ["z {}", "a {}"]) == reference.labels(
        ["b", "a"], ["a {}", "z {}"], [("2", 1), ("1", 0)]
    )


def copied(folder, shared_data, change):
    """A folder with SugarCrepe's files, changed."""
    shutil.copytree(shared_data / "sugar_crepe", folder / "sugar_crepe", copy_function=shutil.copyfile)
    for path in (folder / "sugar_crepe").glob("*.json"):
        path.write_bytes(change(json.loads(path.read_text(encoding="utf-8"))).encode())
    return check(find("sugarcrepe@7"), Roots((folder,)))


def shuffled(content):
    keys = list(content)
    random.Random(0).shuffle(keys)
    return json.dumps({key: content[key] for key in keys}, indent=3, ensure_ascii=True).replace("\n", "\r\n")


def test_order_line_ends_and_spacing_change_no_hash(tmp_path, shared_data):
    assert copied(tmp_path, shared_data, shuffled).verdict == "ok"


def test_one_changed_letter_changes_the_hash_and_is_shown(tmp_path, shared_data):
    def changed(content):
        if len(content) == 245:
            content["7"]["caption"] = content["7"]["caption"].replace("a", "e", 1)
        return json.dumps(content)

    found = copied(tmp_path, shared_data, changed)
    assert found.verdict == "differs"
    said = "\n".join(found.differences())
    assert 'first line that differs: ["swap_obj/7",' in said
    assert "swap_obj differs: 245 cases" in said
    assert "add_att differs" not in said


def test_a_known_copy_is_recognized(tmp_path, shared_data):
    content = json.loads((shared_data / "captions/coco_captions_val2017.json").read_text())
    for row in content["annotations"]:
        row["caption"] = row["caption"].strip()
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions/coco_captions_val2017.json").write_text(json.dumps(content))
    found = check(find("coco@val2017-x5"), Roots((tmp_path,)))
    assert found.verdict == "differs"
    assert any("this is a known copy: captions without the blanks" in line for line in found.differences())
