import csv
from dataclasses import replace
from io import StringIO

import pytest
import torch

from foveal.evaluation.board import as_csv, as_html, board, markdown, means
from foveal.evaluation.compare import as_text, compare, holm, mcnemar, paired_bootstrap
from foveal.evaluation.report import Provenance, Report
from foveal.evaluation.result import Metric, Queries, Result


def run(folder, ranks, name="urban1k@1000", **changed):
    """A made-up run with known ranks, one query an image."""
    rank = torch.tensor(ranks)
    queries = Queries(rank, torch.arange(len(rank)), tied=torch.zeros_like(rank))
    value = 100 * (rank == 1).double().mean().item()
    metrics = {"text_to_image@1": Metric(value, value - 5.0, value + 5.0, len(rank))}
    provenance = Provenance("ab" * 32, "ok", len(rank), len(rank), len(rank), "as downloaded")
    Report(
        model=folder.name,
        similarity="global",
        results={name: {"retrieval": Result(metrics, {"text_to_image": queries})}},
        seconds={name: 1.0},
        protocols={name: replace(provenance, **changed)},
    ).write(folder)
    return folder


def test_a_model_against_itself_is_no_difference(tmp_path):
    ranks = [1, 2, 1, 1, 30, 1]
    found = compare(run(tmp_path / "a", ranks), run(tmp_path / "b", ranks))
    assert {each.metric for each in found} == {"text_to_image@1", "text_to_image@5", "text_to_image@10"}
    for each in found:
        assert (each.first, each.low, each.high, each.p, each.mcnemar, each.decided) == (each.second, 0, 0, 1, 1, False)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1), (5, 5, 1), (8, 2, 2 * (1 + 10 + 45) / 1024), (10, 0, 2 / 1024), (0, 1, 1)],
)
def test_mcnemar_is_the_binomial_tail_counted_by_hand(only_first, only_second, p):
    assert mcnemar(only_first, only_second) == pytest.approx(min(p, 1))
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


def test_two_lists_with_a_known_split(tmp_path):
    # 8 queries for the first alone, 2 for the other alone, 10 for both
    found = compare(
        run(tmp_path / "a", [1] * 8 + [2] * 2 + [1] * 10), run(tmp_path / "b", [2] * 8 + [1] * 2 + [1] * 10)
    )
    first = found[0]
    assert (first.only_first, first.only_second) == (8, 2)
    assert first.first - first.second == pytest.approx(30)
    assert first.mcnemar == pytest.approx(2 * 56 / 1024)
    assert "a alone 8, b alone 2: not decided" in as_text(found, ("a", "b"))


def test_the_bootstrap_draws_images_not_queries():
    first, second = torch.tensor([100.0, 0.0]).repeat(50), torch.zeros(100)
    alone = paired_bootstrap(first, second, torch.arange(100), 2000)
    together = paired_bootstrap(first, second, torch.arange(100) // 2, 2000)  # every image has one hit and one miss
    assert together[:2] == (50, 50)
    assert alone[0] < 45 < 55 < alone[1]
    assert alone[2] == together[2] == 1 / 2000


def test_holm_by_hand(tmp_path):
    (one, *_) = compare(run(tmp_path / "a", [1, 2]), run(tmp_path / "b", [1, 2]))
    corrected = [each.adjusted for each in holm([replace(one, p=p) for p in (0.04, 0.01, 0.03)])]
    assert corrected == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sha256": "cd" * 32}, "differ in data: abababab and cdcdcdcd"),
        ({"rules": 2}, "differ in the version of the scoring rules: 1 and 2"),
        ({"present": 1}, "differ in how many images were there: 2 and 1"),
        ({"limit": 2}, "differ in how many rows were measured"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path, changed, said):
    with pytest.raises(ValueError, match=said):
        compare(run(tmp_path / "a", [1, 2]), run(tmp_path / "b", [1, 2], **changed))


def test_runs_without_a_common_protocol_are_refused(tmp_path):
    with pytest.raises(ValueError, match="share no protocol: they have urban1k@1000 and docci@test5000"):
        compare(run(tmp_path / "a", [1]), run(tmp_path / "b", [1], name="docci@test5000"))


def test_the_board_ranks_whole_runs_beside_published_numbers(tmp_path):
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


def test_means_are_over_the_protocols_that_all_models_have(tmp_path):
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


def test_a_board_of_parts_alone_says_what_is_missing(tmp_path):
    run(tmp_path / "partial", [1, 1], present=1)
    with pytest.raises(ValueError, match="holds 1 reports and no whole run of a protocol"):
        board([tmp_path])
