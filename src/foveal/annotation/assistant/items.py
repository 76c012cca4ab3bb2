"""Questions about numbered phrases, and answers that name them by their number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def numbered_lines(phrases: Sequence[str]) -> str:
    r"""Return phrases as a question has them: "1. a dog\n2. a cat"."""
    return "\n".join(f"{number}. {phrase}" for number, phrase in enumerate(phrases, start=1))


def items_schema(field: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an answer that says one thing of numbered phrases.

    Args:
        field: Its name, for example "boxes": {"items": [{"number": 2, "boxes": ...}]}.
        schema: Of its value.
    """
    item = {
        "type": "object",
        "properties": {"number": {"type": "integer"}, field: schema},
        "required": ["number", field],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item}},
        "required": ["items"],
        "additionalProperties": False,
    }


def by_index(answer: Mapping[str, Any], count: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the items of an answer with the index of their phrase, which counts from 0.

    Args:
        answer: As `items_schema` has it.
        count: Phrases asked for.

    Raises:
        ValueError: If a number is none of theirs.
    """
    for item in answer["items"]:
        number = int(item["number"])  # 2.0 is an integer to JSON schemas
        if not 1 <= number <= count:
            raise ValueError(f"number {number} is none of the phrases, which go from 1 to {count}")
        yield number - 1, item
