import sys
from contextlib import closing
from types import SimpleNamespace

import pytest

from foveal.training.logbook import Logbook
from foveal.training.run import Machine


@pytest.mark.parametrize("service", ["wandb", "trackio"])
def test_a_service_gets_every_number_and_one_entry_for_each_folder(monkeypatch, tmp_path, service):
    calls = []
    functions = {
        "init": lambda **settings: calls.append(settings),
        "log": lambda numbers, step: calls.append((step, numbers)),
        "finish": lambda: calls.append("finish"),
    }
    monkeypatch.setitem(sys.modules, service, SimpleNamespace(**functions))
    for done in (0, 1):
        with closing(Logbook(tmp_path, "clip", Machine(trackers=(service,)), 2, done, progress=False)) as log:
            log.write({"step": done + 1, "loss": 0.5, "terms": {"a": 0.5}}, pairs=1)
    first, (step, numbers), end, again, *_ = calls
    assert first == again
    assert first["project"] == "foveal"
    assert first["resume"] == "allow"
    assert str(tmp_path) in first["name"]
    assert ("id" in first) == (service == "wandb")
    assert (step, end) == (1, "finish")
    assert {"loss", "terms/a", "speed/pairs/s"} <= set(numbers)


def test_a_service_that_is_not_installed_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"machine\.trackers needs wandb: pip install 'foveal\[wandb\]'"):
        Logbook(tmp_path, "clip", Machine(trackers=("wandb",)), 1, progress=False)
