from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from foveal.recipes.c2lip import NounPhrases, Objective, c2lip
from foveal.types import Region, Sample, TextEmbeddings

BOX = (0.0, 0.0, 1.0, 1.0)


def test_noun_phrases_are_those_of_regions_each_once():
    regions = tuple(Region(BOX, phrase) for phrase in ("a cup", "a dog", "a cup", "a cat"))
    texts = NounPhrases(most=2)(Sample("one", b"", regions=regions), np.random.default_rng(0))
    assert [text.text for text in texts] == ["a cup", "a dog"]


def test_terms_are_the_papers_by_loops_over_images_and_phrases(output):
    owner = torch.tensor([0, 0, 3, 4])
    phrases = F.normalize(torch.randn(4, 8, dtype=torch.float64), dim=-1)
    mask = torch.tensor([[1, 1, 1, 1]] * 4 + [[1, 1, 0, 0]]) > 0
    texts = {**output.texts, "noun_phrase": TextEmbeddings(phrases, owner)}
    output = replace(output, texts=texts, image_token_mask=mask)
    captions = output.texts["caption"].embedding
    expected = {"caption": 0.0, "noun_phrase": 0.0, "cross_attention": 0.0}
    for image in range(5):
        for text in range(5):
            sign = 1 if image == text else -1
            logit = 4.0 * output.image[image] @ captions[text] - 2.0
            expected["caption"] = expected["caption"] - F.logsigmoid(sign * logit) / 5
        real = output.image_tokens[image][mask[image]]
        for text in range(4):
            sign = 1 if owner[text] == image else -1
            pooled = F.normalize((real @ phrases[text]).softmax(0) @ real, dim=0)
            for name, row in (("noun_phrase", output.image[image]), ("cross_attention", pooled)):
                expected[name] = expected[name] - F.logsigmoid(sign * (4.0 * row @ phrases[text] - 2.0)) / 4
    expected["cross_attention"] = 0.01 * expected["cross_attention"]
    terms = Objective()(output)
    assert list(terms) == list(expected)
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name])


def test_nothing_is_learned_that_siglip_does_not_have():
    assert c2lip().model.parts == ()
    assert c2lip().model.vision.dense == "value_path"
