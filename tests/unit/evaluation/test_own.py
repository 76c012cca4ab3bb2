import json

import pytest
from PIL import Image

from foveal.cli.main import main
from foveal.evaluation import evaluate, read_report, table
from foveal.evaluation.compare import compare
from foveal.evaluation.own import own


@pytest.fixture
def rows(tmp_path):
    """Four photos with all that rows can hold."""
    content = []
    for number in range(4):
        Image.new("RGB", (40, 40), (60 * number, 0, 0)).save(tmp_path / f"{number}.jpg")
        region = {"box": [0, 0, 0.5, 0.5], "phrase": f"mug {number % 2}", "negatives": [{"text": "cup"}]}
        row = {
            "id": str(number),
            "image": f"{number}.jpg",
            "captions": [f"photo {number}"],
            "long_caption": f"long {number}",
        }
        content.append(row | {"regions": [region], "caption_negatives": [{"text": f"no {number}", "kind": "x"}]})
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return path


def test_rows_decide_what_is_measured(encoder, rows):
    report = evaluate(encoder(), [str(rows)], rows.parent)
    ((name, tasks),) = report.results.items()
    assert name == own(str(rows)).name
    assert name.startswith("own@") and len(name) == 16
    assert list(tasks) == [
        "caption_retrieval",
        "long_caption_retrieval",
        "caption_choice",
        "region_choice",
        "region_classification",
    ]
    provenance = report.protocols[name]
    assert (provenance.verdict, provenance.images, provenance.present, provenance.whole) == ("own", 4, 4, True)
    assert f"{name}: data {provenance.sha256[:8]} of {rows}, 4 of 4 pictures, rules 1." in table([report])


def test_the_name_follows_the_texts_not_their_order(rows, tmp_path):
    name = own(str(rows)).name
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join(reversed(lines)) + "\n")
    assert own(str(rows)).name == name
    rows.write_text(rows.read_text().replace("photo 2", "photo two"))
    assert own(str(rows)).name != name


def test_captions_alone_are_retrieved(encoder, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg")
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"id": "a", "image": "a.jpg", "captions": ["a photo"]}) + "\n")
    report = evaluate(encoder(), [str(tmp_path / "pairs.jsonl")], tmp_path)
    assert [list(tasks) for tasks in report.results.values()] == [["caption_retrieval"]]


def test_a_file_of_ones_own_goes_the_whole_way(rows, tmp_path, capsys):
    for name in ("one", "two"):
        assert main(["eval", "starter", str(rows), "--out", str(tmp_path / name)]) == 0
    assert "own@" in capsys.readouterr().out
    assert all(each.p == 1 for each in compare(tmp_path / "one", tmp_path / "two"))
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert "p = 1" in capsys.readouterr().out
    assert main(["board", str(tmp_path)]) == 0
    assert f"## {next(iter(read_report(tmp_path / 'one').results))} text_to_image@1" in capsys.readouterr().out


def test_rows_without_anything_to_measure_are_refused(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg")
    region = {"box": [0, 0, 1, 1], "phrase": "mug"}
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "a", "image": "a.jpg", "regions": [region]}) + "\n")
    with pytest.raises(ValueError, match="1 samples and none has a caption, a negative or a phrase"):
        own(str(tmp_path / "a.jsonl"))
