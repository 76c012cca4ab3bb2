from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.models.dual_encoder import DualEncoder
from foveal.training.large_batch import backward, join, split


@pytest.fixture
def model(small):
    return DualEncoder(small.small_model()).double()


def batch_of(small, images=6, seed=1):
    return small.random_batch(images, seed, torch.float64)


def everything(output):
    """An objective in which every row of every field meets every other: splitting must not show."""
    texts = output.texts
    long, near = texts["long_caption"], texts["caption_negative"]
    late = torch.einsum("ite,jse->ijts", long.tokens, output.image_tokens)
    late = late.masked_fill(~output.image_token_mask[None, :, None], -9).amax(3)  # (B, B, t)
    late = (late * long.token_mask[:, None]).sum(2) / long.token_mask.sum(1)[:, None]
    target = torch.arange(len(output.image))
    own = (texts["negative"].embedding * output.regions[texts["negative"].owner]).sum(1)
    wrong = (near.embedding * output.image[near.owner]).sum(1)
    shown = (output.regions * output.image[output.region_image]).sum(1)
    return {
        "long": F.cross_entropy(output.scale * output.image @ long.embedding.T, target),
        "short": F.softplus(output.scale * texts["caption"].embedding @ output.image.T + output.bias).mean(),
        "token": F.cross_entropy(10 * late, target),
        "region": F.cross_entropy(
            output.region_scale * output.regions @ texts["phrase"].embedding.T, torch.arange(len(output.regions))
        ),
        "hard_negative": F.softplus(output.negative_scale * own).mean(),
        "caption_negative": F.softplus(wrong).mean() + shown.square().mean(),
    }


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_micro_batches_give_the_loss_and_every_gradient_of_the_plain_batch(small, model, parts):
    batch = batch_of(small)
    plain = everything(model(batch))
    sum(plain.values()).backward()
    expected = gradients(model)
    model.zero_grad()
    terms, _ = backward(model, split(batch, parts), everything)
    torch.testing.assert_close(terms, {name: term.detach() for name, term in plain.items()})
    torch.testing.assert_close(gradients(model), expected, rtol=1e-9, atol=1e-12)
    assert {"log_scale", "log_region_scale", "log_negative_scale", "bias"} <= set(expected)


def test_gradients_are_added_to_those_there_are(small, model):
    batch = batch_of(small)
    backward(model, split(batch, 2), everything)
    once = gradients(model)
    backward(model, split(batch, 2), everything)
    torch.testing.assert_close(gradients(model), {name: 2 * gradient for name, gradient in once.items()})


def test_unused_outputs_have_a_zero_gradient(small, model):
    backward(model, split(batch_of(small), 2), lambda output: {"image": output.image[:, 0].sum()})
    found = gradients(model)
    assert found["log_scale"] == 0
    assert found["text.token_embedding.weight"].abs().sum() == 0
    assert found["vision.position"].abs().sum() > 0


def test_an_objective_that_raises_leaves_no_gradient(small, model):
    def refuse(output):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        backward(model, split(batch_of(small), 2), refuse)
    assert not gradients(model)


def test_micro_batches_hold_each_row_once_with_its_owner(small):
    batch = batch_of(small)
    parts = split(batch, 3)
    assert sum((part.ids for part in parts), ()) == batch.ids
    phrase, negative, near = (batch.texts[name] for name in ("phrase", "negative", "caption_negative"))
    owners = {tuple(ids.tolist()): batch.ids[image] for ids, image in zip(phrase.ids, batch.region_image, strict=True)}
    misses = sorted(
        (tuple(ids.tolist()), owners[tuple(phrase.ids[region].tolist())])
        for ids, region in zip(negative.ids, negative.owner, strict=True)
    )
    found = []
    for part in parts:
        for ids, image in zip(part.texts["phrase"].ids, part.region_image, strict=True):
            assert owners[tuple(ids.tolist())] == part.ids[image]
        for ids, region in zip(part.texts["negative"].ids, part.texts["negative"].owner, strict=True):
            found.append((tuple(ids.tolist()), part.ids[part.region_image[region]]))
        for ids, image in zip(part.texts["caption_negative"].ids, part.texts["caption_negative"].owner, strict=True):
            row = (near.ids == ids).all(1).nonzero()[0, 0]
            assert batch.ids[near.owner[row]] == part.ids[image]
    assert sorted(found) == misses


def test_a_batch_without_regions_stays_without_them(small):
    batch = batch_of(small)
    captions = {name: texts for name, texts in batch.texts.items() if texts.of == "image"}
    for part in split(replace(batch, texts=captions, boxes=None, region_image=None), 2):
        assert part.boxes is None
        assert set(part.texts) == set(captions)


def test_too_many_parts_are_refused(small):
    with pytest.raises(ValueError, match="6 images can't be split into 7"):
        split(batch_of(small), 7)


def test_token_sets_of_unequal_length_are_padded_and_masked(small, model):
    first, second = (model(part) for part in split(batch_of(small), 2))
    long, longer = (output.texts["long_caption"] for output in (first, second))
    short = replace(long, tokens=long.tokens[:, :4], token_mask=long.token_mask[:, :4])
    whole = join([replace(first, texts={**first.texts, "long_caption": short}), second]).texts["long_caption"]
    assert whole.tokens.shape[1] == longer.tokens.shape[1] > 4
    assert not whole.token_mask[:3, 4:].any()
    assert torch.equal(whole.tokens[:3, :4], short.tokens)


def test_half_precision_outputs_reach_the_objective_as_single(small):
    model = DualEncoder(small.small_model())
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    types = set()

    def objective(output):
        types.update(texts.embedding.dtype for texts in output.texts.values())
        types.update((output.image.dtype, output.image_tokens.dtype, output.regions.dtype, output.scale.dtype))
        return everything(output)

    backward(model, split(small.random_batch(6, 1), 2), objective)
    assert types == {torch.float32}
    assert gradients(model)["vision.position"].isfinite().all()
