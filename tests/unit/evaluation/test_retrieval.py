from pathlib import Path

import pytest
import torch

from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.retrieval import Retrieval, rank_metrics, ranks, right_pairs
from foveal.types import Sample


def diagonal(count):
    return torch.arange(count), torch.arange(count)


def test_ranks_counted_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.3], [0.8, 0.2, 0.5], [0.3, 0.4, 0.5]])
    assert ranks(similarity, *diagonal(3)).tolist() == [1, 3, 1]


def test_ties_count_against_the_model():
    assert ranks(torch.full((4, 4), 0.5), *diagonal(4)).tolist() == [4, 4, 4, 4]


def test_nan_counts_against_the_model():
    similarity = torch.tensor([[torch.nan, 0.0], [torch.nan, 1.0]])
    assert ranks(similarity, *diagonal(2)).tolist() == [2, 2]


def test_the_best_of_several_right_answers_counts_and_they_do_not_compete():
    similarity = torch.tensor([[0.1, 0.7, 0.7, 0.9], [0.1, 0.7, 0.7, 0.5]])
    query, answer = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 2, 1, 2])
    assert ranks(similarity, query, answer).tolist() == [2, 1]


def test_parity_ranks_match_sorting_with_wrong_answers_first(monkeypatch):
    monkeypatch.setattr("foveal.evaluation.retrieval._CELLS", 50)  # three queries at a time
    similarity = torch.randint(0, 6, (30, 17)).float()  # many ties
    right = torch.rand(30, 17) < 0.15
    right[torch.arange(30), torch.randint(0, 17, (30,))] = True
    query, answer = right.nonzero().unbind(dim=1)
    expected = []
    for row, own in zip(similarity.tolist(), right.tolist(), strict=True):
        order = sorted(range(17), key=lambda i: (-row[i], own[i]))
        best = next(place for place, i in enumerate(order) if own[i])
        # right answers before the first right answer there are none, so its place counts wrong ones only
        expected.append(best + 1)
    assert ranks(similarity, query, answer).tolist() == expected


def test_a_query_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="Query 1 has no right answer"):
        ranks(torch.zeros(2, 2), torch.tensor([0]), torch.tensor([0]))


def test_metrics_counted_by_hand():
    metrics = rank_metrics("find", torch.tensor([1, 2, 6, 11]), torch.arange(4))
    assert [metrics[f"find@{k}"].value for k in (1, 5, 10)] == [25, 50, 75]
    assert metrics["find_median_rank"].value == 4
    assert metrics["find_mean_rank"].value == 5
    assert metrics["find@5"].low <= 50 <= metrics["find@5"].high


def test_equal_texts_share_their_pictures():
    query, answer = right_pairs(torch.tensor([7, 8, 7]), torch.tensor([0, 1, 2]))
    pairs = set(zip(query.tolist(), answer.tolist(), strict=True))
    assert pairs == {(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)}


SAMPLES = (
    Sample("a", b"a", captions=("a cat", "fur")),
    Sample("b", b"b", captions=("a dog", "fur")),
    Sample("c", b"c", captions=("a pig",)),
)
KNOWN = {
    b"a": [1, 0, 0],
    b"b": [0, 1, 0],
    b"c": [0, 0, 1],
    "a cat": [1, 0, 0],
    "fur": [1, 1, 0],
    "a dog": [1, 0.9, 0.5],  # nearer to a than to b
    "a pig": [0, 1, 0.9],  # nearer to b than to c
}


def test_retrieval_counted_by_hand(encoder):
    result = Benchmark(SAMPLES, (Retrieval(),))(encoder(KNOWN))["caption_retrieval"]
    # a cat, fur (twice, right with a and b), a dog, a pig
    assert result.queries["text_to_image"].outcome.tolist() == [1, 1, 2, 1, 2]
    # b's best is a pig (0.74), then fur (0.71); c's best is a pig
    assert result.queries["image_to_text"].outcome.tolist() == [1, 2, 1]
    assert result.metrics["text_to_image@1"].value == pytest.approx(60)
    assert result.metrics["image_to_text@1"].value == pytest.approx(200 / 3)
    assert (result.found, result.total, result.unit) == (5, 5, "captions")


def test_everything_is_encoded_once(encoder):
    one = encoder(KNOWN)
    again = Sample("again", b"a", captions=("a cat",), long_caption="a cat at length")
    Benchmark((*SAMPLES, again), (Retrieval(), Retrieval("first_caption"), Retrieval("long_caption")))(one)
    assert one.passes == 1
    assert one.pictures == [b"a", b"b", b"c"]
    assert len(set(one.texts)) == len(one.texts) == 5


def test_first_captions_are_one_query_per_sample(encoder):
    result = Benchmark(SAMPLES, (Retrieval("first_caption"),))(encoder(KNOWN))["first_caption_retrieval"]
    assert result.queries["text_to_image"].outcome.tolist() == [1, 2, 2]


@pytest.mark.parametrize("similarity", ["late", "fused"])
def test_parity_token_similarities_match_a_loop(encoder, vector_of, similarity):
    result = Benchmark(SAMPLES, (Retrieval(similarity=similarity),))(encoder())["caption_retrieval"]
    texts, pictures = ["a cat", "fur", "a dog", "a pig"], [b"a", b"b", b"c"]
    right = {"a cat": {0}, "fur": {0, 1}, "a dog": {1}, "a pig": {2}}

    def members(keys, key):
        return [vector_of((key, n)) for n in range(3 - keys.index(key) % 2)]

    def score(text, picture):
        cells = [
            [float(a @ b) for b in members(pictures, picture)]
            for a in members(texts, text)
        ]  # fmt: skip
        cells = [[cell if cell > 0 else 0.1 * cell for cell in row] for row in cells]
        rows = sum(max(row) for row in cells) / len(cells)
        columns = sum(max(column) for column in zip(*cells, strict=True)) / len(cells[0])
        whole = float(vector_of(text) @ vector_of(picture))
        return rows + columns if similarity == "late" else 0.8 * whole + 0.2 * (rows + columns)

    expected = []
    for text in ["a cat", "fur", "a dog", "fur", "a pig"]:
        scores = [score(text, picture) for picture in pictures]
        best = max(scores[i] for i in right[text])
        expected.append(1 + sum(s >= best for i, s in enumerate(scores) if i not in right[text]))
    assert result.queries["text_to_image"].outcome.tolist() == expected


def test_absent_pictures_are_counted(encoder, tmp_path):
    here = tmp_path / "here.jpg"
    here.write_bytes(b"")
    samples = (
        Sample("here", here, captions=("a", "b")),
        Sample("gone", tmp_path / "gone.jpg", captions=("c", "d", "e")),
    )
    result = Benchmark(samples, (Retrieval(),))(encoder())["caption_retrieval"]
    assert (result.found, result.total) == (2, 5)


def test_no_picture_at_all_is_one_clear_line(encoder):
    samples = (Sample("gone", Path("gone.jpg"), captions=("a",)),)
    with pytest.raises(ValueError, match=r"0 of 1 samples have their picture, for example gone.jpg"):
        Benchmark(samples, (Retrieval(),))(encoder())


def test_a_task_with_nothing_to_ask_is_refused(encoder):
    with pytest.raises(ValueError, match=r"long_caption_retrieval: none of 3 samples .* holds long captions"):
        Benchmark(SAMPLES, (Retrieval("long_caption"),))(encoder())


def test_nan_embeddings_are_refused(encoder):
    with pytest.raises(ValueError, match="NaN or infinity for 1 of 3 pictures"):
        Benchmark(SAMPLES, (Retrieval(),))(encoder(KNOWN | {b"b": [float("nan")]}))


def test_order_of_samples_changes_no_number(encoder):
    one = encoder()
    forth = Benchmark(SAMPLES, (Retrieval(),))(one)["caption_retrieval"].metrics
    back = Benchmark(SAMPLES[::-1], (Retrieval(),))(one)["caption_retrieval"].metrics
    assert {name: metric.value for name, metric in forth.items()} == {
        name: metric.value for name, metric in back.items()
    }


A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


SHARED = [
    Sample("1", Path(__file__), captions=("a cat", "a mat")),
    Sample("2", A, captions=("a cat",)),
]


def test_the_published_rule_of_equal_texts_and_what_the_other_would_give(encoder):
    known = {SHARED[0].image: (1, 0), A: (0, 1), "a cat": (1, 0), "a mat": (1, 0.1)}
    result = Benchmark(SHARED, (Retrieval(equal_texts="own", ties="half", read_as="caption"),))(encoder(known))
    result = result["retrieval"]
    # Texts: "a cat" of 1 is right; "a mat" is right; "a cat" of 2 finds 1 first.
    assert result.metrics["text_to_image@1"].value == pytest.approx(200 / 3)
    # Image 1: its own cat and the other's tie, half. Image 2: "a mat" is nearer than the two cats.
    assert result.metrics["image_to_text@1"].value == pytest.approx(25)
    assert (
        "equal texts right with any picture and ties against: image_to_text@1 50.0, text_to_image@1 100.0"
        in result.notes
    )
    assert result.tied == 2
    old = Benchmark(SHARED, (Retrieval(),))(encoder(known))["caption_retrieval"]
    assert old.metrics["image_to_text@1"].value == 50
    assert old.metrics["text_to_image@1"].value == 100
