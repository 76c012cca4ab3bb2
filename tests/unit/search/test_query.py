import pytest

from foveal.encoder.scores import SCORES
from foveal.search.query import MODES, Query


def test_an_index_answers_the_scores_that_compare_no_patches():
    assert set(MODES) == {"global", "late", "fused", "region"}
    assert all(MODES[name] is SCORES[name] for name in MODES)
    assert {name for name, score in SCORES.items() if "patches" in score.needs}.isdisjoint(MODES)


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_a_query_without_words_needs_a_picture(text):
    with pytest.raises(ValueError, match=r"^The query is empty\. Give a text, a picture or both\.$"):
        Query(text)
    assert Query(text, image="a.jpg").image == "a.jpg"


def test_a_box_needs_a_picture_to_lie_in():
    with pytest.raises(ValueError, match=r"Box \(0.0, 0.0, 1.0, 1.0\) has no picture"):
        Query("a cup", box=(0.0, 0.0, 1.0, 1.0))
    assert Query(image="a.jpg", box=(0.0, 0.0, 1.0, 1.0)).text == ""


@pytest.mark.parametrize("k", [0, -1])
def test_no_hits_are_no_search(k):
    with pytest.raises(ValueError, match=f"at least 1, not {k}"):
        Query("a cup", k=k)
    assert Query("a cup", k=1).k == 1


def test_a_mode_that_an_index_cannot_answer_lists_those_it_can():
    with pytest.raises(ValueError, match=r"^Mode 'parts' is unknown\. Known: global, late, fused, region\.$"):
        Query("a cup", mode="parts")


def test_a_query_has_usual_answers():
    query = Query("a cup")
    assert (query.k, query.mode, query.where, query.exclude, query.sql) == (20, "fused", "", "", "")


def test_a_filter_is_written_anew_and_refused_at_once():
    assert Query("a cup", where="width>=640").sql == "width >= 640"
    with pytest.raises(ValueError, match="nowhere"):
        Query("a cup", where="nowhere = 1")
