import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.models.text_pool import TextPool, TextPoolModule, pool_by_texts
from foveal.recipes.flair import Objective, SubCaptions, flair
from foveal.types import Sample, TextEmbeddings

SAMPLE = Sample(
    "one", b"", captions=("A cup.",), long_caption="A red cup. It is full. A cat looks at it. The cat is gray."
)
SAID = ["A cup", "A red cup", "It is full", "A cat looks at it", "The cat is gray"]


def draws(part, seeds=200):
    return [text.text for seed in range(seeds) for text in part(SAMPLE, np.random.default_rng(seed))]


def test_sub_captions_are_one_to_three_sentences_of_what_is_said():
    texts = draws(SubCaptions(count=8))
    assert len(texts) == 1600
    split = [re.split(r"\. ", text.removesuffix(".")) for text in texts]
    assert {len(parts) for parts in split} == {1, 2, 3}
    assert {part for parts in split for part in parts} == set(SAID)
    assert all(len(set(parts)) == len(parts) for parts in split)


def test_neighbors_follow_one_another_and_others_need_not():
    def follow(texts):
        places = [[SAID.index(part) for part in text.removesuffix(".").split(". ")] for text in texts]
        return [place == list(range(place[0], place[0] + len(place))) for place in places]

    assert all(follow(draws(SubCaptions(neighbors=1.0))))
    assert not all(follow(draws(SubCaptions(neighbors=0.0))))


def test_a_sample_that_says_nothing_is_named():
    with pytest.raises(ValueError, match="Sample two has no caption"):
        SubCaptions()(Sample("two", b""), np.random.default_rng(0))


def test_terms_are_the_papers_by_loops_over_images_and_texts(output):
    pool = TextPoolModule(TextPool(heads=2), 8).double()
    owner = torch.tensor([0, 0, 1, 2, 3, 3, 4])
    texts = F.normalize(torch.randn(7, 8, dtype=torch.float64), dim=-1)
    output = replace(output, texts={"sub_caption": TextEmbeddings(texts, owner)}, parts={"text_pool": pool()})
    first = [owner.tolist().index(image) for image in range(5)]
    conditioned = whole = 0.0
    for image in range(5):
        for text in range(7):
            mine = owner[text] == image
            sign = 1 if mine else -1
            whole = whole - F.logsigmoid(sign * (4.0 * output.image[image] @ texts[text] - 2.0)) / 7
            if mine or text in first:
                pooled = pool_by_texts(pool(), texts[None, None, text], output.image_tokens[None, image])[0, 0]
                conditioned = conditioned - F.logsigmoid(sign * (4.0 * pooled @ texts[text] - 2.0)) / 5
    terms = Objective()(output)
    assert list(terms) == ["text_conditioned", "sub_caption"]
    torch.testing.assert_close(terms["text_conditioned"], conditioned / 2)
    torch.testing.assert_close(terms["sub_caption"], whole / 2)


def test_the_run_has_what_its_objective_needs():
    run = flair()
    assert run.model.tokens == "raw"
    assert [part.name for part in run.model.parts] == ["text_pool"]
    assert [group.name for group in run.data.groups] == ["sub_caption"]
    assert run.model.bias
