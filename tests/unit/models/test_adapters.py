import pytest
import torch
from torch import nn

from foveal.models.adapters import LoraLinear, Tuning, merged, tune
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip, tiny
from foveal.trees import tensors_of
from foveal.types import Batch, TextRows


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DualEncoder(fg_clip(tiny(), keep=2, ratio=2)).double()


@pytest.fixture(scope="module")
def batch():
    """Images, captions, long captions and regions: every way through the blocks."""
    generator = torch.Generator().manual_seed(1)
    end = tiny().text.eos_id
    ids = torch.randint(1, end, (3, 6), generator=generator).index_fill(1, torch.tensor(5), end)
    owner = torch.arange(3)
    corner = torch.rand(3, 2, generator=generator, dtype=torch.double) / 2
    return Batch(
        ids=("a", "b", "c"),
        pixels=torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.double),
        texts={"caption": TextRows(ids, owner), "phrase": TextRows(ids.flip(0), owner, "region", "phrase")},
        boxes=torch.cat([corner, corner + 0.5], dim=1),
        region_image=owner,
    )


def adapted(model, **settings):
    """The model with adapters that do something."""
    tune(model, Tuning(rank=2, **settings))
    for name, parameter in model.named_parameters():
        if name.endswith("lora_up"):
            nn.init.normal_(parameter, std=0.1)
    return model


def test_an_adapter_adds_up_times_down_times_alpha_over_rank():
    linear = nn.Linear(2, 1)
    lora = LoraLinear(linear, rank=1, alpha=3.0)
    lora.lora_down.data, lora.lora_up.data = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0]])
    x = torch.tensor([[1.0, 1.0]])
    torch.testing.assert_close(lora(x), linear(x) + 5 * 3 * (1 + 2))
    torch.testing.assert_close(lora.rows(x, 0), lora(x))


def test_an_adapter_at_its_start_changes_nothing(model, batch):
    before = tensors_of(model(batch))
    tune(model, Tuning(rank=4))
    assert all(tensor.equal(before[name]) for name, tensor in tensors_of(model(batch)).items())


@pytest.mark.parametrize("layers", [("attention",), ("mlp",), ("attention", "mlp")])
@pytest.mark.parametrize("towers", [("vision",), ("text",), ("vision", "text")])
def test_merged_it_gives_what_it_gave_with_adapters(model, batch, towers, layers):
    plain = tensors_of(model(batch))
    adapted(model, towers=towers, layers=layers)
    outputs = tensors_of(model(batch))
    for name, tower in (("image", "vision"), ("texts.caption.embedding", "text"), ("regions", "vision")):
        assert outputs[name].equal(plain[name]) == (tower not in towers)
    whole = DualEncoder(model.config).double()
    whole.load_state_dict(merged(model.state_dict()))
    torch.testing.assert_close(tensors_of(whole(batch)), outputs)


def test_what_has_no_adapter_is_merged_to_itself(model):
    state = model.state_dict()
    assert merged(state) == state


def test_adapters_projections_and_scales_are_trained_and_nothing_else(model):
    adapted(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    rest = {name for name in trained if "lora_" not in name}
    assert {name.split(".")[0] for name in rest} == {
        *("image_projection", "text_projections", "log_scale", "log_region_scale", "log_negative_scale")
    }
    blocks = model.config.vision.layers + model.config.text.layers
    assert len(trained) - len(rest) == blocks * 4 * 2


def test_no_graph_is_built_below_the_first_trained_weight(model, batch):
    def saved(run):
        count = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: count.append(1) or tensor, lambda tensor: tensor):
            run()
        return len(count)

    assert saved(lambda: model.vision(batch.pixels)) > 0
    tune(model, Tuning(frozen=("vision",)))
    assert saved(lambda: model.vision(batch.pixels)) == 0
    assert not model.vision(batch.pixels).pooled.requires_grad
    model(batch).image.sum().backward()
    assert model.image_projection.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.vision.parameters())


def test_adapters_of_the_last_block_alone_leave_the_first_without_a_graph(model, batch):
    tune(model, Tuning(rank=2, towers=("vision.transformer.blocks.1",)))
    tower = model.vision.requires_grad_(False)
    tower.transformer.blocks[1].attention.qkv.lora_up.requires_grad_()
    inputs = []
    tower.transformer.blocks[1].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    assert tower(batch.pixels).pooled.requires_grad
    assert not inputs[0].requires_grad


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        (Tuning(frozen=("vison",)), "tuning: the model has no part 'vison'. It has: vision, text, image_projection"),
        (Tuning(rank=1, towers=("image_projection",)), "'image_projection' has no transformer of foveal's"),
    ],
)
def test_a_part_that_is_not_there_is_refused(model, tuning, message):
    with pytest.raises(ValueError, match=message):
        tune(model, tuning)


def test_a_rank_that_no_matrix_has_is_refused():
    with pytest.raises(ValueError, match=r"tuning\.rank is a number of rows, 0 for no adapters, not -1"):
        Tuning(rank=-1)
