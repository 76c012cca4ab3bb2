import math

import pytest
import torch
import torch.nn.functional as F

from foveal.losses import contrastive, principal_component
from foveal.losses.principal_component import onto_principal


def by_svd(rows, components):
    mean = rows.mean(0)
    _, _, directions = torch.linalg.svd(rows - mean, full_matrices=False)
    kept = directions[:components]
    return (rows - mean) @ kept.T @ kept + mean


@pytest.mark.parametrize("shape", [(12, 5), (9, 20)])
def test_parity_matches_an_svd_in_value_and_gradient(unit, same_as, shape):
    rows, weight = unit(*shape), torch.randn(*shape, dtype=torch.float64)
    ours, theirs = onto_principal(rows, 3), by_svd(rows, 3)
    torch.testing.assert_close(ours, theirs)
    same_as((ours * weight).sum(), (theirs * weight).sum(), (rows,))


def test_gradient_is_right_by_finite_differences(unit):
    assert torch.autograd.gradcheck(lambda rows: onto_principal(rows, 2), (unit(7, 4),))


def test_equals_the_contrastive_loss_of_the_projected_rows(unit, scale, same_as):
    image, short = unit(40, 36), unit(40, 36)
    ours = principal_component(image, short, scale)
    same_as(ours, contrastive(by_svd(image, 32), short, scale, label_smoothing=0.1), (image, short, scale))


@pytest.mark.parametrize("rows", [1, 2, 33])
def test_changes_nothing_for_at_most_33_rows(unit, rows):
    image = unit(rows, 64)
    torch.testing.assert_close(onto_principal(image, 32), image, rtol=0, atol=0)


@pytest.mark.parametrize(
    "rows",
    [
        torch.eye(40),  # every eigenvalue the same
        F.normalize(torch.ones(40, 8), dim=1),  # no variance at all
        torch.eye(6).repeat(8, 1),  # fewer directions than components are asked for
    ],
)
def test_gradient_is_finite_where_singular_values_repeat(rows):
    rows = rows.clone().requires_grad_()
    loss = principal_component(rows, rows.detach().roll(1, 0), torch.tensor(100.0), components=5)
    (gradient,) = torch.autograd.grad(loss, rows)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e4


def test_is_log_n_when_all_look_alike(unit):
    same = unit(1, 8).expand(50, 8)
    assert principal_component(same, same, torch.tensor(10.0)).item() == pytest.approx(math.log(50))
