"""What phrases state in the lexicon's terms, and which statements exclude one another."""

import pytest

from foveal.language.facts import (
    Evidence,
    evidence,
    exclude,
    name_of,
    names_by_kind,
    namesakes,
    other_facts,
    read,
    without_article,
)

COLOR, SIZE, NUMBER, ACTION = ("color", 0), ("size", 0), ("number", 0), ("action", 0)


def facts(text: str):
    return read(text).facts


def stated(text: str) -> dict[str, set[str]]:
    return {kind: set(names) for (kind, _), names in facts(text).slots.items()}


@pytest.mark.parametrize(
    ("noun", "name"),
    [
        ("sofas", "couch"),
        ("Sofa", "couch"),
        ("couch", "couch"),
        ("women", "woman"),
        ("zebras", "zebra"),
        ("glass", "glass"),
    ],
)
def test_a_noun_its_plural_and_its_synonyms_have_one_name(noun, name):
    assert name_of(noun) == name


def test_namesakes_may_name_the_same_thing():
    assert namesakes("couch") >= {"couch"}
    assert "person" in namesakes("man")
    assert "woman" not in namesakes("man")
    assert namesakes("blorf") == {"blorf"}


@pytest.mark.parametrize(
    ("phrase", "statements"),
    [
        ("a small brown dog on a red sofa", {"size": {"small"}, "color": {"brown", "red"}}),
        ("two black dogs", {"number": {"two"}, "color": {"black"}}),
        ("several dogs", {"number": {"several"}}),
        ("a light blue car", {"color": {"blue"}}),
        ("a light car", {}),
        ("a scarlet car", {"color": {"red"}}),
        ("an orange", {}),
        ("an orange on an orange plate", {"color": {"orange"}}),
        ("a chair made of wood", {"material": {"wooden"}}),
        ("a metal chair", {"material": {"metal"}}),
        ("a glass of wine", {}),
        ("a glass of clay", {}),
        ("a man sitting on a bench", {"action": {"sitting"}}),
        ("sitting men", {}),
        ("a man standing and waving", {}),
        ("a dog to the left of a cat", {"position": {"to the left of"}}),
        ("a tree beside a very large house", {"size": {"large"}}),
        ("the left dog", {}),
        ("a dog on the left side of a cat", {"position": {"to the left of"}}),
        ("a cup on top of a box", {"position": {"on top of"}}),
        ("snow-white sheep", {"color": {"white"}}),
    ],
)
def test_a_phrase_states_what_its_words_say_where_they_stand(phrase, statements):
    assert stated(phrase) == statements


def test_terms_know_their_place_and_whom_they_describe():
    reading = read("a small dog on a red sofa")
    assert [(reading.text[term.start : term.end], term.sense.name, term.noun) for term in reading.terms] == [
        ("small", "small", "dog"),
        ("dog", "dog", "dog"),
        ("red", "red", "couch"),
        ("sofa", "couch", "couch"),
    ]
    assert (reading.facts.main, reading.facts.nouns) == ("dog", {"dog", "couch"})
    assert [phrase.text for phrase in reading.chunks] == ["a small dog on a red sofa", "a red sofa"]


@pytest.mark.parametrize(
    ("phrase", "terms"),
    [
        ("the left dog", ["dog"]),
        ("a dog to the left of a cat", ["dog", "to the left of", "cat"]),
        ("a dog left of a cat", ["dog", "left of", "cat"]),
        ("a blorf", []),
    ],
)
def test_terms_are_the_longest_at_their_place(phrase, terms):
    assert [phrase[term.start : term.end] for term in read(phrase).terms] == terms


@pytest.mark.parametrize(
    ("phrase", "main"),
    [
        ("a table lamp", "lamp"),
        ("a group of people", "people"),
        ("a brick building", "building"),
        ("the dog's hat", "hat"),
    ],
)
def test_the_main_noun_is_the_head_of_the_first_phrase(phrase, main):
    assert facts(phrase).main == main


@pytest.mark.parametrize(
    ("phrase", "is_definite", "is_plural"),
    [
        ("a dog", False, False),
        ("the dog", True, False),
        ("his dogs", True, True),
        ("two sheep", False, True),
        ("these blorfs", True, True),
        ("blorfs", False, True),
        ("a glass", False, False),
        ("a man with two dogs", False, False),
    ],
)
def test_a_phrase_is_definite_and_plural_by_its_first_words_and_its_head(phrase, is_definite, is_plural):
    assert (facts(phrase).is_definite, facts(phrase).is_plural) == (is_definite, is_plural)


@pytest.mark.parametrize("text", ["", "of the", "red and large"])
def test_a_text_without_a_noun_states_nothing(text):
    assert read(text) is None


@pytest.mark.parametrize(
    ("slot", "left", "right", "expected"),
    [
        (COLOR, {"red"}, {"blue"}, True),
        (COLOR, {"red"}, {"red"}, False),
        (COLOR, {"red"}, {"orange"}, False),  # near one another
        (COLOR, {"red", "blue"}, {"blue", "green"}, False),
        (COLOR, {"red"}, {"blue", "orange"}, False),
        (SIZE, {"large"}, {"small"}, True),
        (("position", 0), {"to the left of"}, {"to the right of"}, False),  # to something else, perhaps
    ],
)
def test_names_of_a_dimension_exclude_one_another_unless_some_pair_may_be_true(slot, left, right, expected):
    assert exclude(slot, frozenset(left), frozenset(right)) == expected
    assert exclude(slot, frozenset(right), frozenset(left)) == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a red dog", "a blue dog", True),
        ("a red dog", "a dog", False),
        ("a dog", "a cat", True),
        ("a man", "a person", False),
        ("a red dog", "a large dog", False),
        ("two dogs", "three dogs", True),
        ("a dog on a sofa", "a sofa", False),
        ("a sofa", "a couch", False),
    ],
)
def test_phrases_contradict_one_another_either_way(left, right, expected):
    assert facts(left).contradicts(facts(right)) == expected
    assert facts(right).contradicts(facts(left)) == expected


def test_a_dimension_may_be_left_aside():
    red, blue = facts("a large red dog"), facts("a large blue dog")
    assert red.differs(blue)
    assert not red.differs(blue, COLOR)
    assert facts("a small red dog").differs(blue, COLOR)


@pytest.mark.parametrize(
    ("short", "long", "expected"),
    [
        ("the dog", "a small brown dog", True),
        ("a brown dog", "a brown dog", True),
        ("a small brown dog", "the dog", False),
        ("the white dog", "a brown dog", False),
        ("the cat", "a dog", False),
        ("the dog on a sofa", "a brown dog", False),
    ],
)
def test_a_phrase_says_no_more_than_another_if_all_it_says_is_said_there(short, long, expected):
    assert facts(short).says_no_more_than(facts(long)) == expected


def said(captions, phrases=()):
    return [(named.text, named.caption) for named in evidence(captions, phrases)]


def test_evidence_is_the_outermost_phrases_each_once():
    assert said(["A dog on a sofa. A cat, and a dog on a sofa."]) == [("a dog on a sofa", 0), ("a cat", 0)]
    assert said(["A dog.", "A cat."]) == [("a dog", 0), ("a cat", 1)]


def test_a_region_that_no_caption_says_is_a_caption_of_its_own():
    assert said(["A dog on a sofa."], ["A dog", "a cat", "of the", "a bird"]) == [
        ("a dog on a sofa", 0),
        ("a cat", -2),
        ("a bird", -4),
    ]


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("A brown dog. The dog barks.", ["a brown dog"]),
        ("A dog. The brown dog barks.", ["a dog", "the brown dog"]),
        ("A brown dog. A dog.", ["a brown dog", "a dog"]),
        ("A brown dog. The dog and the cat.", ["a brown dog", "the cat"]),
        ("Two dogs. A brown dog and a black dog.", ["a brown dog", "a black dog"]),
        ("Two dogs. A brown dog.", ["two dogs", "a brown dog"]),
        ("Three dogs. A brown dog and a black dog.", ["three dogs", "a brown dog", "a black dog"]),
        ("Two white dogs. A brown dog and a black dog.", ["two white dogs", "a brown dog", "a black dog"]),
        ("Dogs. A brown dog and a black dog.", ["a brown dog", "a black dog"]),
        ("Two dogs. A brown dog. A dog.", ["two dogs", "a brown dog", "a dog"]),
    ],
)
def test_mentions_and_sums_of_what_is_told_of_are_no_further_things(caption, phrases):
    assert [text for text, _ in said([caption])] == phrases


def test_names_are_gathered_by_kind():
    names = names_by_kind(evidence(["A red dog and a large blue sofa."], ()))
    assert names == {"object": {"dog", "couch"}, "color": {"red", "blue"}, "size": {"large"}}
    assert names_by_kind(()) == {"object": frozenset()}


def others(truth, captions, phrases=()):
    """The texts around a phrase and of other things, for comparison: each by the words it has."""
    named = evidence(captions, phrases)
    found = other_facts(read(truth), named, [caption.lower() for caption in captions])
    by_facts = {id(item.facts): item.text for item in named}
    return [by_facts[id(item)] for item in found.other_things], [by_facts[id(item)] for item in found.around]


@pytest.mark.parametrize(
    ("truth", "captions", "phrases", "other_things", "around"),
    [
        ("A brown dog", ["A brown dog runs after a black dog. The brown dog barks."], (), ["a black dog"], []),
        ("a red sofa", ["A dog on a red sofa."], (), [], ["a dog on a red sofa"]),
        ("the sofa", ["A dog on a red sofa. The sofa is old."], (), [], ["a dog on a red sofa"]),
        ("a red sofa", ["A red sofa. A sofa."], (), ["a sofa"], []),
        ("a red sofa", ["A red sofa.", "A sofa."], (), [], []),  # another caption, perhaps the same sofa
        ("a red sofa", ["A red sofa.", "A blue sofa."], (), ["a blue sofa"], []),
        ("a red sofa", ["A cat."], ["a red sofa", "a sofa", "a dog"], ["a cat", "a dog"], []),
    ],
)
def test_what_is_said_of_other_things_and_around_a_phrase(truth, captions, phrases, other_things, around):
    assert others(truth, captions, phrases) == (other_things, around)


def test_evidence_keeps_what_a_phrase_states():
    (named,) = evidence(["A red dog."], ())
    assert named == Evidence(facts("A red dog"), "a red dog", 0)


def test_an_article_makes_no_other_phrase():
    assert without_article("The red dog") == without_article("a Red  dog") == "red dog"
    assert without_article("An") == "an"
    assert without_article("two a dogs") == "two a dogs"
