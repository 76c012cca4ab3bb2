from itertools import islice

import pytest

from foveal.data.scenes import NOUNS, Scenes


def test_a_scene_is_the_same_in_any_order_and_from_any_start():
    samples = list(Scenes(4, count=12))
    source = Scenes(4)
    assert [source.sample(index) for index in reversed(range(12))] == samples[::-1]
    assert list(Scenes(4, first=5, count=7)) == samples[5:]
    assert list(islice(source, 12)) == samples


def test_seeds_splits_and_numbers_give_other_scenes():
    sources = [Scenes(0), Scenes(1), Scenes(0, split="test")]
    truths = [source.truth(index) for source in sources for index in range(50)]
    assert len(set(truths)) == 150
    assert len({source.sample(0).id for source in sources}) == 3


def test_the_size_of_the_picture_changes_no_word():
    small, large = Scenes(2, size=64).sample(3), Scenes(2, size=224).sample(3)
    assert small.long_caption == large.long_caption
    assert small.caption_negatives == large.caption_negatives
    for one, two in zip(small.regions, large.regions, strict=True):
        assert one.phrase == two.phrase
        assert one.box == pytest.approx(two.box, abs=1.5 / 64)


def test_golden_words_of_one_scene():
    """Holds across processes and machines: nothing may depend on Python's salted hashes."""
    sample = Scenes(0).sample(0)
    assert sample.id == "scenes-train-0-0"
    assert sample.captions == ("A pink tile with a small crown below a yellow tile with a large bat.",)


def test_siblings_differ_from_the_first_of_them_in_one_fact():
    source = Scenes(9, split="test", siblings=4)
    for family in range(25):
        first, *others = (source.truth(4 * family + member) for member in range(4))
        assert len({first, *others}) == 4
        for other in others:
            changed = [(one, two) for one, two in zip(first.tiles, other.tiles, strict=True) if one != two]
            assert 1 <= len(changed) <= 2
            assert other.background == first.background
            assert all(one.place == two.place for one, two in changed)


def test_siblings_stay_in_their_split():
    def compositions(split):
        source = Scenes(9, split=split, siblings=4, nouns=24, objects=(2, 2))
        return {
            tuple(sorted((tile.noun, tile.size, tile.color) for tile in source.truth(index).tiles))
            for index in range(160)
        }

    assert not compositions("train") & compositions("test")


def test_large_families_of_small_scenes_come_to_an_end():
    """Test scenes one fact away from two tiles once ran out, and the search for more never ended."""
    source = Scenes(9, split="test", siblings=16, nouns=24, objects=(2, 2))
    assert len({source.truth(16 * family + 15) for family in range(4)}) == 4
    assert len({source.truth(index) for index in range(16)}) == 16


def test_nouns_are_taken_from_the_front():
    source = Scenes(nouns=24)
    seen = {tile.noun for index in range(300) for tile in source.truth(index).tiles}
    assert seen == set(list(NOUNS)[:24])


def test_length_is_known_where_there_is_an_end():
    assert len(Scenes(count=7)) == 7
    assert list(Scenes(count=0)) == []
    with pytest.raises(ValueError, match="Endless"):
        len(Scenes())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "validation"}, "Split 'validation'"),
        ({"objects": (5, 2)}, r"Objects \(5, 2\)"),
        ({"objects": (1, 3)}, "from 2 to 9"),
        ({"size": 8}, "size 8 .* 32 or more"),
        ({"nouns": 1000}, f"nouns 1000 .* from 24 to {len(NOUNS)}"),
        ({"negatives": 11}, "negatives 11"),
        ({"siblings": 0}, "siblings 0"),
        ({"first": -1}, "first -1"),
        ({"count": -1}, "count -1"),
        ({"relations": -1}, "relations -1"),
    ],
)
def test_impossible_scenes_are_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**wrong)
