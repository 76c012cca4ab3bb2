"""Pictures made of emoji on colored tiles, with exact captions, boxes and hard negatives, endless and seeded."""

from .artwork import ARTWORK, ATTRIBUTION, NOUNS
from .negatives import KINDS
from .shards import write_notice, write_shards
from .source import Scenes
from .truth import COLORS, Scene, Tile

__all__ = [
    "ARTWORK",
    "ATTRIBUTION",
    "COLORS",
    "KINDS",
    "NOUNS",
    "Scene",
    "Scenes",
    "Tile",
    "write_notice",
    "write_shards",
]
