"""A chat endpoint, assistants that ask it, and small pictures."""

from io import BytesIO
from pathlib import Path
from runpy import run_path

import pytest
from PIL import Image

from foveal.annotation.assistant.assistant import Assistant
from foveal.types import Sample

CHAT = run_path(str(Path(__file__).parents[2] / "chat_endpoint.py"))


@pytest.fixture(scope="session")
def reply():
    """The class of answers."""
    return CHAT["Reply"]


@pytest.fixture
def chat():
    """A running endpoint; set its `reply` to make it answer otherwise."""
    endpoint = CHAT["ChatEndpoint"]()
    yield endpoint
    endpoint.close()


@pytest.fixture
def assistant(chat, tmp_path):
    """Asks the endpoint; loses no time between tries."""
    made = Assistant(
        endpoint=chat.url,
        model="tiny-vl",
        answers=tmp_path / "answers.sqlite",
        concurrency=4,
        timeout=5.0,
        tries=4,
        pause=0.01,
        price_in=1.0,
        price_out=10.0,
    )
    yield made
    made.close()


@pytest.fixture(scope="session")
def picture():
    """Encoded pictures, each number another."""

    def make(number: int = 0, kind: str = "JPEG", size: tuple[int, int] = (48, 32)) -> bytes:
        data = BytesIO()
        color = (number * 37 % 256, number * 59 % 256, number // 7 % 256)
        Image.new("RGB", size, color).save(data, kind)
        return data.getvalue()

    return make


@pytest.fixture
def samples(picture):
    """Plain pictures with alt text."""
    return [Sample(f"s{number}", picture(number), ("a cup",)) for number in range(12)]


@pytest.fixture(scope="session")
def scripted():
    """The class of assistants whose answers are given; they keep the questions."""
    return ScriptedAssistant


class ScriptedAssistant:
    concurrency = 5

    def __init__(self, *answers):
        self.answers, self.questions = list(answers), []

    def ask(self, question, schema, picture=None, check=None):
        self.questions.append((question, picture))
        answer = self.answers.pop(0)
        return answer if check is None else check(answer)
