"""Queries and images compared by the encoder's scores, and the baselines of these."""

import pytest
import torch
import torch.nn.functional as F

from foveal.encoder.proposals import propose_regions
from foveal.search import MODES
from foveal.search.background import SAMPLE, TEXTS, Baseline
from foveal.search.scoring import (
    BaselineScorer,
    EncodedQuery,
    best_regions,
    encode_image_queries,
    encode_text_queries,
    image_queries,
    measure_background,
    similarities,
)
from foveal.search.store import SCORES_VERSION, Store
from foveal.search.store.features import Features
from foveal.search.token_sets import token_set

TEXT = "a red square above a blue one, and two green stripes"


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


@pytest.fixture
def features():
    """Seven images; the second has four tokens of five, the third two regions of three."""
    token_mask, region_mask = torch.ones(7, 5, dtype=torch.bool), torch.ones(7, 3, dtype=torch.bool)
    token_mask[1, 4], region_mask[2, 2] = False, False
    tokens, regions = unit(7, 5, 8), unit(7, 3, 8)
    tokens[1, 4], regions[2, 2] = tokens[1, 3], regions[2, 0]
    return Features(unit(7, 8), tokens, token_mask, regions, region_mask, torch.rand(7, 3, 4))


@pytest.fixture
def queries():
    return [
        EncodedQuery(unit(8), unit(4, 8), unit(2, 8), ("a", "b")),
        EncodedQuery(unit(8), unit(6, 8), unit(3, 8), ("",) * 3, "picture"),
        EncodedQuery(unit(8), unit(1, 8), unit(1, 8), ("",), "box"),
    ]


def by_loops(query, features, number, mode):
    """A mode's similarity to one image, from its formula."""
    whole = query.embedding @ features.embedding[number]
    tokens = features.tokens[number][features.token_mask[number]]
    leaky = F.leaky_relu(query.tokens @ tokens.T, 0.1)
    late = (leaky.amax(dim=1).mean() + leaky.amax(dim=0).mean()) / 2
    regions = features.regions[number][features.region_mask[number]]
    region = (query.phrases @ regions.T).amax(dim=1).mean()
    return {"global": whole, "late": late, "fused": 2 / 3 * whole + late / 3, "region": region}[mode]


@pytest.mark.parametrize("mode", MODES)
def test_similarities_are_those_of_plain_loops(queries, features, mode):
    rows = similarities(queries, features, mode)
    assert [tuple(row.shape) for row in rows] == [(7,)] * 3
    for query, row in zip(queries, rows, strict=True):
        asked = "region" if query.kind == "box" and mode == "fused" else mode
        expected = torch.stack([by_loops(query, features, number, asked) for number in range(7)])
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)


def test_no_images_and_no_queries_have_no_similarities(queries, features):
    nothing = features.select(torch.zeros(7, dtype=torch.bool))
    assert [row.tolist() for row in similarities(queries, nothing, "fused")] == [[], [], []]
    assert similarities([], features, "late") == []


def test_texts_are_encoded_whole_token_by_token_and_phrase_by_phrase(encoder):
    first, second, again = encode_text_queries(encoder, [TEXT, "two green stripes", TEXT])
    assert first.texts == ("a red square above a blue one", "two green stripes")
    assert (first.kind, second.texts) == ("text", ("two green stripes",))
    torch.testing.assert_close(first.embedding, encoder.encode_texts([TEXT])[0])
    alone = encoder.encode_texts_fully(["two green stripes"], tokens=True)
    torch.testing.assert_close(second.tokens, alone.tokens[0][alone.token_mask[0]])
    torch.testing.assert_close(first.phrases, encoder.encode_texts(first.texts, "phrase"))
    assert torch.equal(first.embedding, again.embedding)
    assert len(first.tokens) > len(second.tokens)


def test_pictures_are_encoded_as_an_index_keeps_them_and_boxes_as_regions(encoder, jpeg):
    box = (0.0, 0.0, 0.5, 1.0)
    whole, part = encode_image_queries(encoder, [(jpeg(1), None), (jpeg(2), box)], 6, 4)
    assert (whole.kind, part.kind) == ("picture", "box")
    encoded = encoder.encode_images_fully([jpeg(1)], tokens=True, patches=True)
    torch.testing.assert_close(whole.embedding, encoded.embedding[0])
    torch.testing.assert_close(whole.tokens, token_set(encoded.tokens[0][encoded.token_mask[0]], 6))
    torch.testing.assert_close(whole.phrases, propose_regions(encoded.patches[0][None], 4)[0][0])
    assert whole.texts == ("",) * len(whole.phrases)
    region = encoder.encode_regions([jpeg(2)], [[box]])[0]
    for rows in (part.embedding[None], part.tokens, part.phrases):
        torch.testing.assert_close(rows, region)
    assert part.texts == ("",)
    assert encode_image_queries(encoder, [], 6, 4) == []


def test_images_of_an_index_are_queries_without_what_fills_their_sets_up(features):
    queries = image_queries(features)
    assert [len(query.tokens) for query in queries] == [5, 4, 5, 5, 5, 5, 5]
    assert [len(query.phrases) for query in queries] == [3, 3, 2, 3, 3, 3, 3]
    assert [len(query.texts) for query in queries] == [3, 3, 2, 3, 3, 3, 3]
    assert {query.kind for query in queries} == {"picture"}
    torch.testing.assert_close(queries[6].embedding, features.embedding[6])


def test_the_best_region_of_each_phrase(queries, features):
    values, boxes = best_regions(queries[0], features)
    for number in range(7):
        for phrase in range(2):
            cosines = features.regions[number] @ queries[0].phrases[phrase]
            torch.testing.assert_close(values[number, phrase], cosines.max())
            torch.testing.assert_close(boxes[number, phrase], features.boxes[number, cosines.argmax()])


def test_z_scores_are_above_the_baseline_of_the_kind_of_query_and_the_mode(queries, features):
    priors = {
        kind: {mode: Baseline(float(mean), 0.5) for mean, mode in enumerate(MODES, start=first)}
        for first, kind in ((0, "text"), (10, "picture"))
    }
    scorer = BaselineScorer(features, priors)
    values, sample = torch.randn(4), torch.randn(9)
    for query, mode, prior in (
        (queries[0], "late", priors["text"]["late"]),
        (queries[1], "fused", priors["picture"]["fused"]),
        (queries[2], "fused", priors["picture"]["region"]),
    ):
        baseline = Baseline.of(sample, prior)
        scores = scorer.z_scores(query, mode, values, sample)
        for row, expected in zip(scores, (values, sample), strict=True):
            torch.testing.assert_close(row, (expected - baseline.mean) / baseline.spread)
    alone = BaselineScorer(features, {}).z_scores(queries[0], "late", values, sample)[0]
    torch.testing.assert_close(alone, Baseline.of(sample).z_scores(values))


class Images(Store):
    """A store of features, as far as a background asks for it."""

    def __init__(self, features):
        self.features, self.asked = features, []

    def first_ids(self, count):
        self.asked.append(count)
        return [str(number) for number in range(len(self.features))]

    def features_of(self, ids):
        return self.features.select(torch.tensor([int(image_id) for image_id in ids], dtype=torch.long))


def test_a_background_is_of_unrelated_texts_and_of_images_among_themselves(encoder, features):
    store = Images(
        Features(unit(7, 16), unit(7, 5, 16), features.token_mask, unit(7, 3, 16), features.region_mask, features.boxes)
    )
    background = measure_background(store, encoder)
    assert store.asked == [SAMPLE]
    assert (background["ids"], background["scores"]) == ([str(number) for number in range(7)], SCORES_VERSION)
    texts = encode_text_queries(encoder, TEXTS)
    for mode in MODES:
        expected = Baseline.of(torch.cat(similarities(texts, store.features, mode)))
        assert background["priors"]["text"][mode] == pytest.approx([expected.mean, expected.spread])
        pairs = [
            similarities([query], store.features.select(torch.arange(7) != number), mode)[0]
            for number, query in enumerate(image_queries(store.features))
        ]
        expected = Baseline.of(torch.cat(pairs))
        assert background["priors"]["picture"][mode] == pytest.approx([expected.mean, expected.spread])
    scorer = BaselineScorer.of(store, background)
    assert len(scorer.features) == 7
    assert scorer.priors["picture"]["late"] == Baseline(*background["priors"]["picture"]["late"])


@pytest.mark.parametrize(("count", "kinds"), [(0, []), (1, ["text"]), (2, ["text", "picture"])])
def test_few_images_have_the_background_that_they_can(encoder, features, count, kinds):
    some = Features(
        unit(7, 16), unit(7, 5, 16), features.token_mask, unit(7, 3, 16), features.region_mask, features.boxes
    )
    background = measure_background(Images(some.select(torch.arange(count))), encoder)
    assert list(background["priors"]) == kinds


@pytest.mark.parametrize("background", [{}, {"ids": ["1"], "priors": {"text": {"late": [0.0, 1.0]}}}])
def test_baselines_of_other_scores_are_none(features, background):
    scorer = BaselineScorer.of(Images(features), background)
    assert (len(scorer.features), scorer.priors) == (0, {})


def test_baselines_are_measured_again_where_a_score_has_changed():
    """Whoever changes a score that indices have baselines of raises the version too, and then this."""
    formulas = {
        "global": "Global()",
        "late": "Late(leak=0.1)",
        "fused": f"Fused(weight={2 / 3})",
        "region": "Regions()",
    }
    assert {name: repr(score) for name, score in MODES.items()} == formulas
    assert SCORES_VERSION == 2
