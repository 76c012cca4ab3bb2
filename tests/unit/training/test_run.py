import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from foveal.configuration import describe, differences, override, with_new_fields


@dataclass(frozen=True)
class Part:
    path: Path = Path("a")
    weights: tuple[tuple[str, float], ...] = ()
    optional: int | None = 3
    words: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("assignment", "read", "expected"),
    [
        ("steps=1_000", lambda run: run.steps, 1000),
        ("optimizer.lr=1e-6", lambda run: run.optimizer.lr, 1e-6),
        ("optimizer.lr=1", lambda run: run.optimizer.lr, 1.0),
        ("optimizer.betas=0.9,0.98", lambda run: run.optimizer.betas, (0.9, 0.98)),
        ("optimizer.betas=[0.9, 0.98]", lambda run: run.optimizer.betas, (0.9, 0.98)),
        ('optimizer.lr_factors=[["text", 2]]', lambda run: run.optimizer.lr_factors, (("text", 2.0),)),
        ("optimizer.lr_factors=[]", lambda run: run.optimizer.lr_factors, ()),
        ("optimizer.schedule=constant", lambda run: run.optimizer.schedule, "constant"),
        ("optimizer.clip_gradient_norm=none", lambda run: run.optimizer.clip_gradient_norm, None),
        ("optimizer.clip_gradient_norm=2", lambda run: run.optimizer.clip_gradient_norm, 2.0),
        ("machine.compile=True", lambda run: run.machine.compile, True),
        ("model.text.layers=3", lambda run: run.model.text.layers, 3),
        ("objective.hard=0.25", lambda run: run.objective.hard, 0.25),
        ("name=a=b", lambda run: run.name, "a=b"),
    ],
)
def test_values_are_read_by_the_type_of_their_field(small, assignment, read, expected):
    value = read(override(small.small_run(), [assignment]))
    assert value == expected
    assert type(value) is type(expected)


def test_paths_and_words_are_read_too():
    part = override(Part(), ["path=b/c", "words=red,green", "optional=null"])
    assert part == Part(path=Path("b/c"), words=("red", "green"), optional=None)


def test_the_last_of_several_assignments_wins_and_the_run_itself_stays(small):
    run = small.small_run()
    assert override(run, ["steps=5", "steps=6"]) == replace(run, steps=6)
    assert run == small.small_run()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optimizer.rate=1", "Optimizer has no 'rate'. It has: lr, weight_decay, betas, "),
        ("optimiser.lr=1", "Run has no 'optimiser'. It has: name, model, "),
        ("steps.more=1", "int has no fields, so no 'more'."),
        ("steps", "'steps' sets nothing. Write path.to.field=value."),
        ("steps=1.5", "steps=1.5: expected a whole number."),
        ("optimizer.lr=fast", "optimizer.lr=fast: expected a number."),
        ("optimizer.schedule=linear", "expected one of cosine, constant, finelip_release."),
        ("optimizer.clip_gradient_norm=x", "expected a number or none."),
        ("optimizer.betas=0.9", "expected 2 values, not 1."),
        ("optimizer.betas=[0.9", "expected a list such as [1, 2]."),
        ("machine.compile=yes", "expected one of true, false."),
        ("optimizer=x", "expected one of its own fields to be set: lr, weight_decay"),
    ],
)
def test_mistakes_are_one_clear_line(small, assignment, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        override(small.small_run(), [assignment])
    assert "\n" not in str(caught.value)


def test_runs_compare_and_hash(small):
    assert len({small.small_run(), small.small_run(), small.small_run("steps=9")}) == 2


def test_a_description_is_json_and_differs_where_runs_do(small):
    old, new = (json.loads(json.dumps(describe(small.small_run(*more)))) for more in ((), ("optimizer.lr=0.5",)))
    assert old["type"] == "Run"
    assert old["objective"] == {"type": "Objective", "hard": 0.5}
    assert differences(old, old) == []
    assert differences(old, new) == ["optimizer.lr: 0.001, now 0.5"]
    assert describe(Part()) == {"type": "Part", "path": "a", "weights": [], "optional": 3, "words": []}


def test_an_older_description_gets_the_defaults_of_new_fields_and_no_others():
    @dataclass(frozen=True)
    class Inner:
        old: int
        new: tuple[int, ...] = (1, 2)

    @dataclass(frozen=True)
    class Outer:
        inner: Inner
        extra: Inner = field(default_factory=lambda: Inner(3))

    old, new = {"type": "Outer", "inner": {"type": "Inner", "old": 1}}, Outer(Inner(1))
    assert with_new_fields(old, new) == describe(new)
    assert differences(with_new_fields(old, Outer(Inner(1, (5,)))), describe(Outer(Inner(1, (5,))))) == [
        "inner.new: [1, 2], now [5]"
    ]
