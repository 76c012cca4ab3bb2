import pytest

from foveal.lazy import lazy_names

attribute = lazy_names("collections", {"Sequence": "abc", "Mapping": "abc"})


def test_a_name_comes_from_its_module_below_the_package():
    from collections.abc import Sequence

    assert attribute("Sequence") is Sequence


def test_a_name_that_is_not_public_is_refused_though_the_module_has_it():
    with pytest.raises(
        AttributeError, match=r"module 'collections' has no attribute 'Set'. It has: Sequence, Mapping\."
    ):
        attribute("Set")
