"""Names from outside on a terminal, which acts on some characters instead of showing them."""

from unicodedata import category

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what shows nothing and steers what is shown: control and format characters (among these the
ones that turn the direction of writing), halves of surrogate pairs, separators of lines and paragraphs."""
_JOINERS = "\u200c\u200d"
"""Format characters that stay: they shape letters and emoji."""


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in which a terminal finds nothing to act on.

    Args:
        text: Anything: the name of a file, a caption, what a server says.
        keep: Characters that stay all the same; "\n" where lines are our own.

    Returns:
        The text with an escape such as \x1b for every character that steers. Letters of all scripts and emoji stay,
        and so does a text that was escaped before.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each in keep or each in _JOINERS or category(each) not in _STEERING else _escape(each) for each in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
