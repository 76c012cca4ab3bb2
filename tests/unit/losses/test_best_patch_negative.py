import math

import pytest
import torch

from foveal.losses import best_patch_negative, hard_negative

IMAGE = torch.tensor([2, 0, 2, 0])  # the picture of each phrase; picture 1 has none
OWNER = torch.tensor([3, 0, 0, 3, 1, 0])  # phrase 2 has no hard negative


def test_parity_matches_a_loop_over_phrases(unit, scale, same_as):
    patches, phrases, negatives = unit(3, 5, 8), unit(4, 8), unit(6, 8)
    mask = torch.arange(5) < torch.tensor([5, 3, 2])[:, None]
    losses = []
    for phrase in (0, 1, 3):
        own = patches[IMAGE[phrase]][mask[IMAGE[phrase]]]
        texts = torch.cat([phrases[phrase : phrase + 1], negatives[phrase == OWNER]])
        logits = scale * (texts @ own.T).max(dim=1).values
        losses.append(logits.logsumexp(0) - logits[0])
    loss = best_patch_negative(patches, mask, phrases, IMAGE, negatives, OWNER, scale)
    same_as(loss, torch.stack(losses).mean(), (patches, phrases, negatives, scale))


def test_of_pictures_of_one_patch_it_is_the_loss_of_regions(unit, scale, same_as):
    patches, phrases, negatives = unit(3, 1, 8), unit(4, 8), unit(6, 8)
    anywhere = best_patch_negative(patches, None, phrases, IMAGE, negatives, OWNER, scale)
    there = hard_negative(patches[IMAGE, 0], phrases, negatives, OWNER, scale)
    same_as(anywhere, there, (patches, phrases, negatives, scale))


def test_order_of_patches_and_what_is_padding_do_not_matter(unit, scale):
    patches, phrases, negatives = unit(3, 5, 8), unit(4, 8), unit(6, 8)
    loss = best_patch_negative(patches, None, phrases, IMAGE, negatives, OWNER, scale)
    longer = torch.cat([patches.flip(1), unit(3, 2, 8)], dim=1)
    mask = (torch.arange(7) < 5).expand(3, 7)
    torch.testing.assert_close(best_patch_negative(longer, mask, phrases, IMAGE, negatives, OWNER, scale), loss)


def test_a_thing_moved_to_where_another_lies_is_seen_here_and_not_with_the_place_given():
    """Patches and texts say a thing and a place, the place four times as loud. A lemon lies left, a pencil right."""
    lemon, pencil, left, right = torch.eye(4)
    seen = torch.stack([lemon + 4 * left, pencil + 4 * right])[None]
    blind = torch.stack([4 * left, 4 * right])[None]  # knows places and no things
    true, moved = lemon + 4 * left, lemon + 4 * right
    image, owner, scale = torch.tensor([0]), torch.tensor([0]), torch.tensor(10.0)
    of = {name: torch.nn.functional.normalize(rows, dim=-1) for name, rows in (("seen", seen), ("blind", blind))}
    texts = torch.nn.functional.normalize(torch.stack([true, moved]), dim=-1)
    losses = {
        name: best_patch_negative(rows, None, texts[:1], image, texts[1:], owner, scale) for name, rows in of.items()
    }
    assert losses["blind"].item() == pytest.approx(math.log(2))
    assert losses["seen"] < losses["blind"] - 0.2
    assert hard_negative(of["blind"][0, :1], texts[:1], texts[1:], owner, scale) < 0.01


def test_no_near_misses_cost_nothing_but_keep_the_graph(unit, scale):
    patches, phrases, negatives = unit(3, 5, 8), unit(4, 8), unit(0, 8)
    none = torch.zeros(0, dtype=torch.long)
    loss = best_patch_negative(patches, None, phrases, IMAGE, negatives, none, scale)
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, (patches, phrases, negatives)):
        assert gradient.abs().sum() == 0


def test_rows_that_do_not_pair_up_are_refused(unit, scale, unchecked):
    with pytest.raises(ValueError, match="4 phrases and 3 phrase_image"):
        best_patch_negative(unit(3, 5, 8), None, unit(4, 8), IMAGE[:3], unit(6, 8), OWNER, scale)
    with pytest.raises(ValueError, match="6 negatives and 5 owner"):
        best_patch_negative(unit(3, 5, 8), None, unit(4, 8), IMAGE, unit(6, 8), OWNER[:5], scale)
