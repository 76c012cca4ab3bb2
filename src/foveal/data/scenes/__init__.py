"""Pictures made of emoji on colored tiles, with exact captions, boxes and near misses, endless and seeded."""

from .artwork import ARTWORK, ATTRIBUTION, NOUNS
from .negatives import KINDS
from .shards import write_notice, write_shards
from .source import Scenes
from .truth import COLORS, Scene, Thing

__all__ = [
    "ARTWORK",
    "ATTRIBUTION",
    "COLORS",
    "KINDS",
    "NOUNS",
    "Scene",
    "Scenes",
    "Thing",
    "write_notice",
    "write_shards",
]
