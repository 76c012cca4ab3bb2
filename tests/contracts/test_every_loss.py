"""What every loss must do. The first test fails until a new loss is listed."""

import inspect

import pytest
import torch
import torch.nn.functional as F

from foveal import losses

ROWS, WIDTH = 40, 48
SCALE = torch.tensor(5.0)
PERMUTATION = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))


def near_miss(call):
    """A loss of anchors, positives, negatives and owners; a row's second token serves as its negative."""
    return lambda left, right: call(left[:, 0], right[:, 0], right[:, 1], torch.arange(len(right)), SCALE)


def nearest(queries, patches, _mask):
    """Patches, weighed by how near they are to each query."""
    return F.normalize((SCALE * queries @ patches.transpose(1, 2)).softmax(dim=-1) @ patches, dim=-1)


SHARE = torch.full((ROWS,), 1 / ROWS)


def classified(left, right):
    """Each row against all, with a background that none shows."""
    logits = F.pad(SCALE * left[:, 0] @ right[:, 0].T, (0, 1))
    return losses.masked_classification(logits, torch.arange(ROWS), torch.ones(ROWS + 1, dtype=torch.bool), SHARE)


LOSSES = {
    "contrastive": lambda left, right: losses.contrastive(left[:, 0], right[:, 0], SCALE),
    "sigmoid_contrastive": lambda left, right: losses.sigmoid_contrastive(
        left[:, 0], right[:, 0], SCALE, torch.tensor(-2.0)
    ),
    "principal_component": lambda left, right: losses.principal_component(left[:, 0], right[:, 0], SCALE),
    "regional": lambda left, right: losses.regional(left[:, 0], right[:, 0], SCALE),
    "hard_negative": near_miss(losses.hard_negative),
    "best_patch_negative": lambda left, right: losses.best_patch_negative(
        left[:, ::2], None, right[:, 0], torch.arange(len(right)), right[:, 1], torch.arange(len(right)), SCALE
    ),
    "pooled_negatives": near_miss(losses.pooled_negatives),
    "cross_modal_ranking": near_miss(lambda *batch: losses.cross_modal_ranking(*batch, torch.tensor(1.0))),
    "token_triplet": losses.token_triplet,
    "token_hard_negative": lambda left, right: losses.token_hard_negative(
        (left, None), (right, None), (right[:, :1], None), torch.arange(len(right)), SCALE
    ),
    "margin_negative": near_miss(lambda *batch: losses.margin_negative(*batch[:4], margin=2.0)),
    "owned_sigmoid": lambda left, right: losses.owned_sigmoid(
        left[:, 0], right[:, 0], torch.arange(len(right)), SCALE, torch.tensor(-2.0)
    ),
    "conditioned_sigmoid": lambda left, right: losses.conditioned_sigmoid(
        left, right[:, 0], torch.arange(len(right)), SCALE, torch.tensor(-2.0), nearest
    ),
    "soft_contrastive": lambda left, right: losses.soft_contrastive(
        left[:, 0], right[:, 0], torch.arange(len(right)), SCALE
    ),
    "proposal": lambda left, right: losses.proposal(
        SCALE * (left[:, 0] * right[:, 0]).sum(dim=1), torch.ones(ROWS, dtype=torch.bool), SHARE
    ),
    "box_regression": lambda left, right: losses.box_regression(left[:, 0, :4], right[:, 0, :4], SHARE),
    "masked_classification": classified,
    "next_token": lambda left, right: losses.next_token(SCALE * left[:, 0] @ right[:, 0].T, torch.arange(ROWS)),
    "intra_modal": lambda left, right: losses.intra_modal(right[:, 0]),
}
ONE_SIDED = {"intra_modal"}


@pytest.fixture
def left():
    return F.normalize(torch.randn(ROWS, 3, WIDTH), dim=-1).requires_grad_()


@pytest.fixture
def right():
    return F.normalize(torch.randn(ROWS, 3, WIDTH), dim=-1).requires_grad_()


def test_all_losses_are_here():
    assert set(LOSSES) == {name for name in losses.__all__ if not inspect.isclass(getattr(losses, name))}


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_reaches_its_sides(self, name, left, right):
        LOSSES[name](left, right).backward()
        for side in (right,) if name in ONE_SIDED else (left, right):
            assert side.grad.isfinite().all()
            assert side.grad.abs().sum() > 0

    def test_is_lower_when_pairs_match(self, name, left, right):
        if name in ONE_SIDED:
            right = F.normalize(right + 0.15, dim=-1)  # all alike, the opposite of what it asks for
        assert LOSSES[name](left, left) < LOSSES[name](left, right)

    def test_does_not_care_about_order(self, name, left, right):
        torch.testing.assert_close(LOSSES[name](left[PERMUTATION], right[PERMUTATION]), LOSSES[name](left, right))

    def test_autocast_stays_close_to_float32(self, name, left, right):
        exact = LOSSES[name](left, right)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = LOSSES[name](left, right)
        rough.backward()
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough, exact, rtol=0.01, atol=0)
        assert all(side.grad.isfinite().all() for side in (left, right) if side.grad is not None)

    def test_half_precision_embeddings_give_a_float32_loss(self, name, left, right):
        rough = LOSSES[name](left.bfloat16(), right.bfloat16())
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough, LOSSES[name](left, right), rtol=0.02, atol=0)
