"""What there is in a scene: things, their attributes and places, and the scenes that are nearly the same."""

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


class Thing(NamedTuple):
    """An emoji on a square tile. A tuple, as near misses make a hundred of them for each picture.

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
    """All facts about a picture: no two things share a place, nor both noun and color.

    Attributes:
        things: Those that the short caption is about come first.
        background: Color of everything between the tiles, one of `BACKGROUNDS`.
    """

    things: tuple[Thing, ...]
    background: str

    def with_exchange(self, first: int, second: int, fields: Sequence[str]) -> "Scene":
        """The scene in which two things have exchanged some of their facts."""
        things = list(self.things)
        one, other = things[first], things[second]
        things[first] = one._replace(**{name: getattr(other, name) for name in fields})
        things[second] = other._replace(**{name: getattr(one, name) for name in fields})
        return replace(self, things=tuple(things))

    def find(self, likeness: Thing) -> Thing | None:
        """The thing of the same noun, size and color, wherever it is; there is at most one."""
        return next((thing for thing in self.things if thing[:3] == likeness[:3]), None)


def is_distinct(scene: Scene) -> bool:
    """True where noun and tile color together name one thing only."""
    return len({(thing.noun, thing.color) for thing in scene.things}) == len(scene.things)


def split_of(scene: Scene) -> str:
    """Which split a scene may appear in, decided by the multiset of its nouns, sizes and colors alone.

    One in eight compositions is for testing. As places and background do not count, no train scene is a
    test scene rearranged, whatever the seeds.
    """
    composition = sorted(thing[:3] for thing in scene.things)
    digest = blake2b(repr(composition).encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") % TEST_EVERY == 0 else "train"


def relation(subject: Thing, other: Thing, axis: int) -> str:
    """How one thing lies to another along an axis, or along the other axis where they are level.

    Args:
        subject: What is left, right, above or below.
        other: What it is compared with.
        axis: 0 prefers left and right, 1 above and below.

    Returns:
        A key of `OPPOSITE`: "left" for places (0, 0) and (2, 0) along either axis.
    """
    if subject.place[axis] == other.place[axis]:
        axis = 1 - axis
    is_before = subject.place[axis] < other.place[axis]
    return (("left", "right"), ("above", "below"))[axis][0 if is_before else 1]


def holds(subject: Thing, word: str, other: Thing) -> bool:
    """Whether a relation is plainly true; things in one column are neither left nor right of each other."""
    axis = 0 if word in ("left", "right") else 1
    first, second = (subject, other) if word in ("left", "above") else (other, subject)
    return first.place[axis] < second.place[axis]


def draw_scene(rng: Random, nouns: Sequence[str], objects: tuple[int, int]) -> Scene:
    """A random scene, of either split.

    Args:
        rng: Where chance comes from.
        nouns: What things there may be.
        objects: Least and greatest number of things, both included.

    Returns:
        A scene; in a quarter of them one noun is there twice.
    """
    number = rng.randint(*objects)
    columns, rows = rng.choice([grid for grid in GRIDS if grid[0] * grid[1] >= number])
    thirds = {2: (0, 2), 3: (0, 1, 2)}
    places = rng.sample([(column, row) for column in thirds[columns] for row in thirds[rows]], number)
    chosen = rng.sample(nouns, number)
    if rng.random() < SHARE_OF_PAIRS:
        one, other = rng.sample(range(number), 2)
        chosen[one] = chosen[other]
    background = rng.choice(tuple(BACKGROUNDS))
    while True:
        things = (
            Thing(noun, rng.choice(SIZES), rng.choice(tuple(COLORS)), place)
            for noun, place in zip(chosen, places, strict=True)
        )
        scene = Scene(tuple(things), background)
        if is_distinct(scene):
            return scene


def alterations(
    scene: Scene, kind: str, nouns: Sequence[str], rng: Random, among: int | None = None
) -> Iterator[Scene]:
    """Other scenes that are nearly this one, in random order.

    Args:
        scene: The truth.
        kind: "object", "attribute" and "size" change a fact about one thing; "swapped_attribute",
            "swapped_size" and "swapped_position" exchange facts between two.
        nouns: What an object may become.
        rng: Where chance comes from.
        among: Only the first so many things change.

    Yields:
        Distinct scenes with the same places and background, each unlike the truth. None where all sizes are
        equal and the kind is "swapped_size".
    """
    members = range(len(scene.things[:among]))
    altered: Iterator[Scene]
    if kind in EXCHANGED:
        pairs = list(combinations(members, 2))
        rng.shuffle(pairs)
        altered = (scene.with_exchange(*pair, EXCHANGED[kind]) for pair in pairs)
    else:
        altered = _changes(scene, kind, nouns, rng, members)
    yield from (other for other in altered if other != scene and is_distinct(other))


def _changes(scene: Scene, kind: str, nouns: Sequence[str], rng: Random, members: range) -> Iterator[Scene]:
    """Scenes in which one fact is any of those it could be, the true one included."""
    taken = {thing.noun for thing in scene.things}
    values = {
        "object": [noun for noun in rng.sample(nouns, min(16, len(nouns))) if noun not in taken],
        "attribute": list(COLORS),
        "size": list(SIZES),
    }[kind]
    field = {"object": "noun", "attribute": "color", "size": "size"}[kind]
    changes = [(member, value) for member in members for value in values]
    for member, value in rng.sample(changes, len(changes)):
        things = list(scene.things)
        # Two dogs become two cats: a text that says "two dogs" then stays in step with the rest of it.
        is_shared = [kind == "object" and thing.noun == things[member].noun for thing in things]
        for index, thing in enumerate(scene.things):
            if index == member or is_shared[index]:
                fact: dict[str, Any] = {field: value}
                things[index] = thing._replace(**fact)
        yield Scene(tuple(things), scene.background)
