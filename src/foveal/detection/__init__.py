"""Boxes by any words: where something may be (proposals), what it is (rescoring), and how it is shown."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .dense import Dense
    from .files import FromFile, GroundTruth, write_proposals
    from .grounding_dino import Grounding
    from .lookup import OpenVocabulary, proposer
    from .owl import Owl
    from .proposals import Proposals, Proposer
    from .rescore import Rescoring
    from .show import as_results, as_table, draw

__all__ = [
    "Dense",
    "FromFile",
    "GroundTruth",
    "Grounding",
    "OpenVocabulary",
    "Owl",
    "Proposals",
    "Proposer",
    "Rescoring",
    "as_results",
    "as_table",
    "draw",
    "proposer",
    "write_proposals",
]

_HOMES = {
    "Dense": "dense",
    "FromFile": "files",
    "GroundTruth": "files",
    "Grounding": "grounding_dino",
    "OpenVocabulary": "lookup",
    "Owl": "owl",
    "Proposals": "proposals",
    "Proposer": "proposals",
    "Rescoring": "rescore",
    "as_results": "show",
    "as_table": "show",
    "draw": "show",
    "proposer": "lookup",
    "write_proposals": "files",
}

__getattr__ = lazy_names(__name__, _HOMES)
