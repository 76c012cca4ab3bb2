"""Sentences about scenes. One is drawn without its facts, so that it can be said of an altered scene too.

A sentence holds every choice of words but no fact. Said of the true scene it is true; said of a nearly equal
scene it is a hard negative that differs in nothing but the facts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random

from .artwork import plural
from .truth import OPPOSITE, Scene, Tile, relation

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RELATION_WORDS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "above"),
    "below": ("below", "below"),
}
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "middle", "right")
PHRASES = (
    "{a} {size} {noun} on {another} {color} tile",
    "{another} {color} tile with {a} {size} {noun}",
    "{a} {size} {noun} on {another} {color} square",
)
OPENINGS = (
    "The picture shows {number} tiles on {a} {background} background.",
    "There are {number} tiles on {a} {background} background.",
    "On {a} {background} background lie {number} tiles.",
    "{Number} tiles lie on {a} {background} background.",
)
PLACED = (
    "{A} is in the {place} of the picture.",
    "In the {place} there is {a}.",
    "The {place} shows {a}.",
    "There is {a} in the {place}.",
)
RELATED = (
    "{A} is {relation} {b}.",
    "{Relation} {b} is {a}.",
    "{A} can be seen {relation} {b}.",
)
TWICE = (
    "There are {number} {nouns}.",
    "{Number} of the tiles show {nouns}.",
    "The picture has {number} {nouns}.",
)
CAPTIONS = (
    "{A} is {relation} {b}.",
    "{A} {relation} {b}.",
    "A picture of {a} {relation} {b}.",
    "Among {number} tiles, {a} is {relation} {b}.",
)
COUNTED_CAPTION = 3  # the one of `CAPTIONS` that says a number


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def article(word: str) -> str:
    """Return the indefinite article: "an" before "orange", "a" before "red"."""
    return "an" if word[0] in "aeiou" else "a"


def describe(tile: Tile, form: int = 0, *, definite: bool = False) -> str:
    """Return a phrase for a tile.

    Args:
        tile: What to name.
        form: Which of `PHRASES`.
        definite: Says "the" instead of "a".

    Returns:
        For example "a large apple on an orange tile".
    """
    a, second = ("the", "the") if definite else ("a", article(tile.color))
    return PHRASES[form].format(a=a, another=second, size=tile.size, noun=tile.noun, color=tile.color)


def repeated(scene: Scene) -> tuple[str, int]:
    """Return the most frequent noun and how often it is there."""
    return Counter(tile.noun for tile in scene.tiles).most_common(1)[0]


def place_name(place: tuple[int, int]) -> str:
    """Return a place in words: "top left" for (0, 0), "center" for (1, 1)."""
    column, row = place
    return "center" if place == (1, 1) else f"{ROWS[row]} {COLUMNS[column]}"


@dataclass(frozen=True, slots=True)
class Opening:
    """A sentence on the number of tiles and the background. `off` is a lie about the number."""

    template: int
    off: int = 0

    def __call__(self, scene: Scene) -> str:
        """Return the sentence about a scene."""
        number = NUMBERS[len(scene.tiles) + self.off]
        return OPENINGS[self.template].format(
            number=number, Number=_capital(number), a=article(scene.background), background=scene.background
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """A sentence on a tile and its part of the picture."""

    index: int
    template: int
    form: int

    def __call__(self, scene: Scene) -> str:
        """Return the sentence about a scene."""
        tile = scene.tiles[self.index]
        phrase = describe(tile, self.form)
        return PLACED[self.template].format(a=phrase, A=_capital(phrase), place=place_name(tile.place))


@dataclass(frozen=True, slots=True)
class Related:
    """A sentence on the relation of one tile to another. `is_reversed` is a lie: the opposite relation."""

    subject: int
    reference: int
    axis: int
    template: int
    form: int
    variant: int
    is_brief: bool
    is_reversed: bool = False

    def __call__(self, scene: Scene) -> str:
        """Return the sentence about a scene; brief names are used only where they name one tile."""
        subject, reference = scene.tiles[self.subject], scene.tiles[self.reference]
        word = relation(subject, reference, self.axis)
        words = RELATION_WORDS[OPPOSITE[word] if self.is_reversed else word][self.variant]
        a, b = self._name(scene, subject), self._name(scene, reference)
        return RELATED[self.template].format(a=a, A=_capital(a), b=b, relation=words, Relation=_capital(words))

    def _name(self, scene: Scene, tile: Tile) -> str:
        if self.is_brief and sum(candidate.noun == tile.noun for candidate in scene.tiles) == 1:
            return f"the {tile.noun}"
        return describe(tile, self.form, definite=True)


@dataclass(frozen=True, slots=True)
class Twice:
    """A sentence on a noun that is there more than once. `off` is a lie about the number."""

    template: int
    off: int = 0

    def __call__(self, scene: Scene) -> str:
        """Return the sentence about a scene, which must have such a noun."""
        noun, count = repeated(scene)
        number = NUMBERS[count + self.off]
        return TWICE[self.template].format(number=number, Number=_capital(number), nouns=plural(noun))


Sentence = Opening | Placed | Related | Twice


@dataclass(frozen=True, slots=True)
class Caption:
    """One sentence about the first two tiles. `is_reversed` and `off` are lies."""

    template: int
    form: int
    axis: int
    variant: int
    is_reversed: bool = False
    off: int = 0

    def __call__(self, scene: Scene) -> str:
        """Return the sentence about a scene."""
        subject, reference = scene.tiles[:2]
        word = relation(subject, reference, self.axis)
        words = RELATION_WORDS[OPPOSITE[word] if self.is_reversed else word][self.variant]
        a, b = describe(subject, self.form), describe(reference, self.form)
        number = NUMBERS[len(scene.tiles) + self.off]
        return CAPTIONS[self.template].format(a=a, A=_capital(a), b=b, relation=words, number=number)


def draw_caption(rng: Random) -> Caption:
    """Draw a short caption's words at random."""
    return Caption(
        template=rng.randrange(len(CAPTIONS)),
        form=rng.randrange(len(PHRASES)),
        axis=rng.randrange(2),
        variant=rng.randrange(2),
    )


def draw_long_caption(scene: Scene, rng: Random, relations: int) -> tuple[Sentence, ...]:
    """Draw a long caption's sentences in shuffled order, so that any fact may come last.

    Args:
        scene: What it will be about; only the number of its tiles matters, and whether a noun repeats.
        rng: Where chance comes from.
        relations: How many pairs of tiles to relate; each pair once, so fewer where there are fewer pairs.

    Returns:
        An opening, a sentence for each tile, one about a noun that repeats, and the relations.
    """
    sentences: list[Sentence] = [Opening(rng.randrange(len(OPENINGS)))]
    sentences += [
        Placed(index, rng.randrange(len(PLACED)), rng.randrange(len(PHRASES))) for index in range(len(scene.tiles))
    ]
    if repeated(scene)[1] > 1:
        sentences.append(Twice(rng.randrange(len(TWICE))))
    pairs = list(combinations(range(len(scene.tiles)), 2))
    for pair in rng.sample(pairs, min(relations, len(pairs))):
        subject, reference = rng.sample(pair, 2)
        sentences.append(
            Related(
                subject,
                reference,
                axis=rng.randrange(2),
                template=rng.randrange(len(RELATED)),
                form=rng.randrange(len(PHRASES)),
                variant=rng.randrange(2),
                is_brief=rng.random() < 0.5,
            )
        )
    rng.shuffle(sentences)
    return tuple(sentences)


def draw_position(scene: Scene, index: int, rng: Random) -> Placed | Related:
    """Draw a sentence on the place of one tile: in which part of the picture, or how to another tile.

    Args:
        scene: What it will be about; only the number of its tiles matters.
        index: Which tile.
        rng: Where chance comes from.
    """
    form = rng.randrange(len(PHRASES))
    if rng.random() < 0.5:
        return Placed(index, rng.randrange(len(PLACED)), form)
    reference = rng.choice([number for number in range(len(scene.tiles)) if number != index])
    template, variant = rng.randrange(len(RELATED)), rng.randrange(2)
    return Related(index, reference, rng.randrange(2), template, form, variant, is_brief=False)


def write(sentences: Sequence[Sentence], scene: Scene) -> str:
    """Join what sentences say of a scene to a text."""
    return " ".join(sentence(scene) for sentence in sentences)
