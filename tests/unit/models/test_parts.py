import json
import logging
import sys
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from foveal.encoder.load import load
from foveal.models import weights
from foveal.models.dual_encoder import DualEncoder
from foveal.models.parts import part_rows, read_parts
from foveal.models.sizes import tiny
from foveal.models.text_pool import TextPool
from foveal.models.upgrade import upgrade


@dataclass(frozen=True)
class Gate:
    """A part of somebody else's: one number an embedding."""

    name: str = "gate"
    start: float = 0.5

    def build(self, config):
        module = Numbers()
        module.numbers = nn.Parameter(torch.full((config.embed_width,), self.start))
        return module


class Numbers(nn.Module):
    def forward(self):
        return {"numbers": self.numbers.clone()}


def with_parts(*parts):
    return replace(tiny(), parts=parts)


@pytest.fixture
def saved(tmp_path):
    model = DualEncoder(with_parts(TextPool(heads=2, initial_scale=7.0), Gate(start=2.0)))
    weights.save(model, tmp_path)
    return tmp_path, model


def test_a_model_comes_back_with_its_parts_bit_for_bit(saved):
    folder, model = saved
    back = weights.load(folder, ("foveal", Gate.__module__))
    assert back.config == model.config
    for name, weight in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], weight)
    assert {name.split(".")[1] for name in model.state_dict() if name.startswith("parts.")} == {"text_pool", "gate"}


def test_code_of_elsewhere_is_not_run_unless_it_is_allowed(saved, monkeypatch):
    folder, _ = saved
    monkeypatch.delitem(sys.modules, Gate.__module__, raising=False)
    with pytest.raises(ValueError, match=rf"parts\[1\] is made by '{Gate.__module__}:Gate', code that is not foveal's"):
        load(folder)
    assert Gate.__module__ not in sys.modules


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"type": "foveal.models.text_pool:NoSuchPool"}, "is no learned part"),
        ({"type": "foveal.models.config:ModelConfig"}, "is no learned part"),
        ({"type": "foveal.models.weights:load"}, "is no learned part"),
        ({"type": "foveal.no_such_room:Pool"}, "cannot be imported"),
        ({"type": "foveal"}, "is no learned part"),
        ({"type": "fovealx.pool:Pool"}, "code that is not foveal's"),
        ({"type": "os:system"}, "code that is not foveal's"),
        ({"type": "foveal.models.text_pool:TextPool", "head": 8}, "has no field 'head'"),
        ({"type": "foveal.models.text_pool:TextPool", "heads": "8"}, "heads is '8'. It must be int"),
        ({"heads": 8}, "It must be a list of objects"),
        ("TextPool", "It must be a list of objects"),
    ],
)
def test_what_is_no_part_is_refused_in_one_line(row, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        read_parts([row], "config.json")
    assert "\n" not in str(caught.value)


def test_a_config_of_before_has_no_parts(tmp_path):
    weights.save(DualEncoder(tiny()), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("parts") == []
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert weights.load(tmp_path).config == tiny()


def test_rows_say_where_a_part_comes_from():
    (row,) = part_rows([TextPool(heads=2)])
    assert row["type"] == "foveal.models.text_pool:TextPool"
    assert read_parts(json.loads(json.dumps([row])), "config.json") == (TextPool(heads=2),)


def test_a_part_that_a_model_lacks_begins_fresh_and_is_said(caplog):
    old = DualEncoder(tiny())
    with caplog.at_level(logging.WARNING):
        new = upgrade(old, with_parts(TextPool(heads=2)))
    assert "no text_pool yet: it begins at random" in caplog.text
    assert torch.equal(new.text.token_embedding.weight, old.text.token_embedding.weight)
    assert upgrade(new, with_parts(TextPool(heads=2))) is new
