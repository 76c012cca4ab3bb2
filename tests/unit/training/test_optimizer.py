import math

import pytest
import torch
from torch import nn

from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.training.optimizer import Optimizer, adamw, clip_gradients, clip_scales, layers_above, lr_at, set_lr


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
        self.refiner = nn.Linear(3, 2)
        self.refiner_scale = nn.Parameter(torch.ones(1, 1, 1))
        self.log_scale = nn.Parameter(torch.tensor(9.0))
        self.log_region_scale = nn.Parameter(torch.tensor(1.0))
        self.kept = nn.Parameter(torch.ones(2, 3), requires_grad=False)


def test_warm_up_rises_in_equal_steps_to_the_full_rate():
    optimizer = Optimizer(lr=8.0, warmup_steps=4)
    assert [lr_at(step, optimizer, 100) for step in range(4)] == [2, 4, 6, 8]


def test_cosine_is_half_way_down_half_way_and_zero_at_the_end():
    optimizer = Optimizer(lr=2.0, warmup_steps=20)
    assert lr_at(20, optimizer, 120) == 2
    assert lr_at(70, optimizer, 120) == pytest.approx(1)
    assert lr_at(120, optimizer, 120) == pytest.approx(0, abs=1e-15)


def test_constant_stays_after_the_warm_up():
    optimizer = Optimizer(lr=2.0, warmup_steps=2, schedule="constant")
    assert [lr_at(step, optimizer, 9) for step in (0, 1, 2, 8)] == [1, 2, 2, 2]


def test_a_schedule_may_end_with_its_warm_up():
    assert lr_at(3, Optimizer(lr=1.0, warmup_steps=4), 4) == 1


def test_parity_finelips_released_schedule_matches_its_loop():
    """The release asks its schedule after each update, with the number of the micro-batch as the step."""
    steps, optimizer = 1000, Optimizer(lr=1e-6, warmup_steps=200, schedule="finelip_release")
    rate, used = optimizer.lr, []
    for micro_batch in range(4 * steps):
        if micro_batch % 4 == 3:
            used.append(rate)
            if micro_batch < 200:
                rate = optimizer.lr * (micro_batch + 1) / 200
            else:
                rate = 0.5 * (1 + math.cos(math.pi * (micro_batch - 200) / (steps - 200))) * optimizer.lr
    assert [lr_at(step, optimizer, steps) for step in range(steps)] == pytest.approx(used, rel=1e-9)


def test_finelips_released_schedule_starts_and_ends_at_the_full_rate():
    optimizer = Optimizer(lr=1.0, schedule="finelip_release")
    shares = [lr_at(step, optimizer, 10_000) for step in (0, 2500, 5000, 7500, 9999)]
    assert shares == pytest.approx([1, 0, 1, 0, 1], abs=1e-4)


def test_only_matrices_decay():
    model = Toy()
    adam = adamw(model, Optimizer(lr=0.1, weight_decay=0.5))
    set_lr(adam, 0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    decayed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert decayed == {"tower.0.weight", "refiner.weight"}
    torch.testing.assert_close(model.refiner.weight, before["refiner.weight"] * (1 - 0.1 * 0.5))


def test_the_longest_prefix_multiplies_the_rate():
    model = Toy()
    adam = adamw(model, Optimizer(lr=1.0, lr_factors=(("refiner", 200.0), ("refiner_scale", 3.0))))
    set_lr(adam, 0.5)
    rates = {id(p): group["lr"] for group in adam.param_groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in model.named_parameters() if id(p) in rates}
    assert named["refiner.weight"] == named["refiner.bias"] == 100
    assert named["refiner_scale"] == 1.5
    assert named["tower.0.weight"] == named["log_scale"] == 0.5
    assert "kept" not in named


def test_a_prefix_that_fits_nothing_is_refused():
    with pytest.raises(ValueError, match=r"starts with 'refine_'. They start with: .*refiner, .*tower"):
        adamw(Toy(), Optimizer(lr=1.0, lr_factors=(("refine_", 2.0),)))


@pytest.mark.parametrize(("most", "expected"), [(None, 5), (10.0, 5), (1.0, 1)])
def test_gradients_are_clipped_together(most, expected):
    model = nn.ParameterList([torch.zeros(1), torch.zeros(1), torch.zeros(1)])
    model[0].grad, model[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert clip_gradients(model, most) == 5
    length = torch.cat([model[0].grad, model[1].grad]).norm()
    assert length.item() == pytest.approx(expected, rel=1e-5)


def test_scales_are_clipped_and_nothing_else():
    model = Toy()
    model.refiner_scale.data.fill_(1000)
    clip_scales(model, 100.0)
    assert model.log_scale.exp().item() == pytest.approx(100, rel=1e-5)
    assert model.log_region_scale == 1
    assert model.refiner_scale == 1000


def test_layer_wise_decay_by_hand():
    names = ["vision.transformer.blocks.0.norm1.bias", "vision.transformer.blocks.1.mlp.fc1.weight"]
    names += ["vision.patch_embedding.weight", "vision.position", "vision.norm.weight", "vision.head.probe"]
    names += ["text.transformer.blocks.0.norm1.bias", "text.token_embedding.weight", "text.long_positions.rest"]
    names += ["image_projection.weight", "log_scale"]
    above = layers_above(names)
    assert [above[name] for name in names] == [2, 1, 3, 3, 0, 0, 1, 2, 2, 0, 0]


def test_the_rate_falls_by_the_decay_with_every_layer():
    config = tiny()
    model = DualEncoder(config)
    adam = adamw(model, Optimizer(lr=1.0, layer_decay=0.5, lr_factors=(("vision.transformer.blocks.0", 3.0),)))
    set_lr(adam, 1.0)
    rates = {id(parameter): group["lr"] for group in adam.param_groups for parameter in group["params"]}
    named = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    layers = config.vision.layers
    assert named["log_scale"] == named["image_projection.weight"] == named["vision.norm.weight"] == 1
    assert named[f"vision.transformer.blocks.{layers - 1}.mlp.fc1.weight"] == 0.5
    assert named["vision.transformer.blocks.0.mlp.fc1.weight"] == 3 * 0.5**layers
    assert named["vision.class_token"] == 0.5 ** (layers + 1)
    assert named["text.positions.rest"] == 0.5 ** (config.text.layers + 1)
