"""What the tests of losses share."""

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def unit():
    """Makes random unit-length rows in double precision that take a gradient."""

    def make(*shape):
        return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1).requires_grad_()

    return make


@pytest.fixture
def scale():
    return torch.tensor(6.0, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def same_as():
    """Asserts that two losses agree, and so do their gradients."""

    def check(ours, theirs, inputs):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
        expected = torch.autograd.grad(theirs, inputs, allow_unused=True, materialize_grads=True)
        for a, b in zip(torch.autograd.grad(ours, inputs), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)

    return check
