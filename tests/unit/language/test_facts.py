from foveal.language.facts import evidence, other_facts, read


def test_other_facts_are_of_other_things_only():
    captions = ["Two dogs play. A brown dog runs after a black dog. The brown dog barks."]
    truth = read("A brown dog")
    found = other_facts(truth, evidence(captions, ()), [caption.lower() for caption in captions])
    assert [facts.slots for facts in found.other_things] == [{("color", 0): frozenset({"black"})}]
