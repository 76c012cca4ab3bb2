"""Boards of made-up runs beside published numbers."""

import csv
from io import StringIO

import pytest

from foveal.evaluation.board import as_csv, as_html, board, markdown, means


def test_the_board_ranks_whole_runs_beside_published_numbers(run, tmp_path):
    run(tmp_path / "good", [1] * 99 + [2])
    run(tmp_path / "near", [1] * 96 + [2] * 4)
    run(tmp_path / "poor", [1] * 10 + [2] * 90)
    run(tmp_path / "partial", [1] * 100, present=1)
    tables = board([tmp_path])
    rows = tables["urban1k@1000", "text_to_image@1"]
    assert [row.value for row in rows] == sorted((row.value for row in rows), reverse=True)
    assert [(row.model, row.letter) for row in rows if row.measured] == [("good", "a"), ("near", "a"), ("poor", "")]
    assert {"Long-CLIP B/16", "HiMo-CLIP L/14"} <= {row.model for row in rows if not row.measured}
    text = markdown(tables)
    assert text == markdown(board([tmp_path]))
    assert "| good |  | global | 99.0 [94.0, 104.0] | 100 | a |" in text
    assert "| *Long-CLIP B/16* | *224* |" in text
    lines = list(csv.DictReader(StringIO(as_csv(tables))))
    assert len(lines) == len(rows)
    assert {line["model"] for line in lines} >= {"good", "poor"}
    assert "<tr class=published><td>" in as_html(tables)


def test_means_are_over_the_protocols_that_all_models_have(run, tmp_path):
    run(tmp_path / "a/long", [1] * 90 + [2] * 10)
    run(tmp_path / "a/docci", [1] * 50 + [2] * 50, name="docci@test5000")
    with pytest.raises(ValueError, match="No protocol was measured with every model"):
        means(board([tmp_path]))
    run(tmp_path / "b", [1] * 80 + [2] * 20)
    tables = board([tmp_path / "a/long", tmp_path / "b"])
    assert means(tables).splitlines()[2:] == [
        "text_to_image@1: over urban1k@1000.",
        "",
        "| model | similarity | text_to_image@1 |",
        "| --- | --- | --- |",
        "| b | global | 80.0 |",
        "| long | global | 90.0 |",
    ]


def test_a_board_of_nothing_says_how_to_fill_it(tmp_path):
    with pytest.raises(ValueError, match=r"holds no report\. Write one with `foveal eval --out`"):
        board([tmp_path])


def test_a_board_of_parts_alone_says_what_is_missing(run, tmp_path):
    run(tmp_path / "partial", [1, 1], present=1)
    with pytest.raises(ValueError, match="holds 1 reports and no whole run of a protocol"):
        board([tmp_path])
