import pytest

from foveal.language.lexicon import lexicon, plural, singular


def test_rivals_exclude_one_another_and_no_group_knows_a_word_twice():
    known = lexicon()
    for senses in known.senses.values():
        slots = [(sense.kind, sense.block, sense.name) for sense in senses]
        assert len(slots) == len(set(slots))
    for sense in {(one.kind, one.block, one.name): one for some in known.senses.values() for one in some}.values():
        for name in known.exclusive(sense):
            assert known.excludes(sense, known.sense(name, sense.kind, sense.block))
            assert name != sense.name
            assert name not in sense.compatible


@pytest.mark.parametrize("noun", ["box", "pony", "dog", "couch", "bus", "toy", "dish", "vase", "house", "glass"])
def test_a_regular_plural_leads_back(noun):
    assert singular(plural(noun)) == noun
