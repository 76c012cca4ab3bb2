from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from foveal.losses import soft_contrastive
from foveal.models.text_pool import TextPoolModule, pool_by_texts
from foveal.recipes.beta_clip import POOL, Objective, Phrases, Sentences, bce, beta_clip
from foveal.types import Region, Sample, TextEmbeddings

BOX = (0.0, 0.0, 1.0, 1.0)
SAMPLE = Sample("one", b"", long_caption="A. B. C. D.", regions=(Region(BOX, "x"), Region(BOX, "y"), Region(BOX, "x")))


def texts_of(group, seed=0):
    return [text.text for text in group(SAMPLE, np.random.default_rng(seed))]


def test_sentences_and_phrases_are_drawn_in_order_without_repeats():
    assert texts_of(Sentences()) == ["A.", "B.", "C.", "D."]
    drawn = [texts_of(Sentences(most=2), seed) for seed in range(50)]
    assert all(len(set(texts)) == 2 and texts == sorted(texts) for texts in drawn)
    assert {text for texts in drawn for text in texts} == {"A.", "B.", "C.", "D."}
    assert texts_of(Phrases()) == ["x", "y"]
    assert Sentences()(Sample("two", b""), np.random.default_rng(0)) == []


def test_each_text_pools_its_own_image_and_meets_all_texts(output, info_nce):
    pool = TextPoolModule(replace(POOL, heads=2), 8).double()
    groups = {"long_caption": [0, 1, 2, 3, 4], "sentence": [0, 0, 3], "image_phrase": [4, 1, 1, 1]}
    texts = {
        name: TextEmbeddings(F.normalize(torch.randn(len(owner), 8, dtype=torch.float64), dim=-1), torch.tensor(owner))
        for name, owner in groups.items()
    }
    output = replace(output, texts=texts, parts={"text_pool": pool()})
    rows = torch.cat([group.embedding for group in texts.values()])
    owner = torch.cat([group.owner for group in texts.values()])
    pooled = torch.stack(
        [
            pool_by_texts(pool(), text[None, None], output.image_tokens[None, image])[0, 0]
            for text, image in zip(rows, owner.tolist(), strict=True)
        ]
    )
    for form in ("ce", "bce"):
        terms = Objective(beta=0.3, form=form)(output)
        expected = soft_contrastive(pooled, rows, owner, torch.tensor(1 / 0.07).double(), beta=0.3, form=form)
        torch.testing.assert_close(terms["text_pool"], expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            terms["long_caption"], info_nce(output.image, output.texts["long_caption"].embedding, 4.0)
        )


def test_the_two_forms_differ_in_the_form_alone():
    assert replace(bce(), name="beta_clip", objective=Objective()) == beta_clip()
