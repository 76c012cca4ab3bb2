import ast
from pathlib import Path
from runpy import run_path

TOOL = run_path(str(Path(__file__).parents[2] / "tools" / "mutants.py"))
SOURCE = '''
"""Says nothing."""
from typing import Any


@cache(size=1)
def is_small(value: int | None, most=3) -> bool:
    """True if small."""
    assert value != 7
    if value is None or not value:
        return None
    return min(value, 0) + 1 < most
'''


def test_each_place_that_runs_gives_its_mistakes_and_nothing_else_does():
    assert [str(mutant) for mutant in TOOL["mutants"](Path("a.py"), SOURCE)] == [
        "a.py: 3 -> 4",
        "a.py: if value is None or not value: -> if not (value is None or not value):",
        "a.py: value is None or not value -> value is None and (not value)",
        "a.py: value is None -> value is not None",
        "a.py: not value -> value",
        "a.py: return min(value, 0) + 1 < most -> return None",
        "a.py: min(value, 0) + 1 < most -> min(value, 0) + 1 <= most",
        "a.py: min(value, 0) + 1 < most -> min(value, 0) + 1 >= most",
        "a.py: min(value, 0) + 1 -> min(value, 0) - 1",
        "a.py: min -> max",
        "a.py: 0 -> 1",
        "a.py: 1 -> 2",
    ]


def test_a_mutant_differs_from_the_source_in_one_line():
    lines = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in TOOL["mutants"](Path("a.py"), SOURCE):
        assert sum(was != now for was, now in zip(lines, mutant.source().splitlines(), strict=True)) == 1


def test_a_file_of_a_room_is_mirrored_by_the_test_of_its_name():
    assert TOOL["mirrored"](Path("src/foveal/search/where.py")) == Path("tests/unit/search/test_where.py")


def test_the_sample_is_drawn_by_its_seed():
    draws = [TOOL["chosen_sample"](["tools/mutants.py"], 5, seed) for seed in (0, 0, 1)]
    changes = [[str(mutant) for mutants in draw.values() for mutant in mutants] for draw in draws]
    assert changes[0] == changes[1] != changes[2]
    assert len(changes[0]) == 5
