import pytest
import torch

from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.classification import (
    Classification,
    class_metrics,
    class_ranks,
    imagenet_prompts,
)
from foveal.evaluation.ranking import hits
from foveal.evaluation.regions import RegionClassification, RegionRetrieval
from foveal.types import Region, Sample


def test_accuracies_counted_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.1, 0.0], [0.1, 0.3, 0.2], [0.3, 0.3, 0.1]])
    label = torch.tensor([0, 1, 1, 0])
    ranks = class_ranks(similarity, label)
    assert ranks.rank.tolist() == [1, 2, 1, 1]
    assert ranks.tied.tolist() == [0, 0, 0, 1]  # the last is a draw
    assert hits(ranks, 1, "against").tolist() == [1, 0, 1, 0]
    assert hits(ranks, 1, "half").tolist() == [1, 0, 1, 0.5]
    assert hits(ranks, 2, "against").tolist() == [1, 1, 1, 1]
    metrics = class_metrics(class_ranks(similarity[:3], label[:3]), label[:3], torch.arange(3))
    assert metrics["top1"].value == pytest.approx(200 / 3)
    assert metrics["top1_mean_of_classes"].value == pytest.approx(75)  # 100 and 50
    assert metrics["top5"].value == 100


def test_there_are_80_prompts_and_each_takes_a_name():
    prompts = imagenet_prompts()
    assert len(set(prompts)) == len(prompts) == 80
    assert all(prompt.count("{}") == 1 for prompt in prompts)
    published = {"a photo of the hard to see {}.", "itap of my {}.", "the {} in a video game.", "graffiti of a {}."}
    assert published | {"a photo of many {}.", "a black and white photo of the {}.", "a toy {}."} <= set(prompts)


def test_classification_counted_by_hand(encoder):
    samples = (
        Sample("1", b"1", captions=("cat",)),
        Sample("2", b"2", captions=("dog",)),
        Sample("3", b"3", captions=("dog",)),
        Sample("4", b"4"),
    )
    known = {
        b"1": [1, 0, 0],
        b"2": [0, 1, 0],
        b"3": [0, 0, 1],
        "a cat": [1, 0, 0],
        "one cat": [0, 0, 1],  # the ensemble of cat is halfway to picture 3
        "a dog": [0, 1, 0],
        "one dog": [0, 1, 0],
    }
    task = Classification(prompts=("a {}", "one {}"))
    one = encoder(known)
    result = Benchmark(samples, (task,))(one)["classification"]
    assert result.queries["classes"].outcome.tolist() == [1, 1, 2]
    assert result.metrics["top1_mean_of_classes"].value == pytest.approx(75)
    assert (result.found, result.total) == (3, 3)
    assert len(one.texts) == 4


def test_a_class_outside_the_list_is_refused(encoder):
    samples = (Sample("1", b"1", captions=("cat",)),)
    with pytest.raises(ValueError, match="'cat' is not among the 1 classes"):
        Benchmark(samples, (Classification(classes=("dog",)),))(encoder())


LEFT, RIGHT, ALL = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)
SAMPLES = (
    Sample("a", b"a", regions=(Region(LEFT, "cat"), Region(RIGHT, "dog"))),
    Sample("b", b"b"),
    Sample("c", b"c", regions=(Region(ALL, "cat"),)),
    Sample("a again", b"a", regions=(Region(ALL, "dog"),)),
)
KNOWN = {
    (b"a", *LEFT): [1, 0],
    (b"a", *RIGHT): [1, 0.9],
    (b"c", *ALL): [1, 0.1],
    (b"a", *ALL): [0, 1],
}


def test_region_classification_counted_by_hand(encoder):
    one = encoder(KNOWN | {"a photo of a cat.": [1, 0], "a photo of a dog.": [0, 1]})
    task = RegionClassification(classes=("cat", "dog", "pig"))
    result = Benchmark(SAMPLES, (task,))(one)["region_classification"]
    assert result.queries["classes"].outcome.tolist() == [1, 2, 1, 1]
    assert result.metrics["top1"].value == 75
    assert result.metrics["top1_mean_of_classes"].value == 75
    assert result.queries["classes"].picture.tolist() == [0, 0, 2, 0]
    assert one.pictures == [b"a", b"b", b"c"]


def test_region_retrieval_counted_by_hand(encoder):
    result = Benchmark(SAMPLES, (RegionRetrieval(),))(encoder(KNOWN | {"cat": [1, 0], "dog": [0, 1]}))
    queries = result["region_retrieval"].queries
    assert queries["text_to_region"].outcome.tolist() == [1, 1]
    assert queries["region_to_text"].outcome.tolist() == [1, 2, 1, 1]


def value(encoder, samples, task, known):
    result = Benchmark(samples, (task,))(encoder(known))[task.name]
    return {name: metric.value for name, metric in result.metrics.items()}, result


A, B, C, D = b"a", b"b", b"c", b"d"  # pictures


def test_the_best_of_a_class_s_names_counts_and_names_may_repeat(encoder):
    known = {A: (1, 0), B: (0, 1), "jug": (0.9, 0.1), "pot": (0, 1), "cup": (1, 0.3), "mug": (0.5, 1)}
    samples = [Sample("a", A, captions=("0",)), Sample("b", B, captions=("1",))]
    task = Classification(
        classes=("jug; pot", "cup"), prompts=("{}",), synonyms=(("jug", "pot"), ("cup", "mug")), numbered=True
    )
    metrics, result = value(encoder, samples, task, known)
    assert result.queries["classes"].outcome.tolist() == [1, 2]  # b: "pot" beats "mug"
    assert metrics["top1"] == 50
    twice = Classification(classes=("jug", "jug"), prompts=("{}",), numbered=True, ties="half")
    metrics, result = value(encoder, samples, twice, known)
    assert metrics["top1"] == 50 and result.tied == 2  # two classes of one name share what they get
