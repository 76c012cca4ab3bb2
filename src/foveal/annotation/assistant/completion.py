"""Reading of chat completions from the bytes of an endpoint that may send anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .foreign_json import check_text, parse

MOST_TOKENS = 10**9
"""Of one answer. A greater count is a mistake of the endpoint."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that an answer was paid for with.

    Attributes:
        prompt_tokens: Tokens read, pictures included, as the endpoint counts them.
        completion_tokens: Tokens written.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        text: What the model wrote, or why it refuses.
        finish: Why it ended ("stop", "length", "content_filter", "refusal").
        usage: What it was paid for with.
    """

    text: str
    finish: str
    usage: Usage


class Malformed(ValueError):  # noqa: N818  # what an answer is
    """An answer that is not what the protocol says, and that may have been paid for all the same.

    Attributes:
        usage: As far as it can be believed.
    """

    def __init__(self, reason: str, usage: Usage) -> None:
        super().__init__(reason)
        self.usage = usage


def read_completion(body: bytes) -> Completion:
    """Read a chat completion of OpenAI's protocol.

    `content` may be a text, null, or a list of parts; `usage` may be absent. Fields that nobody asks for are not
    looked at.

    Args:
        body: Of the response, whatever its headers say of it.

    Raises:
        Malformed: If it is something else. The message says in a few words what.
    """
    usage = Usage()
    try:
        content = parse(_decoded(body))
        if not isinstance(content, Mapping):
            raise TypeError("it is no JSON object")
        usage, is_believable = _usage(content.get("usage"))
        if not is_believable:
            raise ValueError("its usage is no number of tokens")
        text, refusal, finish = _choice(content)
    except (TypeError, ValueError) as error:
        raise Malformed(f"an answer that is none: {error}", usage) from error
    return Completion(refusal or text, "refusal" if refusal else finish or "stop", usage)


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error


def _usage(usage: Any) -> tuple[Usage, bool]:
    """Return the tokens counted, those that cannot be believed as 0, and whether all can."""
    if usage is None:
        return Usage(), True
    if not isinstance(usage, Mapping):
        return Usage(), False
    counts = [_tokens(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    return Usage(*(count or 0 for count in counts)), None not in counts


def _tokens(count: Any) -> int | None:
    """Return a number of tokens; None if it cannot be one."""
    if count is None:
        return 0
    is_number = isinstance(count, int | float) and not isinstance(count, bool)
    return int(count) if is_number and 0 <= count <= MOST_TOKENS and count == int(count) else None


def _choice(content: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return text, refusal and finish reason of the first choice."""
    choices = content.get("choices")
    if not choices and content.get("error"):
        raise ValueError(f"it is an error: {error_of(content)}")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise TypeError("it has no message")
    parts = message.get("content")
    text = "".join(map(_part, parts)) if isinstance(parts, list) else parts
    values = {"content": text, "refusal": message.get("refusal"), "finish_reason": choice.get("finish_reason")}
    for name, value in values.items():
        if not isinstance(value, str | None):
            raise TypeError(f"its {name} is no text")
        check_text(value or "")
    return text or "", values["refusal"] or "", values["finish_reason"] or ""


def _part(part: Any) -> str:
    """Return the text of one part of a content; nothing for parts of other kinds (thoughts, pictures)."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise TypeError("its content has a part that is none")
    if part.get("type") not in (None, "text", "output_text"):
        return ""
    if not isinstance(part.get("text"), str):
        raise TypeError("its content has a part without a text")
    return str(part["text"])


def error_of(content: Any) -> str:
    """Return the message of an error's JSON, on one short line."""
    error = content.get("error", content) if isinstance(content, Mapping) else content
    words = error.get("message", error) if isinstance(error, Mapping) else error
    return " ".join(f"{words!s:.1000}".split())[:200]
