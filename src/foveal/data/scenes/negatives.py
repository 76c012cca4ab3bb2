"""Near misses: texts that keep the words of a true one and change a fact, each proven false of its scene.

Why they are false. A region's: noun, size and color are all it says, and one is another. A short caption's:
no two things of the scene fit its phrases, or they lie the opposite way. A long caption's: it says of
each place what is there, and places are never shared, so one altered thing is one false sentence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from ...types import Negative
from .language import COUNTED_CAPTION, Caption, Opening, Placed, Related, Sentence, Twice, describe, write
from .truth import COLORS, OPPOSITE, PLACES, SIZES, Scene, Thing, alterations, holds, relation

KINDS = (
    "object",
    "attribute",
    "size",
    "swapped_attribute",
    "swapped_size",
    "swapped_position",
    "relation",
    "count",
)
ALTERED_KINDS = KINDS[:6]
MISPLACED = 4  # wrong places of a thing whose place is told
NEAR_COLORS, FAR_COLORS = 2, 3  # wrong colors of a region: from the scene, and from elsewhere


def region_negatives(
    scene: Scene, index: int, form: int, nouns: Sequence[str], rng: Random, number: int
) -> tuple[Negative, ...]:
    """Phrases that nearly fit one thing: its size, its color or what it is are another.

    Args:
        scene: The truth.
        index: Which thing.
        form: How its true phrase is worded.
        nouns: What it may be called instead.
        rng: Where chance comes from.
        number: How many to make.

    Returns:
        First the other size, then "swapped_attribute" with the colors of up to two other things, then
        "attribute" with colors that the scene lacks, then "object", first with what else is in the scene.
        No two are equal.
    """
    truth = scene.things[index]
    others = rng.sample([thing for thing in scene.things if thing != truth], len(scene.things) - 1)
    near = [color for color in dict.fromkeys(thing.color for thing in others) if color != truth.color]
    far = [color for color in COLORS if color != truth.color and color not in near]
    strange = rng.sample(nouns, min(number + len(scene.things), len(nouns)))
    wrong_nouns = dict.fromkeys([*(thing.noun for thing in others[:1]), *strange])
    made = [("size", truth._replace(size=size)) for size in SIZES if size != truth.size]
    made += [("swapped_attribute", truth._replace(color=color)) for color in near[:NEAR_COLORS]]
    made += [("attribute", truth._replace(color=color)) for color in rng.sample(far, min(len(far), FAR_COLORS))]
    made += [("object", truth._replace(noun=noun)) for noun in wrong_nouns if noun != truth.noun]
    return tuple(Negative(describe(thing, form), kind) for kind, thing in made[:number])


def told_negatives(
    told: Placed | Related, scene: Scene, nouns: Sequence[str], rng: Random, number: int
) -> tuple[Negative, ...]:
    """Near misses of a sentence that says where one thing lies.

    Args:
        told: The true sentence's words.
        scene: The truth.
        nouns: What an object may become.
        rng: Where chance comes from.
        number: How many to make at most.

    Returns:
        First the same thing where it does not lie: at other places, those of other things among them, or on the
        opposite side. Then the same sentence said of altered scenes. No two are equal.
    """
    made = list(_misplaced(told, scene, rng))
    for kind in ALTERED_KINDS:
        for altered in alterations(scene, kind, nouns, rng):
            if told(altered) != told(scene) and _is_false(told, altered, scene):
                made.append(Negative(told(altered), kind))
                break
    return _unrepeated(made)[:number]


def _misplaced(told: Placed | Related, scene: Scene, rng: Random) -> Iterator[Negative]:
    if isinstance(told, Related):
        yield Negative(replace(told, is_reversed=True)(scene), "relation")
        return
    thing, taken = scene.things[told.index], {thing.place for thing in scene.things}
    for place in rng.sample([place for place in PLACES if place != thing.place], MISPLACED):
        things = list(scene.things)
        things[told.index] = thing._replace(place=place)
        kind = "swapped_position" if place in taken else "position"
        yield Negative(told(replace(scene, things=tuple(things))), kind)


def _is_false(told: Placed | Related, altered: Scene, scene: Scene) -> bool:
    """Whether a sentence said of the altered scene is plainly false of the true one; places are never shared."""
    if isinstance(told, Placed):
        return True
    return _differs(altered.things[told.subject], altered.things[told.other], told.axis, scene)


def contradicts(caption: Caption, altered: Scene, scene: Scene) -> bool:
    """Whether a short caption said of the altered scene is plainly false of the true one."""
    one, two = altered.things[:2]
    return _differs(one, two, caption.axis, scene)


def _differs(one: Thing, two: Thing, axis: int, scene: Scene) -> bool:
    """Whether a scene lacks one of two things, or they lie the opposite way."""
    subject, other = scene.find(one), scene.find(two)
    if subject is None or other is None:
        return True
    return holds(subject, OPPOSITE[relation(one, two, axis)], other)


def caption_negatives(caption: Caption, scene: Scene, nouns: Sequence[str], rng: Random) -> tuple[Negative, ...]:
    """One near miss of each kind that the short caption allows, in the order of `KINDS`.

    Args:
        caption: The true one's words.
        scene: The truth.
        nouns: What an object may become.
        rng: Where chance comes from.

    Returns:
        Captions that differ from the true one in one fact, or two exchanged ones. Swapped attributes and
        sizes need two that differ, and "count" a caption that says a number.
    """
    made = []
    for kind in ALTERED_KINDS:
        altered_scenes = alterations(scene, kind, nouns, rng, among=2)
        altered = next((one for one in altered_scenes if contradicts(caption, one, scene)), None)
        if altered is not None:
            made.append(Negative(caption(altered), kind))
    made.append(Negative(replace(caption, is_reversed=True)(scene), "relation"))
    if caption.template == COUNTED_CAPTION:
        made.append(Negative(replace(caption, off=_lie(scene, rng))(scene), "count"))
    return _unrepeated(made)


def long_caption_negatives(
    sentences: Sequence[Sentence], scene: Scene, nouns: Sequence[str], rng: Random
) -> tuple[Negative, ...]:
    """One near miss of each kind that the long caption allows, in the order of `KINDS`.

    Args:
        sentences: The true one's words.
        scene: The truth.
        nouns: What an object may become.
        rng: Where chance comes from.

    Returns:
        Texts of the same sentences in the same order. An altered fact is altered wherever it is said, so the
        text agrees with itself and only the picture shows that it is false. Not so "relation" and "count":
        these stand in one sentence, which a reader who never sees the picture may find at odds with the rest.
    """
    made = []
    for kind in ALTERED_KINDS:
        altered = next(alterations(scene, kind, nouns, rng), None)
        if altered is not None:
            made.append(Negative(write(sentences, altered), kind))
    related = [sentence for sentence in sentences if isinstance(sentence, Related)]
    if related:
        told = rng.choice(related)
        lie: Sentence = replace(told, is_reversed=True)
        made.append(Negative(write([lie if one == told else one for one in sentences], scene), "relation"))
    counted = rng.choice([sentence for sentence in sentences if isinstance(sentence, Opening | Twice)])
    lie = replace(counted, off=_lie(scene, rng) if isinstance(counted, Opening) else 1)
    made.append(Negative(write([lie if one == counted else one for one in sentences], scene), "count"))
    return _unrepeated(made)


def _unrepeated(made: Sequence[Negative]) -> tuple[Negative, ...]:
    """The first of each text: swapping the colors of two like things swaps their positions."""
    first: dict[str, Negative] = {}
    for negative in made:
        first.setdefault(negative.text, negative)
    return tuple(first.values())


def _lie(scene: Scene, rng: Random) -> int:
    """By how much to miscount: one more or one less, but never down to "one tiles"."""
    return rng.choice((-1, 1)) if len(scene.things) > 2 else 1
