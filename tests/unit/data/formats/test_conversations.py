"""LLaVA's JSON: written and read, and refused where a picture or an answer is missing."""

import json
from pathlib import Path

import pytest

from foveal.data.formats.conversations import Chat, Conversations, Turn

CHATS = [
    Chat.of("a", Path("photos/a.jpg"), (Turn("human", "<image>\nWhat is it?"), Turn("gpt", "A cat."))),
    Chat.of("b", b"", (Turn("human", "Hi"), Turn("gpt", "Hello"), Turn("human", "1 + 1?"), Turn("gpt", "2"))),
]


def test_what_is_written_is_read_again(tmp_path):
    source = Conversations(tmp_path / "a.json", tmp_path)
    chats = [CHATS[0], CHATS[1]]
    placed = [Chat.of(chat.id, chat.image and tmp_path / chat.image, chat.turns) for chat in chats]
    assert source.write(placed) == 2
    assert list(Conversations(tmp_path / "a.json")) == placed
    assert len(Conversations(tmp_path / "a.json")) == 2


def item(**changes):
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
    return {"id": "a", "image": "a.jpg", "conversations": turns} | changes


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (item(conversations=[]), "an answer last"),
        (item(conversations=item()["conversations"][:1]), "an answer last"),
        (item(conversations=item()["conversations"][::-1]), "by turns"),
        (item(image=""), "1 marks <image> and no picture"),
        ({"id": "a", "image": "a.jpg"}, "conversations"),
        (item(conversations=[{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A."}]), "0 marks"),
    ],
)
def test_what_is_no_conversation_is_refused_by_number(tmp_path, row, reason):
    (tmp_path / "a.json").write_text(json.dumps([item(), row]))
    source = Conversations(tmp_path / "a.json")
    assert source.sample(0).turns[1].text == "A cat."
    with pytest.raises(ValueError, match=rf"a\.json: item 1: not a conversation: .*{reason}"):
        source.sample(1)
