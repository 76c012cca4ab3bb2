"""Pictures made of emoji on colored tiles, with exact captions, boxes and near misses, endless and seeded."""

from .artwork import ATTRIBUTION, NOUNS
from .negatives import KINDS
from .source import Scenes
from .truth import COLORS, Scene, Thing

__all__ = ["ATTRIBUTION", "COLORS", "KINDS", "NOUNS", "Scene", "Scenes", "Thing"]
