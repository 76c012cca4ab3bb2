"""Phrases of a long query, each with a place of its own in a picture."""

import re

from ..data.texts import sentences

MOST = 12
_BREAK = re.compile(
    r"[,;:()]|\s[-\u2013\u2014]\s|\b(?:and|with|while|where|next to|in front of|behind|beside|on top of)\b", re.I
)
_FILLER = re.compile(
    r"^(?:(?:there (?:is|are)|th(?:is is|ese are)|it (?:is|shows)|we see"
    r"|(?:a|the) (?:photo|picture|image|view) (?:of|shows))\s+)+",
    re.I,
)
_EMPTY = frozenset(
    ("a", "an", "the", "is", "are", "was", "were", "of", "in", "on", "at", "to", "it", "its", "this", "that", "some")
)


def phrases_of(text: str, most: int = MOST) -> list[str]:
    """Return the phrases of a text: its sentences, cut at commas, conjunctions and some prepositions.

    Args:
        text: Of any length.
        most: Phrases wanted at most; the first ones are kept.

    Returns:
        At least one phrase for a text that is not empty; each once.
    """
    phrases: dict[str, None] = {}
    for sentence in sentences(text):
        for part in _BREAK.split(sentence):
            phrase = _FILLER.sub("", part.strip(" .!?\"'\u3002"))
            if any(word not in _EMPTY for word in phrase.lower().split()):
                phrases[phrase] = None
    return list(phrases)[:most] or [text.strip()][: bool(text.strip())]
