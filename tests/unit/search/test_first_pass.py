"""Shortlists of a small index, of one with cells, and of one that was never finished."""

import pytest
import torch

from foveal.search import MODES, Indexing
from foveal.search.first_pass import FirstPass, columns_of
from foveal.search.scoring import encode_text_queries
from foveal.search.sources import id_of
from foveal.search.store import Store, cells, table
from foveal.search.store.codes import Codes

TEXTS = ["a red square above a blue one", "two green stripes"]


@pytest.fixture
def index(tmp_path, encoder, fill, monkeypatch):
    """Sixty pictures with cells."""
    monkeypatch.setattr(cells, "PER_CELL", 3)
    monkeypatch.setattr(table, "CODED", 20)
    photos = fill(tmp_path / "photos", range(60))
    Indexing(str(photos), str(tmp_path / "index"), tokens=6, regions=5)(lambda: encoder)
    return tmp_path / "index"


@pytest.fixture
def queries(encoder):
    return encode_text_queries(encoder, TEXTS)


def ids(numbers):
    return {id_of(f"{number:03d}.jpg") for number in numbers}


def test_a_score_reads_what_it_compares():
    columns = {mode: columns_of(score.needs) for mode, score in MODES.items()}
    assert columns == {
        "global": ("embedding",),
        "late": ("embedding", "tokens"),
        "fused": ("embedding", "tokens"),
        "region": ("embedding", "regions", "boxes"),
    }


def test_all_of_a_small_index_is_on_the_list(index, queries, monkeypatch):
    monkeypatch.setattr(table, "CODED", 100)
    first_pass = FirstPass(Store.open(index))
    whole, again = first_pass([[query] for query in queries], "late", "", 5)
    assert set(whole.ids) == ids(range(60))
    assert whole.features is again.features  # of one comparison for both
    [some] = first_pass([queries[:1]], "late", "path < '005'", 2)
    assert set(some.ids) == ids(range(5))
    rows, features = some.best(torch.tensor([3, 1]))
    assert [row["id"] for row in rows] == [some.ids[3], some.ids[1]]
    torch.testing.assert_close(features.embedding, some.features.embedding[[3, 1]])


@pytest.mark.parametrize(
    ("mode", "least", "most"), [("global", 8, 8), ("late", 8, 8), ("region", 8, 8), ("fused", 8, 12)]
)
def test_as_many_are_on_the_list_as_were_asked_for(index, queries, mode, least, most):
    """Where half of a score is the cosine, half as many again come from the other half."""
    first_pass = FirstPass(Store.open(index))
    for query in queries:
        [shortlist] = first_pass([[query]], mode, "", 8)
        assert least <= len(shortlist) <= most
        assert len(set(shortlist.ids)) == len(shortlist) == len(shortlist.features)


def test_each_part_of_a_query_brings_its_own(index, queries):
    first_pass = FirstPass(Store.open(index))
    [both] = first_pass([queries], "late", "", 8)
    apart = first_pass([[query] for query in queries], "late", "", 8)
    assert both.ids == list(dict.fromkeys([*apart[0].ids, *apart[1].ids]))


def test_what_is_read_is_in_the_order_of_the_list(index, queries):
    store = Store.open(index)
    [shortlist] = FirstPass(store)([queries[:1]], "late", "", 9)
    stored = store.features_of(shortlist.ids)
    place = {image_id: number for number, image_id in enumerate(sorted(shortlist.ids))}
    torch.testing.assert_close(
        shortlist.features.tokens, stored.tokens[[place[image_id] for image_id in shortlist.ids]]
    )
    rows, features = shortlist.best(torch.tensor([8, 0]))
    assert [row["id"] for row in rows] == [shortlist.ids[8], shortlist.ids[0]]
    torch.testing.assert_close(features.regions[0], stored.regions[place[shortlist.ids[8]]])


@pytest.mark.parametrize("mode", MODES)
def test_a_filter_narrows_every_mode(index, queries, mode):
    first_pass = FirstPass(Store.open(index))
    [few] = first_pass([queries[:1]], mode, "path < '004'", 8)
    assert set(few.ids) == ids(range(4))  # no more than asked for: all of them
    [many] = first_pass([queries[:1]], mode, "path < '040'", 8)
    assert set(many.ids) <= ids(range(40))
    assert len(many) >= 8


def test_what_has_no_cells_is_found_by_its_embedding_and_said_to_be(index, queries, caplog):
    store = Store.open(index)
    Codes(store._database, store.layout).forget(sorted(ids(range(50))))
    FirstPass(store)
    assert "50 of 60 pictures are found by their whole embedding alone until foveal index has run" in caplog.text
    caplog.clear()
    [shortlist] = FirstPass(Store.open(index))([queries[:1]], "late", "", 20)
    assert len(shortlist) >= 20
    assert set(shortlist.ids) & ids(range(50))
    Codes(store._database, store.layout).drop()
    for mode in MODES:
        [shortlist] = FirstPass(Store.open(index))([queries[:1]], mode, "", 8)
        assert len(shortlist) >= 8


@pytest.mark.parametrize(("mode", "part"), [("late", "tokens"), ("region", "regions")])
def test_a_mode_asks_the_cells_of_what_it_compares(index, queries, mode, part):
    first_pass = FirstPass(Store.open(index))
    image_ids, postings = first_pass._codes
    for query in queries:
        members = query.tokens if part == "tokens" else query.phrases
        numbers = postings[part].nearest(members, 8, 1.0)
        [shortlist] = first_pass([[query]], mode, "", 8)
        assert shortlist.ids[:8] == [image_id.decode() for image_id in image_ids[numbers]]


def test_without_cells_boxes_are_compared_by_the_engine_and_tokens_are_not(index, queries):
    store = Store.open(index)
    Codes(store._database, store.layout).drop()
    first_pass = FirstPass(Store.open(index))
    whole = store.nearest(torch.stack([queries[0].embedding]).numpy(), "", 8)[0]
    [late] = first_pass([queries[:1]], "late", "", 8)
    assert late.ids == whole
    boxes = store.nearest_regions(queries[0].phrases.numpy(), "", 8)
    [region] = first_pass([queries[:1]], "region", "", 8)
    assert set(region.ids) == {*whole, *boxes}
