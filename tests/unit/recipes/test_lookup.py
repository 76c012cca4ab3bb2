import re
import sys

import pytest

from foveal.recipes import clip, fg_clip
from foveal.recipes.lookup import find, names, recipes_of

OWN = """
from foveal.recipes.clip import clip, demo
from foveal.training.run import Run

def mine() -> Run:
    return clip()

def words() -> str:
    return ""

def with_argument(steps: int) -> Run:
    return clip()

def _hidden() -> Run:
    return clip()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_recipe.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("import no_such_thing_at_all\n")
    (tmp_path / "own_empty.py").write_text("def train():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("own_recipe", "own_broken", "own_empty"):
        sys.modules.pop(name, None)


def test_a_name_is_a_file_and_stands_for_its_main_function():
    assert {"clip", "fg_clip", "fg_clip2", "finelip", "foveal", "long_clip"} <= set(names())
    assert find("clip") is clip.clip
    assert find("clip:demo") is clip.demo
    assert find("fg_clip:stage2") is fg_clip.stage2


def test_ones_own_function_is_found_by_module_and_name(own):
    run = find("own_recipe:mine")()
    assert run == clip.clip()


def test_recipes_are_the_functions_a_module_defines_that_take_nothing_and_say_run(own):
    import own_recipe

    assert list(recipes_of(own_recipe)) == ["mine"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("siglip", f"There is no recipe 'siglip'. There are: {', '.join(names())}; or"),
        ("lookup", "There is no recipe 'lookup'. There are: "),
        ("clip:stage1", "'clip' has no recipe 'stage1'. It has: clip, demo, smoke."),
        ("fg_clip", "'fg_clip' has no recipe 'fg_clip'. It has: demo, smoke, stage1, stage2."),
        ("own_recipe:demo", "'own_recipe' has no recipe 'demo'. It has: mine."),
        ("own_recipe:with_argument", "It has: mine."),
        ("own_empty:train", "It has: none; a recipe is a function without arguments that says '-> Run'."),
        ("own_broken:mine", "Recipe 'own_broken:mine': No module named 'no_such_thing_at_all'. Ours are: "),
        ("no_such_module:mine", "No module named 'no_such_module'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(own, name, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        find(name)
    assert "\n" not in str(caught.value)
