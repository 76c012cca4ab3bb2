"""The facts of a scene: tiles, their attributes and places, and the scenes that are nearly the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import combinations
from random import Random
from typing import Any, NamedTuple

COLORS = {
    "red": (222, 32, 38),
    "orange": (255, 140, 0),
    "yellow": (255, 226, 40),
    "green": (36, 150, 60),
    "blue": (36, 84, 222),
    "purple": (128, 44, 170),
    "pink": (255, 158, 200),
    "brown": (118, 72, 36),
}
BACKGROUNDS = {"white": (255, 255, 255), "gray": (150, 150, 150), "black": (16, 16, 16)}
SIZES = ("large", "small")
PLACES = tuple((column, row) for column in range(3) for row in range(3))
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
GRIDS = (*5 * ((2, 2),), (3, 2), (2, 3), (3, 3))  # columns and rows; fewer cells leave room for larger tiles
SHARE_OF_PAIRS = 0.25  # of the scenes have one noun twice
TEST_EVERY = 8  # one composition in so many is for testing
EXCHANGED = {
    "swapped_attribute": ("color",),
    "swapped_size": ("size",),
    "swapped_position": ("noun", "size", "color"),
}


class Tile(NamedTuple):
    """A square tile with an emoji on it. A tuple, as hard negatives make a hundred of them for each picture.

    Attributes:
        noun: What it is, one of `NOUNS`.
        size: "large" or "small", of emoji and tile together.
        color: The tile's, one of `COLORS`.
        place: The column (0 left, 1 middle, 2 right) and row (0 top, 1 middle, 2 bottom) of its center.
    """

    noun: str
    size: str
    color: str
    place: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """All facts about a picture: no two tiles share a place, nor both noun and color.

    Attributes:
        tiles: Those that the short caption is about come first.
        background: Color of everything between the tiles, one of `BACKGROUNDS`.
    """

    tiles: tuple[Tile, ...]
    background: str

    def with_exchange(self, first: int, second: int, fields: Sequence[str]) -> "Scene":
        """Return the scene with some facts of two tiles exchanged."""
        tiles = list(self.tiles)
        first_tile, second_tile = tiles[first], tiles[second]
        tiles[first] = first_tile._replace(**{name: getattr(second_tile, name) for name in fields})
        tiles[second] = second_tile._replace(**{name: getattr(first_tile, name) for name in fields})
        return replace(self, tiles=tuple(tiles))

    def find(self, likeness: Tile) -> Tile | None:
        """Return the tile of the same noun, size and color, wherever it is; there is at most one."""
        return next((tile for tile in self.tiles if tile[:3] == likeness[:3]), None)


def is_distinct(scene: Scene) -> bool:
    """True where noun and tile color together name one tile only."""
    return len({(tile.noun, tile.color) for tile in scene.tiles}) == len(scene.tiles)


def split_of(scene: Scene) -> str:
    """Return the split that a scene may appear in, decided by the multiset of its nouns, sizes and colors alone.

    One in eight compositions is for testing. As places and background do not count, no train scene is a
    test scene rearranged, whatever the seeds.
    """
    composition = sorted(tile[:3] for tile in scene.tiles)
    digest = blake2b(repr(composition).encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") % TEST_EVERY == 0 else "train"


def relation(subject: Tile, reference: Tile, axis: int) -> str:
    """Return the relation of one tile to another along an axis, or along the other axis where they are level.

    Args:
        subject: What is left, right, above or below.
        reference: What it is compared with.
        axis: 0 prefers left and right, 1 above and below.

    Returns:
        A key of `OPPOSITE`: "left" for places (0, 0) and (2, 0) along either axis.
    """
    if subject.place[axis] == reference.place[axis]:
        axis = 1 - axis
    is_before = subject.place[axis] < reference.place[axis]
    return (("left", "right"), ("above", "below"))[axis][0 if is_before else 1]


def holds(subject: Tile, word: str, reference: Tile) -> bool:
    """True if a relation is plainly true; tiles in one column are neither left nor right of each other."""
    axis = 0 if word in ("left", "right") else 1
    first, second = (subject, reference) if word in ("left", "above") else (reference, subject)
    return first.place[axis] < second.place[axis]


def draw_scene(rng: Random, nouns: Sequence[str], objects: tuple[int, int]) -> Scene:
    """Draw a random scene, of either split.

    Args:
        rng: Where chance comes from.
        nouns: What tiles there may be.
        objects: Least and greatest number of tiles, both included.

    Returns:
        A scene; in a quarter of them one noun is there twice.
    """
    number = rng.randint(*objects)
    columns, rows = rng.choice([grid for grid in GRIDS if grid[0] * grid[1] >= number])
    thirds = {2: (0, 2), 3: (0, 1, 2)}
    places = rng.sample([(column, row) for column in thirds[columns] for row in thirds[rows]], number)
    drawn_nouns = rng.sample(nouns, number)
    if rng.random() < SHARE_OF_PAIRS:
        first, second = rng.sample(range(number), 2)
        drawn_nouns[first] = drawn_nouns[second]
    background = rng.choice(tuple(BACKGROUNDS))
    while True:
        tiles = (
            Tile(noun, rng.choice(SIZES), rng.choice(tuple(COLORS)), place)
            for noun, place in zip(drawn_nouns, places, strict=True)
        )
        scene = Scene(tuple(tiles), background)
        if is_distinct(scene):
            return scene


def alterations(
    scene: Scene, kind: str, nouns: Sequence[str], rng: Random, among: int | None = None
) -> Iterator[Scene]:
    """Yield other scenes that are nearly this one, in random order.

    Args:
        scene: The truth.
        kind: "object", "attribute" and "size" change a fact about one tile; "swapped_attribute",
            "swapped_size" and "swapped_position" exchange facts between two.
        nouns: What an object may become.
        rng: Where chance comes from.
        among: Only the first so many tiles change.

    Yields:
        Distinct scenes with the same places and background, each unlike the truth. None where all sizes are
        equal and the kind is "swapped_size".
    """
    members = range(len(scene.tiles[:among]))
    altered: Iterator[Scene]
    if kind in EXCHANGED:
        pairs = list(combinations(members, 2))
        rng.shuffle(pairs)
        altered = (scene.with_exchange(*pair, EXCHANGED[kind]) for pair in pairs)
    else:
        altered = _changes(scene, kind, nouns, rng, members)
    yield from (candidate for candidate in altered if candidate != scene and is_distinct(candidate))


def _changes(scene: Scene, kind: str, nouns: Sequence[str], rng: Random, members: range) -> Iterator[Scene]:
    """Yield scenes in which one fact is any of those it could be, the true one included."""
    taken = {tile.noun for tile in scene.tiles}
    values = {
        "object": [noun for noun in rng.sample(nouns, min(16, len(nouns))) if noun not in taken],
        "attribute": list(COLORS),
        "size": list(SIZES),
    }[kind]
    field = {"object": "noun", "attribute": "color", "size": "size"}[kind]
    changes = [(member, value) for member in members for value in values]
    for member, value in rng.sample(changes, len(changes)):
        tiles = list(scene.tiles)
        # Two dogs become two cats: a text that says "two dogs" then stays in step with the rest of it.
        is_shared = [kind == "object" and tile.noun == tiles[member].noun for tile in tiles]
        for index, tile in enumerate(scene.tiles):
            if index == member or is_shared[index]:
                fact: dict[str, Any] = {field: value}
                tiles[index] = tile._replace(**fact)
        yield Scene(tuple(tiles), scene.background)
