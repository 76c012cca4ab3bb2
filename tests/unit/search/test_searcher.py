import shutil
from contextlib import suppress
from datetime import timedelta
from errno import ESTALE

import numpy as np
import pytest
import torch

from foveal.search import MODES, Indexing, Query, Searcher
from foveal.search.indexing.plan import IndexPlan
from foveal.search.scoring import encode_text_queries, similarities
from foveal.search.sources import id_of
from foveal.search.store import Store, cells, lance, table
from foveal.search.store.codes import Codes
from foveal.search.store.features import Features
from foveal.similarity import late_interaction

TEXT = "a red square above a blue one, and two green stripes"


def everything(searcher):
    """Every picture, as the index holds it, and their paths."""
    rows = searcher._store.pictures.read()
    return Features.of(rows, searcher._store.layout), rows["path"].to_pylist()


def exhaustive(searcher, text, mode):
    """The paths of all pictures, best first, by a plain loop over all of them."""
    features, paths = everything(searcher)
    encoder = searcher.encoder
    if mode == "global":
        alike = features.embedding @ encoder.encode_texts([text])[0]
    elif mode == "late":
        found = encoder.encode_texts_fully([text], tokens=True)
        alike = late_interaction(found.tokens, features.tokens, found.token_mask, direction="both", leak=0.1)[0]
    else:
        phrases = encoder.encode_texts(["a red square above a blue one", "two green stripes"], "phrase")
        alike = torch.stack(
            [
                (own[mask] @ phrases.T).amax(0).mean()
                for own, mask in zip(features.regions, features.region_mask, strict=True)
            ]
        )
    return [paths[at] for at in alike.argsort(descending=True)]


@pytest.mark.parametrize("mode", ["global", "late", "region"])
def test_hits_are_those_of_a_search_through_everything(searcher, mode):
    assert [hit.path for hit in searcher.search(TEXT, k=40, mode=mode)] == exhaustive(searcher, TEXT, mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_hit_is_as_similar_as_the_encoder_says(tmp_path, encoder, photos, mode):
    """Within what float16 and eight bits leave: an index keeps all tokens and regions of so small pictures."""
    Indexing(str(photos), str(tmp_path / "index"))(lambda: encoder)
    for text in (TEXT, "a cat"):
        for hit in Searcher.open(tmp_path / "index", encoder).search(text, mode=mode):
            expected = encoder.similarity([text], [photos / hit.path], mode).item()
            assert hit.similarities == ((mode, pytest.approx(expected, abs=2e-3)),)


@pytest.mark.parametrize("mode", MODES)
def test_the_rerank_is_the_encoders_score_of_the_stored_features(searcher, mode):
    query = encode_text_queries(searcher.encoder, [TEXT])[0]
    features, paths = everything(searcher)
    expected = dict(zip(paths, similarities([query], features, mode)[0].tolist(), strict=True))
    for hit in searcher.search(TEXT, k=40, mode=mode):
        assert hit.similarities == ((mode, pytest.approx(expected[hit.path], abs=1e-6)),)


def test_hits_are_in_the_order_of_their_similarity(searcher):
    for mode in MODES:
        values = [dict(hit.similarities)[mode] for hit in searcher.search(TEXT, k=40, mode=mode)]
        assert values == sorted(values, reverse=True)


def test_a_box_is_no_whole_picture_and_compared_with_regions(searcher, jpeg):
    box = (0.0, 0.0, 0.5, 0.5)
    fused, region = (searcher.search(image=jpeg(12), box=box, k=9, mode=mode) for mode in ("fused", "region"))
    assert fused == region
    assert fused[0].similarities[0][0] == "region"


def stop(_):
    raise KeyboardInterrupt


@pytest.fixture(params=["all compared", "coded", "not finished"])
def of_any_size(request, tmp_path, encoder, fill, monkeypatch):
    """Searchers that find their shortlists in each way."""
    monkeypatch.setattr(cells, "PER_CELL", 3)
    monkeypatch.setattr(table, "CODED", {"all compared": 10**6, "coded": 20, "not finished": 20}[request.param])
    if request.param == "not finished":
        monkeypatch.setattr(Codes, "update", lambda *_: None)
    Indexing(str(fill(tmp_path / "photos", range(60))), str(tmp_path / "index"), tokens=6, regions=5)(lambda: encoder)
    return Searcher(Store.open(tmp_path / "index"), encoder, shortlist=12)


def test_queries_together_are_answered_like_queries_alone(of_any_size, jpeg):
    box = (0.0, 0.0, 0.5, 0.5)
    queries = [
        *(Query(text, k=5, mode=mode) for text in (TEXT, "a dog") for mode in ("global", "late", "region", "fused")),
        Query("a cat", exclude="a dog", k=3, mode="late"),
        Query("word " * 30, k=2),
        Query("a cat", where="path < '030'", k=4),
        Query("a cat", where="path < '005'", k=4, mode="late"),
        Query(image=jpeg(7), k=4),
        Query("a cat", image=jpeg(8), box=box, k=4),
        Query(image=jpeg(9), box=box, k=4, mode="region"),
    ]
    together = of_any_size.search_many(queries)
    for query, hits in zip(queries, together, strict=True):
        alone = of_any_size.search_many([query])[0]
        assert [hit.path for hit in hits] == [hit.path for hit in alone]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-3)
        assert [hit.confidence for hit in hits] == pytest.approx([hit.confidence for hit in alone], abs=1e-3)
        assert [hit.boxes[0].box for hit in hits] == [hit.boxes[0].box for hit in alone]
        assert len(hits) == query.k
    assert of_any_size.search_many([]) == []


def test_an_index_whose_first_pass_lacks_pictures_says_so(tmp_path, encoder, fill, monkeypatch, caplog):
    monkeypatch.setattr(table, "CODED", 20)
    monkeypatch.setattr(cells, "PER_CELL", 3)
    indexing = Indexing(str(fill(tmp_path / "photos", range(30))), str(tmp_path / "index"))
    indexing(lambda: encoder)
    Searcher.open(tmp_path / "index", encoder)
    assert caplog.text == ""
    fill(tmp_path / "photos", range(30, 33))
    monkeypatch.setattr(Store, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        indexing(lambda: encoder)
    Searcher.open(tmp_path / "index", encoder)
    assert "3 of 33 pictures are found by their whole embedding alone until foveal index has run" in caplog.text


def test_a_batch_of_queries_asks_the_index_as_often_as_one_query(of_any_size, monkeypatch):
    asked = []
    for name in ("nearest", "named", "passing", "count"):
        own = getattr(Store, name)
        monkeypatch.setattr(Store, name, lambda *given, own=own, name=name: asked.append(name) or own(*given))
    of_any_size.search_many([Query(TEXT)])
    alone, asked[:] = list(asked), []
    of_any_size.search_many([Query(f"{number} cats") for number in range(9)])
    assert len(asked) <= len(alone)


def test_a_picture_finds_itself_first_and_is_sure(searcher, jpeg):
    hits = searcher.search(image=jpeg(7), k=5)
    assert hits[0].path == "007.jpg"
    assert hits[0].confidence > 0.95
    assert hits[0].confidence >= hits[1].confidence >= hits[4].confidence
    assert dict(hits[0].similarities)["fused"] == pytest.approx(1, abs=1e-3)


def test_a_box_finds_the_picture_that_it_was_drawn_in(searcher, jpeg):
    features, paths = everything(searcher)
    at = paths.index("012.jpg")
    box = tuple(features.boxes[at, 2].tolist())
    best = searcher.search(image=jpeg(12), box=box, k=3, mode="region")[0]
    assert best.path == "012.jpg"
    assert best.boxes[0].box == pytest.approx(box)
    assert best.boxes[0].phrase == ""


def test_text_and_picture_together_lie_between_the_two(searcher, jpeg):
    alone = {hit.id: hit.score for hit in searcher.search(image=jpeg(3), k=40, mode="global")}
    text = {hit.id: hit.score for hit in searcher.search(TEXT, k=40, mode="global")}
    both = searcher.search(TEXT, image=jpeg(3), k=40, mode="global")
    sums = [alone[hit.id] + text[hit.id] for hit in both]
    assert np.corrcoef(sums, [hit.score for hit in both])[0, 1] > 0.98  # each is put to its own scale before


def test_what_is_excluded_counts_against_a_picture(searcher):
    plain = [hit.id for hit in searcher.search(TEXT, k=40, mode="global")]
    unwanted = {hit.id: hit.score for hit in searcher.search("a cat", k=40, mode="global")}
    against = [hit.id for hit in searcher.search(TEXT, exclude="a cat", k=40, mode="global")]
    untouched = [each for each in plain if unwanted[each] < -0.2]
    assert [each for each in against if unwanted[each] < -0.2] == untouched  # what shows no cat keeps its order
    touched = [each for each in plain if unwanted[each] > 0.2]
    drops = [against.index(each) - plain.index(each) for each in touched]
    assert len(untouched) > 10
    assert len(touched) > 10
    assert np.mean(drops) > 2


def test_filters_are_over_what_is_known_of_pictures(searcher):
    hits = searcher.search(TEXT, where="path like '00%' and width = 48", k=40)
    assert sorted(hit.path for hit in hits) == [f"00{n}.jpg" for n in range(10)]
    assert searcher.search(TEXT, where="width > 1000") == []
    for where in ("wide > 3", "'", "width >", "1; drop table pictures", "width > 1) or (width = 1"):
        with pytest.raises(ValueError, match="A filter compares the columns id, path, bytes") as told:
            searcher.search(TEXT, where=where)
        assert "\n" not in str(told.value)
    assert searcher.count == 40


def test_every_phrase_has_its_best_box(searcher):
    features, paths = everything(searcher)
    hit = searcher.search(TEXT, k=1)[0]
    own = paths.index(hit.path)
    assert [each.phrase for each in hit.boxes] == ["a red square above a blue one", "two green stripes"]
    for each in hit.boxes:
        alike = features.regions[own] @ searcher.encoder.encode_texts([each.phrase], "phrase")[0]
        assert each.similarity == pytest.approx(alike.max().item(), abs=1e-3)
        assert each.box == pytest.approx(tuple(features.boxes[own, alike.argmax()].tolist()))


def test_an_explanation_shows_where_each_phrase_is(searcher, jpeg):
    hit = searcher.search(TEXT, k=1)[0]
    found = searcher.explain(hit)
    assert [each.phrase for each in found] == [each.phrase for each in hit.boxes]
    patches = searcher.encoder.encode_patches([searcher.picture(hit.id)])[0]
    for each, stored in zip(found, hit.boxes, strict=True):
        heat = patches @ searcher.encoder.encode_texts([each.phrase], "phrase")[0]
        assert each.heat.argmax() == heat.argmax()
        assert (each.heat.min(), each.heat.max()) == (0, 1)
        assert each.similarity >= stored.similarity - 1e-3  # of all windows, not only of those kept
    assert searcher.explain(hit.id, ["a house"])[0].phrase == "a house"
    assert searcher.explain(hit.id) == []


def test_pictures_are_known_by_id_and_path(searcher, jpeg):
    own = id_of("004.jpg")
    assert searcher.picture(own).read_bytes() == jpeg(4)
    assert searcher.thumbnail(own)[:2] == b"\xff\xd8"
    assert searcher.count == 40
    assert searcher.model_name == "starter"
    others = [searcher.similar(name, 5) for name in (own, "004.jpg", str(searcher.picture(own)))]
    assert others[0] == others[1] == others[2]
    assert "004.jpg" not in [hit.path for hit in others[0]]
    assert searcher.similar(jpeg(4), 5)[0].path == "004.jpg"
    for wrong in ("0" * 24, "zz", "'; --", "../../etc/passwd"):
        with pytest.raises(ValueError, match="has no picture"):
            searcher.thumbnail(wrong)


def test_a_picture_that_is_gone_is_told_and_its_thumbnail_explained(tmp_path, encoder, fill):
    fill(tmp_path / "photos", range(3))
    Indexing(str(tmp_path / "photos"), str(tmp_path / "index"))(lambda: encoder)
    searcher = Searcher.open(tmp_path / "index", encoder)
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(ValueError, match=r"'001.jpg' is gone from .*photos"):
        searcher.picture(id_of("001.jpg"))
    assert searcher.explain(id_of("001.jpg"), ["a cat"])[0].heat.shape == (4, 4)


def test_what_is_indexed_meanwhile_is_found(tmp_path, encoder, fill, monkeypatch, jpeg):
    monkeypatch.setattr(lance, "FRESH", timedelta(0))
    indexing = Indexing(str(fill(tmp_path / "photos", range(3))), str(tmp_path / "index"))
    indexing(lambda: encoder)
    searcher = Searcher.open(tmp_path / "index", encoder)
    fill(tmp_path / "photos", [9])
    indexing(lambda: encoder)
    assert searcher.search(image=jpeg(9))[0].path == "009.jpg"
    assert searcher.count == 4


@pytest.mark.parametrize("mode", ["late", "region"])
def test_a_first_pass_over_sets_changes_no_best_hit(tmp_path, encoder, fill, monkeypatch, mode):
    monkeypatch.setattr(table, "CODED", 20)
    monkeypatch.setattr(cells, "PER_CELL", 3)
    photos = fill(tmp_path / "photos", range(60))
    indexing = Indexing(str(photos), str(tmp_path / "index"), tokens=6, regions=5)
    indexing(lambda: encoder)
    searcher = Searcher(Store.open(tmp_path / "index"), encoder, shortlist=30)
    for text in (TEXT, "a cat", "a photo of three dogs")[: 3 if mode == "late" else 1]:
        assert searcher.search(text, k=1, mode=mode)[0].path == exhaustive(searcher, text, mode)[0]
    filtered = searcher.search(TEXT, where="path < '005'", k=30, mode=mode)
    assert sorted(hit.path for hit in filtered) == [f"00{n}.jpg" for n in range(5)]
    (photos / "000.jpg").unlink()  # what goes is found no more, what comes gets cells of its own
    fill(photos, [70])
    indexing(lambda: encoder)
    again = Searcher.open(tmp_path / "index", encoder)
    ids, _ = again._store.codes()
    assert len(ids) == again.count == 60
    assert id_of("070.jpg").encode() in ids
    assert id_of("000.jpg").encode() not in ids


def test_rows_by_number_are_rows_by_id_as_long_as_nobody_writes(tmp_path, encoder, fill, monkeypatch):
    monkeypatch.setattr(table, "CODED", 5)
    monkeypatch.setattr(lance, "FRESH", timedelta(0))
    photos = fill(tmp_path / "photos", range(12))
    indexing = Indexing(str(photos), str(tmp_path / "index"))
    indexing(lambda: encoder)
    searcher = Searcher.open(tmp_path / "index", encoder)
    numbered, wanted = searcher._store.numbered(), [id_of(f"{n:03}.jpg") for n in (7, 2, 9)]
    found = numbered.named([*wanted, "f" * 24, "0" * 24], ("path", "tokens"))  # no picture has these two
    assert sorted(found["id"].to_pylist()) == sorted(wanted)
    assert found.sort_by("id") == searcher._store.named(wanted).select(["path", "tokens", "id"]).sort_by("id")
    assert searcher._first_pass._as_opened is not None
    (photos / "002.jpg").unlink()
    fill(photos, [70])
    indexing(lambda: encoder)
    assert searcher._first_pass._as_opened is None
    assert "070.jpg" in [hit.path for hit in searcher.search("a cat", k=20)]
    assert "002.jpg" not in [hit.path for hit in searcher.search("a cat", k=20)]
    assert len(numbered.named(wanted, ["path"])) == 3  # as it was


def test_an_index_that_was_never_finished_is_as_sure_as_one_that_was(tmp_path, encoder, fill, monkeypatch, jpeg):
    """It once had no confidence in anything, as what is usual was measured at the end of indexing alone."""
    photos = str(fill(tmp_path / "photos", range(40)))
    Indexing(photos, str(tmp_path / "finished"))(lambda: encoder)

    monkeypatch.setattr(IndexPlan, "finish", stop)
    with pytest.raises(KeyboardInterrupt, match="Stopped with 40 pictures"):
        Indexing(photos, str(tmp_path / "stopped"))(lambda: encoder)
    finished, stopped = (Searcher.open(tmp_path / name, encoder) for name in ("finished", "stopped"))
    assert "background" not in stopped._store.facts
    assert finished.search(image=jpeg(7), k=3) == stopped.search(image=jpeg(7), k=3)
    assert stopped.search(image=jpeg(7), k=3)[0].confidence > 0.95


def test_what_is_usual_is_measured_again_when_an_open_index_has_grown(tmp_path, encoder, fill, monkeypatch, jpeg):
    monkeypatch.setattr(lance, "FRESH", timedelta(0))
    indexing = Indexing(str(fill(tmp_path / "photos", range(3))), str(tmp_path / "index"))
    indexing(lambda: encoder)
    searcher = Searcher.open(tmp_path / "index", encoder)
    fill(tmp_path / "photos", range(40))
    indexing(lambda: encoder)
    assert searcher.search(image=jpeg(7)) == Searcher.open(tmp_path / "index", encoder).search(image=jpeg(7))


def test_what_came_after_the_cells_were_read_is_found_too(tmp_path, encoder, fill, monkeypatch, jpeg):
    monkeypatch.setattr(table, "CODED", 20)
    monkeypatch.setattr(lance, "FRESH", timedelta(0))
    photos = fill(tmp_path / "photos", range(30))
    indexing = Indexing(str(photos), str(tmp_path / "index"), tokens=6, regions=5)
    indexing(lambda: encoder)
    searcher = Searcher(Store.open(tmp_path / "index"), encoder, shortlist=10)
    fill(photos, [70])
    indexing(lambda: encoder)
    for mode in ("global", "late", "region", "fused"):
        assert searcher.search(image=jpeg(70), k=1, mode=mode)[0].path == "070.jpg"


def every_question(searcher, picture):
    """What a searcher answers, each as a call."""
    return {
        "search": lambda: searcher.search("a cat"),
        "filter": lambda: searcher.search("a cat", where="width > 1"),
        "late": lambda: searcher.search("a cat", mode="late"),
        "similar": lambda: searcher.similar(picture),
        "thumbnail": lambda: searcher.thumbnail(picture),
        "picture": lambda: searcher.picture(picture),
        "explain": lambda: searcher.explain(picture, ["a cat"]),
        "count": lambda: searcher.count,
    }


@pytest.mark.parametrize(
    ("change", "size"),
    [
        ("deleted", "small"),
        ("deleted", "coded"),
        ("as before", "small"),
        ("another model", "coded"),
        ("other pictures", "coded"),
        ("another layout", "small"),
    ],
)
def test_an_index_that_was_replaced_is_never_answered_from(
    tmp_path, encoder, make_encoder, fill, monkeypatch, size, change
):
    monkeypatch.setattr(lance, "FRESH", timedelta(0))
    monkeypatch.setattr(table, "CODED", 10**6 if size == "small" else 8)
    monkeypatch.setattr(cells, "PER_CELL", 3)
    photos, index = fill(tmp_path / "photos", range(10)), tmp_path / "index"
    Indexing(str(photos), str(index), tokens=4, regions=4)(lambda: encoder)
    searcher = Searcher.open(index, encoder)
    assert len(searcher.search("a cat")) == 10
    shutil.rmtree(index)
    if change == "other pictures":
        shutil.rmtree(photos)
        fill(photos, range(50, 62))
    if change != "deleted":
        other = make_encoder(seed=1) if change == "another model" else encoder
        layout = {"tokens": 5, "regions": 3} if change == "another layout" else {"tokens": 4, "regions": 4}
        Indexing(str(photos), str(index), **layout)(lambda: other)
    for ask in every_question(searcher, id_of("003.jpg")).values():
        with pytest.raises(OSError, match="The index was replaced or deleted since it was opened") as told:
            ask()
        assert told.value.errno == ESTALE


def test_an_index_replaced_within_the_time_that_nothing_is_read_again_is_not_mixed(tmp_path, encoder, fill, jpeg):
    photos, index = fill(tmp_path / "photos", range(10)), tmp_path / "index"
    Indexing(str(photos), str(index))(lambda: encoder)
    searcher = Searcher.open(index, encoder)
    before = searcher.search(image=jpeg(7))
    shutil.rmtree(index)
    shutil.rmtree(photos)
    Indexing(str(fill(photos, range(50, 60))), str(index))(lambda: encoder)
    with suppress(OSError):  # all old, as it is in memory, or refused
        assert searcher.search(image=jpeg(7)) == before
    with pytest.raises(OSError, match="replaced or deleted"):  # this has to be read, and its file is gone
        searcher.thumbnail(before[0].id)


def test_a_damaged_file_of_an_open_index_is_one_line(tmp_path, encoder, photos, run):
    run(photos)
    searcher = Searcher.open(tmp_path / "index", encoder)
    for path in (tmp_path / "index/pictures.lance/data").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(OSError, match=r"index' cannot be read or written: ") as told:
        searcher.search("a cat", where="width > 1")
    assert "\n" not in str(told.value)


def test_an_index_of_before_is_still_read_and_written(tmp_path, encoder, fill, photos, run):
    """What an index was made with once stood in its notes alone."""
    run(photos)
    whole = Store.open(tmp_path / "index")
    about, rows = whole.facts, whole.pictures.read().replace_schema_metadata(None)
    whole.note(**about)
    lance.LanceDatabase(tmp_path / "index").create(table.PICTURES, rows)
    assert Store.open(tmp_path / "index")._made == "{}"
    fill(photos, [70])
    assert str(run(photos)).startswith("11 pictures: 1 added, 0 updated, 10 unchanged")
    assert len(Searcher.open(tmp_path / "index", encoder).search("a cat")) == 11


def test_another_model_or_no_index_is_told_in_one_line(tmp_path, searcher, make_encoder):
    with pytest.raises(ValueError, match="made with the model 'starter', and this is another one"):
        Searcher.open(searcher._store.name, make_encoder(seed=1))
    with pytest.raises(ValueError, match=r"There is no index in .* Make one: foveal index"):
        Searcher.open(tmp_path, searcher.encoder)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"text": " "}, "The query is empty"),
        ({"text": "a", "k": 0}, "k is a number of hits, at least 1, not 0"),
        ({"text": "a", "box": (0.0, 0.0, 1.0, 1.0)}, "has no picture to lie in"),
        ({"text": "a", "mode": "best"}, "Mode 'best' is unknown. Known: global, late, fused, region."),
        ({"image": b"none"}, "cannot be read"),
    ],
)
def test_a_wrong_query_is_told_in_one_line(searcher, unchecked, query, message):
    with pytest.raises(ValueError, match=message):
        searcher.search(**query)


def test_the_default_model_is_loaded_by_name_in_the_precision_of_the_index(searcher, monkeypatch):
    asked = []

    def load(name, dtype):
        asked.append((name, dtype))
        return searcher.encoder

    monkeypatch.setattr("foveal.encoder.load.load", load)
    assert Searcher.open(searcher._store.name).count == 40
    Searcher.open(searcher._store.name, model="mine", dtype="bf16")
    assert asked == [("starter", "fp32"), ("mine", "bf16")]


def test_another_picture_tower_is_refused_when_a_picture_is_searched_by(searcher, make_encoder):
    other = make_encoder()
    with torch.no_grad():
        other.model.image_projection.weight.copy_(-other.model.image_projection.weight)
    mixed = Searcher.open(searcher._store.name, other)
    assert mixed.search("a cat") == searcher.search("a cat")
    with pytest.raises(ValueError, match="and this is another one"):
        mixed.search(image=b"none")


def test_searching_by_texts_looks_at_no_picture(searcher, make_encoder, monkeypatch):
    encoder = make_encoder()
    monkeypatch.setattr(encoder.model.vision, "forward", None)
    assert Searcher.open(searcher._store.name, encoder).search("a cat")
