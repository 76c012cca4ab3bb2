"""Paired tests on two runs: made-up ranks, whose numbers are counted by hand."""

from dataclasses import replace

import pytest
import torch

from foveal.evaluation.compare import as_text, compare, holm, mcnemar, paired_bootstrap


def test_a_model_against_itself_is_no_difference(run, tmp_path):
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


def test_two_lists_with_a_known_split(run, tmp_path):
    # 8 queries for the first alone, 2 for the other alone, 10 for both
    found = compare(
        run(tmp_path / "a", [1] * 8 + [2] * 2 + [1] * 10), run(tmp_path / "b", [2] * 8 + [1] * 2 + [1] * 10)
    )
    first = found[0]
    assert (first.only_first, first.only_second) == (8, 2)
    assert first.first - first.second == pytest.approx(30)
    assert first.mcnemar == pytest.approx(2 * 56 / 1024)
    assert "a alone 8, b alone 2: not decided" in as_text(found, ("a", "b"))


def test_the_better_model_is_named_whichever_comes_first(run, tmp_path):
    good, poor = run(tmp_path / "good", [1] * 40), run(tmp_path / "poor", [2] * 40)
    assert as_text(compare(good, poor)[:1], ("good", "poor")).endswith("good is better")
    assert as_text(compare(poor, good)[:1], ("poor", "good")).endswith("good is better")


@pytest.mark.parametrize(("ties", "value"), [("half", 50), ("right", 100), ("against", 0)])
def test_ties_count_as_the_protocol_says(run, tmp_path, ties, value):
    runs = (run(tmp_path / name, [1, 1], tied=1, ties=ties) for name in "ab")
    assert compare(*runs)[0].first == value


def test_the_bootstrap_draws_images_not_queries():
    first, second = torch.tensor([100.0, 0.0]).repeat(50), torch.zeros(100)
    alone = paired_bootstrap(first, second, torch.arange(100), 2000)
    together = paired_bootstrap(first, second, torch.arange(100) // 2, 2000)  # every image has one hit and one miss
    assert together[:2] == (50, 50)
    assert alone[0] < 45 < 55 < alone[1]
    assert alone[2] == together[2] == 1 / 2000


def test_holm_by_hand(run, tmp_path):
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
def test_runs_that_cannot_be_compared_are_refused(run, tmp_path, changed, said):
    with pytest.raises(ValueError, match=said):
        compare(run(tmp_path / "a", [1, 2]), run(tmp_path / "b", [1, 2], **changed))


def test_runs_without_a_common_protocol_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match="share no protocol: they have urban1k@1000 and docci@test5000"):
        compare(run(tmp_path / "a", [1]), run(tmp_path / "b", [1], name="docci@test5000"))
