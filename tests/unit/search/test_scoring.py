"""Queries and images compared by the encoder's scores, and the baselines of these."""

from foveal.search import MODES
from foveal.search.store import SCORES_VERSION


def test_baselines_are_measured_again_where_a_score_has_changed():
    """Whoever changes a score that indices have baselines of raises the version too, and then this."""
    formulas = {
        "global": "Global()",
        "late": "Late(leak=0.1)",
        "fused": f"Fused(weight={2 / 3})",
        "region": "Regions()",
    }
    assert {name: repr(score) for name, score in MODES.items()} == formulas
    assert SCORES_VERSION == 2
