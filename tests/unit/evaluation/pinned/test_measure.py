"""Protocols measured from made-up folders: what is missing, limited, shared, written and compared."""

import json
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.cli.main import main
from foveal.evaluation import evaluate, read_report, table
from foveal.evaluation.compare import compare
from foveal.evaluation.pinned import registry as tables
from foveal.evaluation.pinned.canonical import stem
from foveal.evaluation.pinned.check import check
from foveal.evaluation.pinned.published import neighbors
from foveal.evaluation.pinned.reading import Roots, read
from foveal.evaluation.pinned.registry import find, registry
from foveal.evaluation.pinned.tasks import measured
from foveal.evaluation.report import JSON, QUERIES
from foveal.evaluation.result import Metric, Result


@pytest.fixture
def cities(tmp_path, monkeypatch):
    """Four photos and captions, pinned under the name urban1k@1000."""
    folder = tmp_path / "data"
    for number in range(4):
        for part in ("caption", "image"):
            (folder / "urban1k" / part).mkdir(parents=True, exist_ok=True)
        (folder / f"urban1k/caption/{number}.txt").write_text(f"City {number}.\n")
        Image.new("RGB", (40, 40), (60 * number, 0, 0)).save(folder / f"urban1k/image/{number}.jpg")
    pinned = find("urban1k@1000")
    sha256 = check(pinned, Roots((folder,))).sha256
    few = replace(pinned, data=sha256, images=4, rows=4)
    changed = {**registry(), few.name: few}
    for module in ("evaluate", "pinned.registry"):
        monkeypatch.setattr(import_module(f"foveal.evaluation.{module}"), "registry", lambda: changed)
    return folder


def test_a_whole_run_says_its_data_and_is_comparable(encoder, cities, tmp_path):
    report = evaluate(encoder(), ["urban1k@1000"], cities, model="BeichenZhang/LongCLIP-B")
    provenance = report.protocols["urban1k@1000"]
    assert (provenance.verdict, provenance.images, provenance.present, provenance.whole) == ("ok", 4, 4, True)
    assert (provenance.equal_texts, provenance.ties, provenance.rules, provenance.layout) == (
        "own",
        "half",
        1,
        "as downloaded",
    )
    assert {row["verdict"] for row in provenance.comparable} <= {"equal", "reproduced", "off"}
    assert {row["value"] for row in provenance.comparable} == {78.9, 79.5, 79.4, 79.6}
    text = table([report])
    assert f"urban1k@1000: data {provenance.sha256[:8]} ok, 4 of 4 pictures, rules 1." in text
    assert "published for Long-CLIP B/16 78.9 by HiMo-CLIP authors or quoted at 224" in text
    nearest = provenance.neighbors
    assert len(nearest) == 4
    assert nearest[-1].endswith(" more: --explain")
    assert not any("Long-CLIP B" in row for row in nearest)
    assert f"urban1k@1000: same protocol, other models: {'; '.join(nearest)}." in text


def test_the_nearest_published_numbers_of_other_models_are_named():
    metrics = {
        f"{way}@1": Metric(value, value, value, 1000)
        for way, value in (("image_to_text", 93.0), ("text_to_image", 93.1))
    }
    assert neighbors(Result(metrics, {}), "urban1k@1000", "mine")[0] == "HiMo-CLIP L/14 224: 93.0/93.1"
    assert neighbors(Result({}, {}), "urban1k@1000", "mine") == ()


def test_missing_pictures_are_counted_and_never_compared(encoder, cities):
    (cities / "urban1k/image/2.jpg").unlink()
    report = evaluate(encoder(), ["urban1k@1000"], cities, model="LongCLIP-B")
    provenance = report.protocols["urban1k@1000"]
    assert (provenance.verdict, provenance.present, provenance.whole) == ("ok", 3, False)
    assert {row["verdict"] for row in provenance.comparable} == {"not comparable"}
    assert "3 of 4 pictures, rules 1: not comparable with published numbers." in table([report])


def test_an_edited_caption_is_seen(encoder, cities):
    (cities / "urban1k/caption/2.txt").write_text("City two.\n")
    report = evaluate(encoder(), ["urban1k@1000"], cities)
    assert report.protocols["urban1k@1000"].verdict == "differs"
    assert not report.protocols["urban1k@1000"].whole
    assert "DIFFERS from the pinned data" in table([report])


def test_an_empty_caption_is_named(cities):
    (cities / "urban1k/caption/2.txt").write_text("\n")
    found = check(tables.find("urban1k@1000"), Roots((cities,)))
    assert "the text of 2 is empty" in found.differences()


def test_a_part_is_not_the_protocol(encoder, cities):
    report = evaluate(encoder(), ["urban1k@1000"], cities, limit=3)
    assert report.protocols["urban1k@1000"].limit == 3
    assert not report.protocols["urban1k@1000"].whole
    assert "the first 3 rows alone: not comparable" in table([report])
    assert len(report.results["urban1k@1000"]["retrieval"].queries["text_to_image"].outcome) == 3


def test_a_report_keeps_ranks_scores_and_rivals_in_canonical_order(encoder, cities, tmp_path):
    one = encoder(
        {cities / f"urban1k/image/{n}.jpg": (1, n / 4) for n in range(4)} | {f"City {n}.": (1, n / 4) for n in range(4)}
    )
    report = evaluate(one, ["urban1k@1000"], cities)
    report.write(tmp_path / "run")
    content = json.loads((tmp_path / "run" / JSON).read_text())
    assert content["schema"] == 2
    assert content["protocols"]["urban1k@1000"]["sha256"] == report.protocols["urban1k@1000"].sha256
    assert set(content["about"]["environment"]) >= {"torch", "numpy", "device", "tf32"}
    arrays = np.load(tmp_path / "run" / QUERIES)
    key = "urban1k@1000/retrieval/text_to_image/"
    assert {name.removeprefix(key) for name in arrays.files if name.startswith(key)} == {
        "outcome",
        "picture",
        "tied",
        "score",
        "rival",
    }
    assert arrays[key + "outcome"].dtype == np.int32
    assert arrays[key + "outcome"].tolist() == [1, 1, 1, 1]
    assert arrays[key + "score"].tolist() == pytest.approx([1.0] * 4)
    assert (arrays[key + "rival"] < 1).all()
    again = read_report(tmp_path / "run")
    assert again.protocols == report.protocols
    assert torch.equal(
        again.results["urban1k@1000"]["retrieval"].queries["text_to_image"].rival,
        report.results["urban1k@1000"]["retrieval"].queries["text_to_image"].rival,
    )


def test_a_report_of_the_first_schema_is_read(tmp_path):
    metrics = {"top1": {"value": 50.0, "low": 0.0, "high": 100.0, "count": 2}}
    row = {"unit": "pictures", "found": 2, "total": 2, "notes": [], "metrics": metrics}
    content = {"model": "m", "similarity": "global", "seconds": {"b": 1.0}, "results": {"b": {"t": row}}}
    (tmp_path / JSON).write_text(json.dumps(content))
    np.savez(tmp_path / QUERIES, **{"b/t/q/outcome": np.array([1, 0]), "b/t/q/picture": np.array([0, 1])})
    report = read_report(tmp_path)
    assert report.protocols == {}
    assert report.results["b"]["t"].queries["q"].outcome.tolist() == [1, 0]
    assert report.results["b"]["t"].queries["q"].score is None


def test_two_runs_on_one_protocol_align_by_place(encoder, cities, tmp_path):
    for name in ("one", "two"):
        known = {f"City {n}.": (1, n) for n in range(4)} if name == "two" else {}
        evaluate(encoder(known), ["urban1k@1000"], cities, model=name).write(tmp_path / name)
    found = compare(tmp_path / "one", tmp_path / "two")
    assert [each.metric for each in found[:3]] == ["image_to_text@1", "image_to_text@5", "image_to_text@10"]
    (cities / "urban1k/image/2.jpg").unlink()
    evaluate(encoder(), ["urban1k@1000"], cities).write(tmp_path / "part")
    with pytest.raises(ValueError, match="differ in how many images were there: 4 and 3"):
        compare(tmp_path / "one", tmp_path / "part")


def test_shared_encodings_change_no_number(encoder, shared_data):
    names = ["fg-ovd@hard", "fg-ovd@easy", "sugarcrepe@7"]
    together = evaluate(encoder(), names, shared_data)
    for name in names:
        alone = evaluate(encoder(), [name], shared_data)
        assert alone.results[name].keys() == together.results[name].keys()
        for task, result in alone.results[name].items():
            assert result.metrics == together.results[name][task].metrics


def test_a_picture_that_cannot_be_decoded_is_an_error_with_its_name(cities, capsys):
    (cities / "urban1k/image/2.jpg").write_bytes(b"no picture")
    assert main(["eval", "starter", "urban1k@1000", "--root", str(cities)]) == 2
    assert "2.jpg" in capsys.readouterr().err


def test_strict_exits_1_where_pictures_are_missing(cities, capsys):
    command = ["eval", "starter", "urban1k@1000", "--root", str(cities)]
    assert main([*command, "--strict"]) == 0
    (cities / "urban1k/image/2.jpg").unlink()
    assert main(command) == 0
    assert main([*command, "--strict"]) == 1
    assert "3 of 4 pictures" in capsys.readouterr().out


def test_a_protocol_is_checked_pinned_listed_and_explained_without_a_model(cities, capsys):
    assert main(["eval", "--check", "urban1k@1000", "--root", str(cities)]) == 0
    assert "ok\n  read: " in capsys.readouterr().out
    assert main(["eval", "--pin", "urban1k@1000", "--root", str(cities)]) == 0
    pinned = capsys.readouterr().out
    assert '["urban1k@1000"]\nimages = 4\nrows = 4\ndata = "' in pinned
    assert main(["eval", "--list", "urban", "--root", str(cities)]) == 0
    assert re.search(r"urban1k@1000 +retrieval +4 +4 +yes", capsys.readouterr().out)
    assert main(["eval", "--explain", "urban1k@1000", "--root", str(cities)]) == 0
    card = capsys.readouterr().out
    for said in (
        "urban1k/caption",
        "here: ",
        "huggingface.co/datasets/BeichenZhang/Urban1k",
        "HiMo-CLIP L/14",
        "Pitfalls:",
    ):
        assert said in card
    (cities / "urban1k/caption/2.txt").write_text("City two.\n")
    assert main(["eval", "--check", "urban1k@1000", "--root", str(cities)]) == 1
    assert "differs from the pinned" in capsys.readouterr().out


def test_several_data_folders_are_searched_in_order(encoder, cities, tmp_path):
    (cities / "urban1k/image").rename(tmp_path / "image")
    (tmp_path / "photos/urban1k").mkdir(parents=True)
    (tmp_path / "image").rename(tmp_path / "photos/urban1k/image")
    report = evaluate(encoder(), ["urban1k@1000"], [cities, tmp_path / "photos"])
    assert report.protocols["urban1k@1000"].whole


def test_what_is_known_and_not_run_says_why(encoder, tmp_path):
    with pytest.raises(ValueError, match="refcoco@val is known and not run here: a dual encoder needs proposals"):
        evaluate(encoder(), ["refcoco@val"], tmp_path)


def test_boxes_follow_photos_that_exif_turns(tmp_path, caplog):
    lines = []
    for turn, width, height in ((6, 400, 200), (8, 200, 400), (3, 400, 200)):
        exif = Image.Exif()
        exif[0x112] = turn
        (tmp_path / "coco/val2017").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 200)).save(tmp_path / f"coco/val2017/{turn}.jpg", exif=exif)
        row = {"img_path": f"val2017/{turn}.jpg", "bbox": [10, 10, 80, 80], "width": width, "height": height}
        lines.append(json.dumps(row | {"pos_expression": ["red"], "neg_expression": ["blue"]}))
    (tmp_path / "fg_ovd").mkdir()
    (tmp_path / "fg_ovd/h_attributes_llava.jsonl").write_text("\n".join(lines))
    pinned = find("fg-ovd@hard")
    samples = measured(pinned, read(pinned, Roots((tmp_path,)))).samples
    box = {sample.id: sample.regions[0].box for sample in samples}
    assert box["6"] == pytest.approx((0.55, 0.025, 0.95, 0.225))
    assert box["8"] == pytest.approx((0.05, 0.025, 0.45, 0.225))
    assert box["3"] == (0, 0, 0, 0)  # counts as not measured
    assert "3.jpg: its boxes are left out: the photo is turned (EXIF 3)" in caplog.text


def test_the_numbers_of_fg_ovd_are_the_published_ones(shared_data):
    twins = 0
    for name, count in {"hard": 3545, "medium": 2968, "easy": 1299, "trivial": 3545}.items():
        rows = read(find(f"fg-ovd@{name}"), Roots((shared_data,))).rows
        assert len(rows) == count
        assert {len(row.wrong) for row in rows} <= set(range(2, 11))
        twins += sum(row.right[0] in row.wrong for row in rows)
    assert twins == 4  # all in the medium file


def test_the_copy_in_the_photos_annotations_has_the_same_regions(shared_data):
    annotations = json.loads((shared_data / "coco/annotations.json").read_text())["images"]
    rows = {
        (stem(row.image), row.right, tuple(row.box))
        for name in ("hard", "medium", "easy", "trivial")
        for row in read(find(f"fg-ovd@{name}"), Roots((shared_data,))).rows
    }
    regions = [(image["id"], row) for image in annotations for row in image["fgovd"]]
    assert len(regions) == 96
    assert all((f"{number:012d}", tuple(row["pos"]), tuple(row["bbox"])) in rows for number, row in regions)


def test_what_stands_in_training_data_is_counted(cities, tmp_path, capsys):
    for number in range(4):
        text = " ".join(f"word{number}{place}" for place in range(20))
        (cities / f"urban1k/caption/{number}.txt").write_text(f"{text}\n")
        noise = np.random.default_rng(number).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((160, 160)).save(cities / f"urban1k/image/{number}.jpg")
    Image.open(cities / "urban1k/image/1.jpg").resize((120, 120)).save(tmp_path / "copy.jpg", quality=80)
    caption = "Once more: " + (cities / "urban1k/caption/2.txt").read_text()
    row = {"id": "x", "image": "copy.jpg", "captions": [caption]}
    (tmp_path / "training.jsonl").write_text(json.dumps(row) + "\n")
    command = ["eval", "starter", "urban1k@1000", "--root", str(cities), "--training", str(tmp_path / "training.jsonl")]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    assert "1 of 4 images and 1 of 4 texts stand in the training data" in capsys.readouterr().out
    known = read_report(tmp_path / "run").protocols["urban1k@1000"].contamination
    assert (known["checked"], known["found"], known["captioner"]) == (True, {"images": 1, "texts": 1}, "gpt-4v")


def test_without_training_data_what_is_known_of_them_is_said(encoder, cities):
    report = evaluate(encoder(), ["urban1k@1000"], cities, model="mine")
    assert "urban1k@1000: contamination: unknown: the training data of mine are not listed." in table([report])
