"""Answers in which a model says that it will not or cannot answer."""

import re

_APOLOGY = r"(?:i(?: a|['’])m (?:very |really |so )?sorry|sorry|i apologi[sz]e|unfortunately|my apologies)"
_INABILITY = (
    r"(?:i|we)(?: am|['’]m)? (?:can ?not|can['’]t|could(?:n['’]t| not)|do(?:n['’]t| not) have|not able|unable"
    r"|won['’]t|will not|must decline|refuse|don['’]t feel comfortable)"
)
_DISCLAIMER = r"as an? (?:ai|language model|large language model|assistant|text[- ]based)"
_OBJECT = (
    r"(?:see|view|access|help|assist|describe|identify|provide|process|analy[sz]e|comply|open|fulfil|answer|do that)"
)
_START = re.compile(rf"\W*(?:{_APOLOGY}\b|{_DISCLAIMER}\b|{_INABILITY}\b)", re.IGNORECASE)
_INSIDE = re.compile(rf"\b(?:{_INABILITY}(?: \w+){{0,3}}? {_OBJECT}\b|{_DISCLAIMER}\b)", re.IGNORECASE)
_NO_PICTURE = re.compile(
    r"\bno (?:image|picture|photo)\b.{0,20}\b(?:provided|attached|uploaded|given|shared|see)\b", re.IGNORECASE
)
# one of these stands in every refusal: nearly all texts are let pass without a search
_SIGNS = ("i ", "i'", "i’", "we ", "we'", "we’", "sorry", "apolog", "unfortunately", "as a", "no image", "no p")


def refuses(text: str) -> bool:
    """True if a text is a refusal and no description of a picture.

    Returns:
        True for "I'm sorry, but I can't help with that.", False for "A sorry sight: a wet dog that cannot get in."
    """
    low = text.lower()
    if not any(sign in low for sign in _SIGNS):
        return False
    return any(match for match in (_START.match(text), _INSIDE.search(text), _NO_PICTURE.search(text)))
