import json
from io import BytesIO

import pytest
import torch
from PIL import Image

from foveal.data.scenes import Scenes
from foveal.evaluation import SCENE_TASKS, Benchmark, Report, evaluate, read_report, table
from foveal.evaluation.pinned.registry import ALIASES
from foveal.evaluation.result import Metric, Queries, Result


def small():
    """The scenes benchmark with few scenes."""
    return {"scenes@test1000": lambda: Benchmark(Scenes(split="test", count=6), SCENE_TASKS)}


def test_every_scene_is_encoded_once_for_all_tasks(encoder, tmp_path):
    one = encoder()
    report = evaluate(one, ["scenes"], tmp_path, benchmarks=small())
    assert one.passes == 1
    assert len(one.pictures) == 6
    assert len(set(one.texts)) == len(one.texts)
    assert list(report.results["scenes@test1000"]) == [task.name for task in SCENE_TASKS]


OLD_NAMES = [
    "fg_ovd_hard",
    "fg_ovd_medium",
    "fg_ovd_easy",
    "fg_ovd_trivial",
    "sugar_crepe",
    "coco_captions",
    "coco_boxes",
]


def test_real_files_count_what_has_its_picture(encoder, shared_data):
    report = evaluate(encoder(), OLD_NAMES, shared_data, model="by chance")
    share = {name: next(iter(tasks.values())) for name, tasks in report.results.items()}
    assert list(share) == [ALIASES[name] for name in OLD_NAMES]  # older names print the new ones
    assert (share["sugarcrepe@7"].found, share["sugarcrepe@7"].total) == (205, 7511)
    assert sum(share[name].found for name in share if name.startswith("fg-ovd@")) == 96
    assert share["fg-ovd@hard"].total == 3545
    assert share["coco-boxes@val2017-80"].found == share["coco-boxes@val2017-80"].total == 832
    assert share["coco@val2017-x5"].total == 25_000
    text = table([report])
    assert "sugarcrepe@7 caption_choice: 205 of 7,511 pairs have their picture" in text
    assert "35 of 1,560 pictures, rules 1: not comparable with published numbers." in text
    assert "coco-boxes@val2017-80: data 02a79d77 not pinned yet, of unknown size" in text
    assert 30 < share["sugarcrepe@7"].metrics["mean"].value < 70  # what chance gives, and what is reported


def test_similarity_reaches_the_tasks_that_have_one(encoder, tmp_path):
    asked = []
    one = encoder()
    sets = one.sets
    one.sets = lambda keys: asked.append(len(keys)) or sets(keys)
    plain = evaluate(one, ["scenes"], tmp_path, benchmarks=small())
    assert not asked
    late = evaluate(one, ["scenes"], tmp_path, similarity="late", benchmarks=small())
    assert asked
    assert late.similarity == "late"
    first = "caption_retrieval", "region_choice"
    values = [[report.results["scenes@test1000"][name].metrics for name in first] for report in (plain, late)]
    assert values[0][0] != values[1][0]
    assert values[0][1] == values[1][1]


def test_what_is_measured_is_decoded_whole_unless_the_one_switch_says_otherwise(encoder, tmp_path):
    one = encoder()
    small()["scenes@test1000"]()(one)
    assert one.scaled is False
    for scaled in (True, False):
        report = evaluate(one, ["scenes"], tmp_path, scaled_decoding=scaled, benchmarks=small())
        assert (one.scaled, report.scaled_decoding) == (scaled, scaled)
        report.write(tmp_path / "out")
        assert read_report(tmp_path / "out").scaled_decoding is scaled
        assert ("decoded at a part of their size" in table([report])) is scaled


def test_a_report_of_an_earlier_release_was_measured_with_scaled_decoding(tmp_path):
    report_of("m", top1=(1.0, 1.0, 1.0)).write(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    del content["scaled_decoding"]
    (tmp_path / "report.json").write_text(json.dumps(content))
    assert read_report(tmp_path).scaled_decoding is True


def test_made_up_pictures_are_drawn_at_the_size_that_the_encoder_sees(encoder, tmp_path):
    one = encoder()
    one.image_size = 48
    evaluate(one, ["scenes"], tmp_path, benchmarks=small())
    sizes = {Image.open(BytesIO(picture)).size for picture in one.pictures}
    assert sizes == {(48, 48)}


def test_an_unknown_benchmark_lists_the_known(encoder, tmp_path):
    with pytest.raises(ValueError, match=r"no protocol 'sugar_crap'. Did you mean sugar_crepe"):
        evaluate(encoder(), ["sugar_crap"], tmp_path)


def test_a_report_is_read_as_it_was_written(encoder, tmp_path):
    report = evaluate(encoder(), ["scenes"], tmp_path, model="m", benchmarks=small())
    report.write(tmp_path / "out")
    again = read_report(tmp_path / "out")
    assert (again.model, again.similarity, again.seconds) == ("m", "global", report.seconds)
    for (benchmark, task, old), (other, same, new) in zip(report.rows(), again.rows(), strict=True):
        assert (benchmark, task) == (other, same)
        assert (old.metrics, old.notes, old.unit) == (new.metrics, new.notes, new.unit)
        assert (old.found, old.total) == (new.found, new.total)
        for name, queries in old.queries.items():
            assert torch.equal(queries.outcome, new.queries[name].outcome)
            assert torch.equal(queries.picture, new.queries[name].picture)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["queries.npz", "report.json"]


def test_a_new_report_replaces_the_old(tmp_path):
    for value in (1.0, 2.0):
        report_of("m", top1=(value, value, value)).write(tmp_path)
    assert read_report(tmp_path).results["b"]["t"].metrics["top1"].value == 2


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    report_of("m", top1=(1.0, 1.0, 1.0)).write(tmp_path)
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report_of("m", top1=(2.0, 2.0, 2.0)).write(tmp_path)
    assert read_report(tmp_path).results["b"]["t"].metrics["top1"].value == 1


def test_a_damaged_report_is_one_clear_line(tmp_path):
    with pytest.raises(ValueError, match="holds no whole report"):
        read_report(tmp_path)
    report_of("m", top1=(1.0, 1.0, 1.0)).write(tmp_path)
    (tmp_path / "queries.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="holds no whole report"):
        read_report(tmp_path)


def report_of(model, **metrics):
    result = Result(
        metrics={name: Metric(*ends, 2) for name, ends in metrics.items()},
        queries={"pairs": Queries(torch.tensor([1, 0]), torch.tensor([0, 1]))},
        unit="pairs",
        found=2,
        total=1000,
        notes=("chance 50.0",),
    )
    return Report(model, "global", {"b": {"t": result}}, {"b": 1.0})


def test_models_stand_side_by_side():
    ours = report_of("ours", top1=(50.0, 40.04, 60.0), top5=(90.0, 80.0, 95.0))
    text = table([ours, report_of("clip", top1=(1.0, 0.0, 2.0))])
    lines = text.splitlines()
    assert lines[0].split() == ["benchmark", "task", "metric", "ours", "clip"]
    assert lines[1].split() == ["b", "t", "top1", "50.0", "[40.0,", "60.0]", "1.0", "[0.0,", "2.0]"]
    assert lines[2].split() == ["top5", "90.0", "[80.0,", "95.0]"]
    assert lines[1].index("50.0") == lines[2].index("90.0")
    assert text.count("b t: 2 of 1,000 pairs have their picture; chance 50.0.") == 1
