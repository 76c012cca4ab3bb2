import subprocess
import sys

import pytest

import foveal


def test_every_name_of_the_door_leads_somewhere():
    assert foveal.__all__ == sorted(foveal.__all__)
    assert set(foveal.__all__) == set(foveal._HOMES)
    for name in foveal.__all__:
        assert getattr(foveal, name).__name__ == name


def test_an_unknown_name_lists_the_known():
    with pytest.raises(AttributeError, match=r"no attribute 'Encoders'. It has: Batch, Detections, DualEncoder"):
        foveal.Encoders  # noqa: B018


def test_the_door_alone_loads_no_torch():
    names = "foveal.Sample.__name__, foveal.DualEncoder.__name__"
    code = f"import foveal, sys; print('torch' in sys.modules, {names}, 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "Sample", "DualEncoder", "True"]
