"""Saved and loaded is kept, and what cannot be loaded is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip2, finelip, siglip2_b_16, tiny
from foveal.models.weights import build, load, save


def small_fg_clip2() -> DualEncoder:
    config = fg_clip2(siglip2_b_16())
    tower = {"width": 16, "mlp_width": 24, "layers": 1, "heads": 2}
    vision, text = replace(config.vision, **tower), replace(config.text, **tower, vocabulary=50)
    return DualEncoder(replace(config, vision=vision, text=text, embed_width=16))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(DualEncoder(tiny()), tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder: Path, change) -> None:
    """Change the config on disk."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("make", [lambda: DualEncoder(finelip(tiny(), slots=3)), small_fg_clip2])
def test_saved_and_loaded_keeps_config_bits_and_what_is_frozen(make, tmp_path):
    model = make()
    save(model, tmp_path)
    again = load(tmp_path)
    assert again.config == model.config
    for (name, before), (same, after) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert name == same
        assert torch.equal(before, after)
        assert before.requires_grad == after.requires_grad


def test_precision_is_kept(tmp_path):
    model = DualEncoder(tiny()).bfloat16()
    save(model, tmp_path)
    assert {parameter.dtype for parameter in load(tmp_path).parameters()} == {torch.bfloat16}


def test_a_loaded_model_computes_the_same_and_can_be_trained(folder):
    model, same = load(folder), load(folder)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.encode_images(pixels), same.encode_images(pixels))
    model.encode_images(pixels).sum().backward()
    assert model.vision.patch_embedding.weight.grad is not None


def test_only_the_two_files_are_left(folder):
    save(DualEncoder(tiny()), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_whoever_may_read_a_new_file_may_read_the_weights(folder, tmp_path):
    """Safetensors writes files that only their owner may read, so models could not be shared between users."""
    (tmp_path / "new").touch()
    assert (folder / "model.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_save_that_fails_leaves_the_model_that_was_there(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    broken = DualEncoder(tiny())
    object.__setattr__(broken.config, "embed_width", object())  # cannot be written as JSON
    with pytest.raises(TypeError):
        save(broken, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_public_checkpoint_is_loaded_from_its_own_files(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = tower | {"image_size": 32, "patch_size": 8}
    clip = CLIPModel(CLIPConfig(text_config=tower, vision_config=vision, projection_dim=16))
    clip.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert model.config == tiny()
    assert torch.equal(model.image_projection.weight, clip.visual_projection.weight)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_weight_that_is_not_finite_is_named(folder, value):
    state = load_file(folder / "model.safetensors")
    state["text.norm.bias"][3] = value
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model: Tensor text\.norm\.bias holds NaN or infinity"):
        load(folder)


def test_tensors_that_do_not_fit_are_named():
    config, state = tiny(), DualEncoder(tiny()).state_dict()
    fewer = {name: tensor for name, tensor in state.items() if name != "log_scale"}
    with pytest.raises(ValueError, match="1 tensors missing: log_scale"):
        build(config, fewer)
    with pytest.raises(ValueError, match="1 tensors unexpected: stray"):
        build(config, state | {"stray": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"Tensor log_scale has shape \(2,\), the config asks for \(\)"):
        build(config, state | {"log_scale": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"Tensor log_scale holds torch\.int64"):
        build(config, state | {"log_scale": torch.tensor(1)})


def test_names_of_tensors_are_said_escaped_and_short():
    config, state = tiny(), DualEncoder(tiny()).state_dict()
    strangers = {name: torch.zeros(1) for name in ("a\n\x1b[31mb", "x" * 100_000)}
    with pytest.raises(ValueError, match=r"2 tensors unexpected: a\\n\\x1b\[31mb, x+\.\.\.x+\. Use") as caught:
        build(config, state | strangers)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(depth=3), "config.json has no field 'depth'"),
        (lambda c: c["text"].pop("width"), "config.json: text lacks the field 'width'"),
        (lambda c: c["vision"].update(heads="two"), "config.json: vision: heads is 'two'. It must be int"),
        (lambda c: c["vision"].update(heads=True), "vision: heads is True. It must be int"),
        (lambda c: c["text"].update(pooling="max"), "text: pooling is 'max'. It must be one of class, first_eos"),
        (lambda c: c["text"].update(own_projection=["x"]), r"own_projection\[0\] is 'x'. It must be one of"),
        (lambda c: c.update(refine=7), "refine is 7. It must be RefineConfig"),
        (lambda c: c["vision"].update(heads=0), "vision: heads is 0. It must be from 1 to 1,024."),
        (lambda c: c["vision"].update(heads=5), "Width 32 is not a multiple of 5 heads"),
    ],
)
def test_a_broken_config_is_refused_by_file_and_field(folder, change, said):
    rewrite(folder, change)
    with pytest.raises(ValueError, match=said):
        load(folder)


def test_a_whole_number_may_stand_for_a_real_one(folder):
    rewrite(folder, lambda config: config.update(initial_scale=10))
    assert load(folder).config.initial_scale == 10


def test_missing_and_broken_files_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"There is no .*nowhere"):
        load(tmp_path / "nowhere")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"\x80\x04pickle of something")
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file"):
        load(folder)
    (folder / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        load(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json holds list"):
        load(folder)
