"""Numbers that no model has are refused by field, value and range, before anything is built of them."""

import json
from dataclasses import replace

import pytest

from foveal.models.config import check
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import SIZES, fg_clip, fg_clip2, finelip, tiny
from foveal.models.weights import load, save


@pytest.mark.parametrize("name", SIZES)
def test_every_size_and_variant_is_within_range(name):
    config = SIZES[name]()
    check(config)
    for variant in (fg_clip2,) if name.startswith("siglip2") else (fg_clip, finelip):
        check(variant(config))


@pytest.mark.parametrize(
    ("part", "field", "value", "said"),
    [
        ("vision", "width", 10**9, r"vision: width is 1000000000\. It must be from 1 to 16,384\."),
        ("vision", "layers", 10**6, r"vision: layers is 1000000\. It must be from 1 to 256\."),
        ("vision", "image_size", 10**6, r"vision: image_size is 1000000\. It must be from 1 to 4,096\."),
        ("vision", "patch_size", 0, r"vision: patch_size is 0\. It must be from 1"),
        ("text", "heads", -8, r"text: heads is -8\. It must be from 1"),
        ("text", "vocabulary", 10**12, r"text: vocabulary is 1000000000000\. It must be from 1 to 4,000,000\."),
        ("text", "context", 10**400, r"text: context is 1000+\.\.\.0+\. It must be"),
        ("text", "norm_eps", -1.0, r"text: norm_eps is -1\.0\. It must be from 0 to 1\."),
        ("text", "eos_id", 49408, r"text: eos_id is 49408\. It must be from 0 to 49,407\."),
        ("text", "pad_id", -1, r"text: pad_id is -1\. It must be from 0"),
        ("", "embed_width", 10**9, r"embed_width is 1000000000\. It must be from 1"),
        ("", "initial_scale", 1e300, r"initial_scale is 1e\+300\. It must be from 0"),
        ("refine", "slots", 10**9, r"refine: slots is 1000000000\. It must be from 1"),
    ],
)
def test_a_number_beyond_all_models_is_refused_when_its_folder_is_opened(tmp_path, part, field, value, said):
    save(DualEncoder(finelip(tiny(), slots=3)), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (values[part] if part else values)[field] = value
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=said) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "true", '"1"', "[1]", "1" + "0" * 400])
def test_what_is_no_real_number_is_refused(tmp_path, value):
    save(DualEncoder(tiny()), tmp_path)
    config = (tmp_path / "config.json").read_text()
    assert config.count('"norm_eps": 1e-05') == 2
    (tmp_path / "config.json").write_text(config.replace('"norm_eps": 1e-05', f'"norm_eps": {value}', 1))
    with pytest.raises(ValueError, match=r"vision: norm_eps is .{1,120}\. It must be float\."):
        load(tmp_path)


def test_towers_of_another_make_say_0_where_a_number_means_nothing():
    config = tiny()
    zero = {"width": 32, "layers": 0, "heads": 0, "mlp_width": 0}
    check(replace(config, vision=replace(config.vision, tower="own", **zero)))
    with pytest.raises(ValueError, match="vision: layers is 0"):
        check(replace(config, vision=replace(config.vision, **zero)))
