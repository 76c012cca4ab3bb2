from dataclasses import fields, replace

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
    late = torch.einsum("ite,jse->ijts", output.text_tokens, output.image_tokens)
    late = late.masked_fill(~output.image_token_mask[None, :, None], -9).amax(3)  # (B, B, t)
    late = (late * output.text_token_mask[:, None]).sum(2) / output.text_token_mask.sum(1)[:, None]
    target = torch.arange(len(output.image))
    own = (output.negatives * output.regions[output.negative_region]).sum(1)
    wrong = (output.caption_negatives * output.image[output.caption_negative_image]).sum(1)
    shown = (output.regions * output.image[output.region_image]).sum(1)
    return {
        "long": F.cross_entropy(output.scale * output.image @ output.long_caption.T, target),
        "short": F.softplus(output.scale * output.caption @ output.image.T + output.bias).mean(),
        "token": F.cross_entropy(10 * late, target),
        "region": F.cross_entropy(
            output.region_scale * output.regions @ output.phrases.T, torch.arange(len(output.regions))
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
    owners = {
        tuple(ids.tolist()): batch.ids[image] for ids, image in zip(batch.phrase_ids, batch.region_image, strict=True)
    }
    misses = sorted(
        (tuple(ids.tolist()), owners[tuple(batch.phrase_ids[region].tolist())])
        for ids, region in zip(batch.negative_ids, batch.negative_region, strict=True)
    )
    found = []
    for part in parts:
        for ids, image in zip(part.phrase_ids, part.region_image, strict=True):
            assert owners[tuple(ids.tolist())] == part.ids[image]
        for ids, region in zip(part.negative_ids, part.negative_region, strict=True):
            found.append((tuple(ids.tolist()), part.ids[part.region_image[region]]))
        for ids, image in zip(part.caption_negative_ids, part.caption_negative_image, strict=True):
            row = (batch.caption_negative_ids == ids).all(1).nonzero()[0, 0]
            assert batch.ids[batch.caption_negative_image[row]] == part.ids[image]
    assert sorted(found) == misses


def test_a_batch_without_regions_stays_without_them(small):
    none = dict.fromkeys(("boxes", "region_image", "phrase_ids", "phrase_key", "negative_ids", "negative_region"))
    for part in split(replace(batch_of(small), **none), 2):
        assert part.boxes is None
        assert part.negative_region is None


def test_too_many_parts_are_refused(small):
    with pytest.raises(ValueError, match="6 images can't be split into 7"):
        split(batch_of(small), 7)


def test_token_sets_of_unequal_length_are_padded_and_masked(small, model):
    first, second = (model(part) for part in split(batch_of(small), 2))
    short = replace(first, text_tokens=first.text_tokens[:, :4], text_token_mask=first.text_token_mask[:, :4])
    whole = join([short, second])
    assert whole.text_tokens.shape[1] == second.text_tokens.shape[1] > 4
    assert not whole.text_token_mask[:3, 4:].any()
    assert torch.equal(whole.text_tokens[:3, :4], short.text_tokens)


def test_half_precision_outputs_reach_the_objective_as_single(small):
    model = DualEncoder(small.small_model())
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    seen = {}

    def objective(output):
        seen.update({field.name: getattr(output, field.name).dtype for field in fields(output)})
        return everything(output)

    backward(model, split(small.random_batch(6, 1), 2), objective)
    assert torch.bfloat16 not in seen.values()
    assert gradients(model)["vision.position"].isfinite().all()
