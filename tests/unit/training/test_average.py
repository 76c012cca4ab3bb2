import torch
from torch import nn

from foveal.training.average import Average


def test_parity_the_average_matches_a_loop():
    model = nn.Linear(2, 2).double()
    average = Average(model, 0.5)
    expected = model.weight.detach().clone()
    for update in range(1, 30):
        with torch.no_grad():
            model.weight += torch.randn(2, 2, dtype=torch.float64)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.weights["weight"], expected)


def test_frozen_weights_have_no_average():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert set(Average(model, 0.9).weights) == {"weight"}
