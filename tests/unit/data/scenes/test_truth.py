from collections import Counter
from random import Random

import pytest

from foveal.data.scenes import COLORS, NOUNS, Scene, Scenes, Tile
from foveal.data.scenes.negatives import ALTERED_KINDS
from foveal.data.scenes.truth import OPPOSITE, alterations, draw_scene, holds, is_distinct, relation, split_of

NAMES = list(NOUNS)[:64]
PLACES = [(column, row) for column in range(3) for row in range(3)]


def composition(scene):
    return frozenset(Counter((tile.noun, tile.size, tile.color) for tile in scene.tiles).items())


@pytest.fixture
def scene():
    apple = Tile("apple", "large", "red", (0, 0))
    dog = Tile("fox", "small", "blue", (2, 0))
    key = Tile("key", "small", "green", (0, 2))
    return Scene((apple, dog, key), "white")


def test_train_and_test_share_no_composition_whatever_the_seeds():
    # Few nouns and two tiles, so that compositions repeat often within a split.
    train, test = (
        {
            composition(Scenes(seed, split=split, nouns=24, objects=(2, 2)).truth(index))
            for seed in (0, 1)
            for index in range(700)
        }
        for split in ("train", "test")
    )
    assert len(train) < 1400
    assert len(test) < 1350
    assert not train & test


def test_the_split_ignores_order_places_and_background(scene):
    moved = tuple(
        Tile(tile.noun, tile.size, tile.color, place) for tile, place in zip(scene.tiles, PLACES[3:], strict=False)
    )
    assert split_of(Scene(moved[::-1], "black")) == split_of(scene)


def test_one_composition_in_eight_is_for_testing():
    rng = Random(0)
    share = sum(split_of(draw_scene(rng, NAMES, (2, 5))) == "test" for _ in range(2000)) / 2000
    assert share == pytest.approx(1 / 8, abs=0.025)


@pytest.mark.parametrize("objects", [(2, 2), (2, 5), (9, 9)])
def test_drawn_scenes_are_distinct_and_of_the_asked_number(objects):
    rng = Random(1)
    for _ in range(200):
        scene = draw_scene(rng, NAMES, objects)
        assert objects[0] <= len(scene.tiles) <= objects[1]
        assert is_distinct(scene)
        assert len({tile.place for tile in scene.tiles}) == len(scene.tiles)


def test_relations_are_opposite_from_the_other_side():
    for one in PLACES:
        for two in PLACES:
            if one == two:
                continue
            subject, other = Tile("key", "large", "red", one), Tile("fox", "large", "red", two)
            for axis in (0, 1):
                word = relation(subject, other, axis)
                assert relation(other, subject, axis) == OPPOSITE[word]
                assert holds(subject, word, other)
                assert not holds(subject, OPPOSITE[word], other)


def test_level_things_are_related_along_the_other_axis(scene):
    assert relation(scene.tiles[0], scene.tiles[1], axis=1) == "left"
    assert relation(scene.tiles[0], scene.tiles[2], axis=0) == "above"
    assert not holds(scene.tiles[0], "above", scene.tiles[1])
    assert not holds(scene.tiles[0], "below", scene.tiles[1])


def test_exchanging_twice_restores_the_scene(scene):
    once = scene.with_exchange(0, 1, ("noun", "color"))
    assert once.tiles[0] == Tile("fox", "large", "blue", (0, 0))
    assert once.with_exchange(1, 0, ("noun", "color")) == scene


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("object", None),
        ("attribute", 3 * (len(COLORS) - 1)),
        ("size", 3),
        ("swapped_attribute", 3),
        ("swapped_size", 2),
        ("swapped_position", 3),
    ],
)
def test_alterations_are_all_there_and_never_the_truth(scene, kind, number):
    altered = list(alterations(scene, kind, NAMES, Random(0)))
    assert scene not in altered
    assert len(set(altered)) == len(altered)
    assert number is None or len(altered) == number
    for other in altered:
        assert [tile.place for tile in other.tiles] == [tile.place for tile in scene.tiles]
        differences = sum(one != two for one, two in zip(scene.tiles, other.tiles, strict=True))
        assert differences == (2 if kind.startswith("swapped") else 1)


def test_alterations_among_the_first_two_leave_the_others(scene):
    for kind in ALTERED_KINDS:
        assert all(other.tiles[2] == scene.tiles[2] for other in alterations(scene, kind, NAMES, Random(0), among=2))


def test_an_object_that_is_there_twice_becomes_another_twice(scene):
    pair = Scene((*scene.tiles, Tile("apple", "small", "pink", (2, 2))), "white")
    for other in alterations(pair, "object", NAMES, Random(0)):
        nouns = [tile.noun for tile in other.tiles]
        assert nouns[0] == nouns[3]


def test_find_knows_a_thing_by_its_likeness_wherever_it_is(scene):
    assert scene.find(Tile("fox", "small", "blue", (1, 1))) == scene.tiles[1]
    assert scene.find(Tile("fox", "large", "blue", (2, 0))) is None
