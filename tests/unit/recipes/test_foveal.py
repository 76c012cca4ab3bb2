from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.recipes.foveal import Objective, foveal

WEIGHTS = Objective(
    region=0.5, hard_negative=0.7, best_patch=0.4, caption_negative=0.9, token_negative=1.3, token=1.1, margin=0.3
)


def both_ways(text, text_mask, image, image_mask):
    """A text and an image token by token: the mean of each one's best match, leaking where it is negative."""
    matches = text[text_mask] @ image[image_mask].T
    return sum(F.leaky_relu(best, 0.1).mean() for best in (matches.amax(1), matches.amax(0)))


def all_pairs(texts, text_mask, output):
    """`both_ways` of every text and every image."""
    images = list(zip(output.image_tokens, output.image_token_mask, strict=True))
    rows = [[both_ways(*text, *image) for image in images] for text in zip(texts, text_mask, strict=True)]
    return torch.stack([torch.stack(row) for row in rows])


def token_terms(output):
    """Other captions and other images by a margin, over all pairs; hard negatives by cross entropy."""
    s = all_pairs(output.texts["caption"].tokens, output.texts["caption"].token_mask, output)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    triplet = sum((0.3 + s[i, j] - s[i, i]).relu() + (0.3 + s[i, j] - s[j, j]).relu() for i, j in pairs) / len(pairs)
    near = all_pairs(output.texts["caption_negative"].tokens, output.texts["caption_negative"].token_mask, output)
    choices = []
    for image in output.texts["caption_negative"].owner.unique().tolist():
        wrong = near[output.texts["caption_negative"].owner == image, image]
        logits = 4.0 * torch.cat([s[image, image, None], wrong]) / 2
        choices.append(F.cross_entropy(logits, torch.tensor(0)))
    return triplet, torch.stack(choices).mean()


def best_patches(output):
    """Each phrase and its hard negatives by the patch of its picture that each fits best."""
    losses = []
    for region in output.texts["negative"].owner.unique().tolist():
        patches = output.image_tokens[output.region_image[region]][output.image_token_mask[output.region_image[region]]]
        texts = torch.cat(
            [
                output.texts["phrase"].embedding[region, None],
                output.texts["negative"].embedding[output.texts["negative"].owner == region],
            ]
        )
        losses.append(F.cross_entropy(6.0 * (texts @ patches.T).amax(1), torch.tensor(0)))
    return torch.stack(losses).mean()


def test_every_term_is_its_equation(output, info_nce, near_misses, same_terms):
    triplet, token_negative = token_terms(output)
    captions = (
        output.image,
        output.texts["caption"].embedding,
        output.texts["caption_negative"].embedding,
        output.texts["caption_negative"].owner,
    )
    block = (
        output.regions,
        output.texts["phrase"].embedding,
        output.texts["negative"].embedding,
        output.texts["negative"].owner,
    )
    expected = {
        "caption": info_nce(output.image, output.texts["caption"].embedding, 4.0),
        "long_caption": info_nce(output.image, output.texts["long_caption"].embedding, 4.0),
        "caption_negative": 0.9 * near_misses(*captions, 4.0),
        "token": 1.1 * triplet,
        "token_negative": 1.3 * token_negative,
        "region": 0.5
        * info_nce(output.regions, output.texts["phrase"].embedding, 5.0, keys=output.texts["phrase"].key),
        "hard_negative": 0.7 * near_misses(*block, 6.0),
        "best_patch": 0.4 * best_patches(output),
    }
    same_terms(WEIGHTS(output), expected)


@pytest.mark.parametrize(
    ("missing", "terms"),
    [
        ("long_caption", {"long_caption"}),
        ("caption_negative", {"caption_negative", "token_negative"}),
        ("caption.tokens", {"token", "token_negative"}),
        ("image_tokens", {"token", "token_negative", "best_patch"}),
        ("negative", {"hard_negative", "best_patch"}),
        ("regions", {"region", "hard_negative", "best_patch"}),
    ],
)
def test_what_was_not_asked_for_has_no_term_and_changes_no_other(output, without, missing, terms):
    everything, rest = WEIGHTS(output), WEIGHTS(without(output, missing))
    assert set(everything) - set(rest) == terms
    assert all(rest[name] == everything[name] for name in rest)


@pytest.mark.parametrize("term", ["token", "token_negative", "caption_negative", "best_patch"])
def test_a_weight_of_zero_saves_the_work(output, term):
    assert term not in replace(WEIGHTS, **{term: 0.0})(output)


def test_a_batch_without_regions_and_near_misses_costs_nothing(without_rows):
    terms = WEIGHTS(without_rows)
    for name in ("region", "hard_negative", "best_patch", "caption_negative", "token_negative"):
        assert terms[name] == 0


def test_the_run_asks_for_all_that_its_terms_need():
    run = foveal()
    data = run.data
    assert data.captions
    assert data.long_captions
    assert min(data.regions, data.negatives, data.caption_negatives) > 0
    assert run.model.tokens != "none"
