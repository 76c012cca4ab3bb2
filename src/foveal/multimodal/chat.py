"""Conversations as token ids, with the answers marked: the same pieces in training and when asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..data.formats.conversations import IMAGE, Turn

IGNORED = -100
"""Target of a token that no loss is on, as `transformers` has it."""

Style = Literal["plain", "vicuna"]
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
VICUNA_TEMPLATE = (
    "{{ bos_token }}" + SYSTEM + " {% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    " {% else %}ASSISTANT: {{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


@dataclass(frozen=True)
class Tokens:
    """A conversation as token ids.

    Attributes:
        ids: All of it.
        targets: The same where a loss is on them, the answers and their end marks; `IGNORED` elsewhere.
    """

    ids: list[int]
    targets: list[int]


def encode_chat(
    tokenizer: Any, turns: Sequence[Turn], style: Style, image_id: int, image_tokens: int, most: int
) -> Tokens:
    """Return a conversation as token ids.

    Args:
        tokenizer: Of the language model.
        turns: Questions and answers. A last question without answer is what the model goes on from.
        style: "plain": the picture and its text, as LLaVA's first stage; "vicuna": LLaVA-1.5's chat.
        image_id: Id of the token that stands for a part of the picture.
        image_tokens: How many of them a picture has.
        most: Longest conversation; what lies beyond is cut.

    Raises:
        ValueError: If the picture alone fills it.
    """
    ids = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    targets = [IGNORED] * len(ids)
    for text, is_answer in _pieces(turns, style):
        for number, part in enumerate(text.split(IMAGE)):
            if number:
                ids += [image_id] * image_tokens
                targets += [IGNORED] * image_tokens
            tokens = tokenizer(part, add_special_tokens=False, verbose=False).input_ids if part else []
            ids += tokens
            targets += tokens if is_answer else [IGNORED] * len(tokens)
        if is_answer:
            ids.append(tokenizer.eos_token_id)
            targets.append(tokenizer.eos_token_id)
    if image_tokens >= most:
        raise ValueError(f"A picture has {image_tokens} tokens, and a conversation at most {most}. Allow more.")
    return Tokens(ids[:most], targets[:most])


def _pieces(turns: Sequence[Turn], style: Style) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a conversation, and whether each is an answer."""
    if style == "vicuna":
        yield SYSTEM + " ", False
    for turn in turns:
        if turn.speaker == "gpt":
            yield (turn.text if style == "plain" else f" {turn.text}"), True
        elif style == "plain":  # LLaVA's first stage leaves the question out
            yield (f"{IMAGE}\n" if IMAGE in turn.text else ""), False
        else:
            yield f"USER: {turn.text} ASSISTANT:", False
