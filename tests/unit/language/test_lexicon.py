import pytest

from foveal.language.lexicon import KINDS, Sense, lexicon, plural, singular, word_classes, words


def named(term: str, kind: str) -> Sense:
    sense = lexicon().sense(term, kind)
    assert sense is not None
    return sense


def test_rivals_exclude_one_another_and_no_group_knows_a_word_twice():
    vocabulary = lexicon()
    for senses in vocabulary.senses.values():
        slots = [(sense.kind, sense.block, sense.name) for sense in senses]
        assert len(slots) == len(set(slots))
    by_name = {
        (sense.kind, sense.block, sense.name): sense for senses in vocabulary.senses.values() for sense in senses
    }
    for sense in by_name.values():
        for name in vocabulary.exclusive(sense):
            assert vocabulary.excludes(sense, vocabulary.sense(name, sense.kind, sense.block))
            assert name != sense.name
            assert name not in sense.compatible


def test_a_term_has_a_sense_of_each_kind_that_it_means():
    assert {sense.kind for sense in lexicon().senses["orange"]} == {"color", "object"}
    assert named("crimson", "color").name == "red"
    assert lexicon().sense("crimson", "size") is None
    assert lexicon().sense("blorf", "object") is None


def test_a_sense_may_be_asked_for_in_one_dimension():
    tall, low = named("tall", "size"), named("low", "size")
    assert tall.block == low.block != named("large", "size").block
    assert lexicon().sense("tall", "size", tall.block) == tall
    assert lexicon().sense("tall", "size", tall.block + 1) is None


@pytest.mark.parametrize(
    ("kind", "left", "right", "is_excluded"),
    [
        ("color", "red", "blue", True),
        ("color", "red", "crimson", False),  # the same name
        ("color", "red", "orange", False),  # near one another, as the line of red says
        ("color", "orange", "crimson", False),
        ("color", "white", "silver", False),
        ("size", "large", "small", True),
        ("size", "large", "tall", False),  # of two dimensions
        ("position", "above", "underneath", True),
        ("number", "two", "several", False),
    ],
)
def test_names_exclude_one_another_either_way(kind, left, right, is_excluded):
    one, other = named(left, kind), named(right, kind)
    assert lexicon().excludes(one, other) == lexicon().excludes(other, one) == is_excluded


@pytest.mark.parametrize(
    ("left", "right", "are_apart"), [("left", "right", True), ("couch", "dog", True), ("couch", "sofa", False)]
)
def test_names_of_any_dimension_are_apart_unless_one_is_near_the_other(left, right, are_apart):
    kind = "position" if left == "left" else "object"
    one, other = named(left, kind), named(right, kind)
    assert lexicon().is_apart(one, other) == lexicon().is_apart(other, one) == are_apart


def test_names_that_are_recognized_only_are_put_in_place_of_none():
    assert named("silver", "color").name == "silver"
    assert "silver" not in lexicon().exclusive(named("blue", "color"))
    assert lexicon().exclusive(named("silver", "color")) == (
        *("black", "blue", "brown", "green", "orange", "pink", "purple", "red", "yellow"),
    )


def test_each_dimension_is_known_by_a_number_and_has_rivals_in_the_order_of_the_alphabet():
    vocabulary = lexicon()
    blocks = {(sense.kind, sense.block) for senses in vocabulary.senses.values() for sense in senses}
    assert set(vocabulary.rivals) == blocks
    assert {kind for kind, _ in blocks} == set(KINDS)
    assert all(names == tuple(sorted(names)) for names in vocabulary.rivals.values())
    assert vocabulary.rivals["size", 1] == ("short", "tall")
    assert [block for kind, block in sorted(blocks) if kind == "size"] == [0, 1, 2, 3, 4]


def test_objects_have_plurals_that_irregular_ones_say_themselves():
    vocabulary = lexicon()
    assert (vocabulary.plurals["dog"], vocabulary.plurals["scarf"], vocabulary.plurals["woman"]) == (
        *("dogs", "scarves", "women"),
    )
    assert (named("scarves", "object").name, named("scarves", "object").is_plural) == ("scarf", True)
    assert not named("scarf", "object").is_plural
    assert not named("red", "color").is_plural
    assert len(named("sheep", "object").name) and lexicon().senses["sheep"] == (named("sheep", "object"),)


@pytest.mark.parametrize(
    ("noun", "more"),
    [
        ("box", "boxes"),
        ("bus", "buses"),
        ("waltz", "waltzes"),
        ("dish", "dishes"),
        ("couch", "couches"),
        ("pony", "ponies"),
        ("toy", "toys"),
        ("dog", "dogs"),
        ("vase", "vases"),
        ("glass", "glasses"),
    ],
)
def test_a_regular_plural_leads_back(noun, more):
    assert plural(noun) == more
    assert noun == "waltz" or singular(more) == noun


@pytest.mark.parametrize(
    "noun", ["dog", "glass", "bus", "tennis", "people", "police", "gas", "men", "grass", "cactus", "broccoli"]
)
def test_what_is_no_regular_plural_stays(noun):
    assert singular(noun) == noun


def test_shipped_words_come_without_remarks():
    assert {"photo", "scene"} <= words("unseen")
    assert "orange+juice" in words("fixed")
    assert not any("#" in word or " " in word for word in words("unseen") | words("fixed"))


def test_small_words_come_by_their_class_from_several_lines():
    classes = word_classes()
    assert {"a", "neither", "various"} <= classes["DET"]
    assert {"is", "should"} <= classes["AUX"]
    assert "building" in classes["nouns_in_ing"]
    assert not any(":" in word for members in classes.values() for word in members)
