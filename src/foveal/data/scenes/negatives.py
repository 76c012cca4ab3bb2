"""Hard negatives: texts that keep the words of a true one and change a fact, each proven false of its scene.

Why they are false. A region's: noun, size and color are all it says, and one is another. A short caption's:
no two tiles of the scene fit its phrases, or they lie the opposite way. A long caption's: it says of
each place what is there, and places are never shared, so one altered tile is one false sentence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from ...types import Negative
from .language import COUNTED_CAPTION, Caption, Opening, Placed, Related, Sentence, Twice, describe, write
from .truth import COLORS, OPPOSITE, PLACES, SIZES, Scene, Tile, alterations, holds, relation

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
MISPLACED = 4  # wrong places of a tile whose place is told
NEAR_COLORS, FAR_COLORS = 2, 3  # wrong colors of a region: from the scene, and from elsewhere


def region_negatives(
    scene: Scene, index: int, form: int, nouns: Sequence[str], rng: Random, number: int
) -> tuple[Negative, ...]:
    """Return phrases that nearly fit one tile: its size, its color or what it is are another.

    Args:
        scene: The truth.
        index: Which tile.
        form: How its true phrase is worded.
        nouns: What it may be called instead.
        rng: Where chance comes from.
        number: How many to make.

    Returns:
        First the other size, then "swapped_attribute" with the colors of up to two other tiles, then
        "attribute" with colors that the scene lacks, then "object", first with what else is in the scene.
        No two are equal.
    """
    truth = scene.tiles[index]
    other_tiles = rng.sample([tile for tile in scene.tiles if tile != truth], len(scene.tiles) - 1)
    scene_colors = [color for color in dict.fromkeys(tile.color for tile in other_tiles) if color != truth.color]
    far = [color for color in COLORS if color != truth.color and color not in scene_colors]
    strange = rng.sample(nouns, min(number + len(scene.tiles), len(nouns)))
    wrong_nouns = dict.fromkeys([*(tile.noun for tile in other_tiles[:1]), *strange])
    variants = [("size", truth._replace(size=size)) for size in SIZES if size != truth.size]
    variants += [("swapped_attribute", truth._replace(color=color)) for color in scene_colors[:NEAR_COLORS]]
    variants += [("attribute", truth._replace(color=color)) for color in rng.sample(far, min(len(far), FAR_COLORS))]
    variants += [("object", truth._replace(noun=noun)) for noun in wrong_nouns if noun != truth.noun]
    return tuple(Negative(describe(tile, form), kind) for kind, tile in variants[:number])


def position_negatives(
    sentence: Placed | Related, scene: Scene, nouns: Sequence[str], rng: Random, number: int
) -> tuple[Negative, ...]:
    """Return hard negatives of a sentence that says where one tile lies.

    Args:
        sentence: The true sentence's words.
        scene: The truth.
        nouns: What an object may become.
        rng: Where chance comes from.
        number: How many to make at most.

    Returns:
        First the same tile where it does not lie: at other places, those of other tiles among them, or on the
        opposite side. Then the same sentence said of altered scenes. No two are equal.
    """
    negatives = list(_misplaced(sentence, scene, rng))
    for kind in ALTERED_KINDS:
        for altered in alterations(scene, kind, nouns, rng):
            if sentence(altered) != sentence(scene) and _is_false(sentence, altered, scene):
                negatives.append(Negative(sentence(altered), kind))
                break
    return _unrepeated(negatives)[:number]


def _misplaced(sentence: Placed | Related, scene: Scene, rng: Random) -> Iterator[Negative]:
    if isinstance(sentence, Related):
        yield Negative(replace(sentence, is_reversed=True)(scene), "relation")
        return
    tile, taken = scene.tiles[sentence.index], {tile.place for tile in scene.tiles}
    for place in rng.sample([place for place in PLACES if place != tile.place], MISPLACED):
        tiles = list(scene.tiles)
        tiles[sentence.index] = tile._replace(place=place)
        kind = "swapped_position" if place in taken else "position"
        yield Negative(sentence(replace(scene, tiles=tuple(tiles))), kind)


def _is_false(sentence: Placed | Related, altered: Scene, scene: Scene) -> bool:
    """True if a sentence said of the altered scene is plainly false of the true one; places are never shared."""
    if isinstance(sentence, Placed):
        return True
    return _differs(altered.tiles[sentence.subject], altered.tiles[sentence.reference], sentence.axis, scene)


def contradicts(caption: Caption, altered: Scene, scene: Scene) -> bool:
    """True if a short caption said of the altered scene is plainly false of the true one."""
    first, second = altered.tiles[:2]
    return _differs(first, second, caption.axis, scene)


def _differs(first: Tile, second: Tile, axis: int, scene: Scene) -> bool:
    """True if a scene lacks one of two tiles, or they lie the opposite way."""
    subject, reference = scene.find(first), scene.find(second)
    if subject is None or reference is None:
        return True
    return holds(subject, OPPOSITE[relation(first, second, axis)], reference)


def caption_negatives(caption: Caption, scene: Scene, nouns: Sequence[str], rng: Random) -> tuple[Negative, ...]:
    """Return one hard negative of each kind that the short caption allows, in the order of `KINDS`.

    Args:
        caption: The true one's words.
        scene: The truth.
        nouns: What an object may become.
        rng: Where chance comes from.

    Returns:
        Captions that differ from the true one in one fact, or two exchanged ones. Swapped attributes and
        sizes need two that differ, and "count" a caption that says a number.
    """
    negatives = []
    for kind in ALTERED_KINDS:
        altered_scenes = alterations(scene, kind, nouns, rng, among=2)
        altered = next((candidate for candidate in altered_scenes if contradicts(caption, candidate, scene)), None)
        if altered is not None:
            negatives.append(Negative(caption(altered), kind))
    negatives.append(Negative(replace(caption, is_reversed=True)(scene), "relation"))
    if caption.template == COUNTED_CAPTION:
        negatives.append(Negative(replace(caption, off=_lie(scene, rng))(scene), "count"))
    return _unrepeated(negatives)


def long_caption_negatives(
    sentences: Sequence[Sentence], scene: Scene, nouns: Sequence[str], rng: Random
) -> tuple[Negative, ...]:
    """Return one hard negative of each kind that the long caption allows, in the order of `KINDS`.

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
    negatives = []
    for kind in ALTERED_KINDS:
        altered = next(alterations(scene, kind, nouns, rng), None)
        if altered is not None:
            negatives.append(Negative(write(sentences, altered), kind))
    related = [sentence for sentence in sentences if isinstance(sentence, Related)]
    if related:
        original = rng.choice(related)
        lie: Sentence = replace(original, is_reversed=True)
        negatives.append(
            Negative(write([lie if sentence == original else sentence for sentence in sentences], scene), "relation")
        )
    counted = rng.choice([sentence for sentence in sentences if isinstance(sentence, Opening | Twice)])
    lie = replace(counted, off=_lie(scene, rng) if isinstance(counted, Opening) else 1)
    negatives.append(
        Negative(write([lie if sentence == counted else sentence for sentence in sentences], scene), "count")
    )
    return _unrepeated(negatives)


def _unrepeated(negatives: Sequence[Negative]) -> tuple[Negative, ...]:
    """Return the first negative of each text: swapping the colors of two like tiles swaps their positions."""
    first: dict[str, Negative] = {}
    for negative in negatives:
        first.setdefault(negative.text, negative)
    return tuple(first.values())


def _lie(scene: Scene, rng: Random) -> int:
    """Return an error of counting: one more or one less, but never down to "one tiles"."""
    return rng.choice((-1, 1)) if len(scene.tiles) > 2 else 1
