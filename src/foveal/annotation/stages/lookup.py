"""The stages by name, and how a command line puts them together."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ...configuration import override
from ..assistant.assistant import Assistant
from ..stage import Stage
from .settings import Settings


def _caption(settings: Settings) -> Stage:
    from .caption import Caption

    return Caption.of(settings)


def _phrases(settings: Settings) -> Stage:
    from .phrases import Phrases

    return Phrases.of(settings)


def _ground(settings: Settings) -> Stage:
    from .ground import Ground

    return Ground.of(settings)


def _negatives(settings: Settings) -> Stage:
    from .negatives import Negatives

    return Negatives.of(settings)


def _filter(settings: Settings) -> Stage:
    from .filter import Filter

    return Filter.of(settings)


STAGES: dict[str, Callable[[Settings], Stage]] = {
    "caption": _caption,
    "phrases": _phrases,
    "ground": _ground,
    "negatives": _negatives,
    "filter": _filter,
}


def build(names: Sequence[str], settings: Settings) -> dict[str, Stage]:
    """Build the stages of these names, in this order.

    Raises:
        ValueError: If a name is unknown, stands twice, or there is none. The message lists those there are.
    """
    unknown = next((name for name in names if name not in STAGES), None)
    if unknown is not None or not names:
        raise ValueError(f"There is no stage '{unknown or ''}'. There are: {', '.join(STAGES)}.")
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"Stage '{twice}' stands twice. Name each stage once.")
    return {name: STAGES[name](settings) for name in names}


def assistant_of(endpoint: str | None, model: str | None, answers: Path, fresh: bool = False) -> Assistant | None:
    """Return the assistant that a command line names, if it names one.

    Raises:
        ValueError: If it names half of one.
    """
    if endpoint and model:
        return Assistant(endpoint=endpoint, model=model, answers=answers, fresh=fresh)
    if endpoint or model:
        raise ValueError("An assistant has an address and a model: give both --endpoint and --model.")
    return None


def assemble(names: Sequence[str], settings: Settings, changes: Sequence[str]) -> tuple[Settings, dict[str, Stage]]:
    """Return settings and stages, with single fields changed.

    Args:
        names: Of the stages.
        settings: Before the changes.
        changes: "stage.field=value" for a stage's field, "field=value" for one of the settings.

    Raises:
        ValueError: If there is no such stage or field.
    """
    by_stage = {name: [change for change in changes if change.startswith(f"{name}.")] for name in STAGES}
    idle = next((name for name, stage_changes in by_stage.items() if stage_changes and name not in names), None)
    if idle is not None:
        raise ValueError(f"'{by_stage[idle][0]}' changes a stage that does not run. Running: {', '.join(names)}.")
    rest = [change for change in changes if not any(change in stage_changes for stage_changes in by_stage.values())]
    if settings.assistant is None and any(change.startswith("assistant.") for change in rest):
        raise ValueError("There is no assistant to change. Name one with --endpoint and --model.")
    settings = override(settings, rest)
    stages = build(names, settings)
    for name, stage in stages.items():
        stages[name] = override(stage, [change.removeprefix(f"{name}.") for change in by_stage[name]])
    return settings, stages
