import pytest

from foveal.annotation.assistant.protocol import AssistantProtocol, threads


class Told:
    """Answers as it was told."""

    def __init__(self, concurrency):
        self.concurrency = concurrency

    def ask(self, question, schema, picture=None, check=None):
        return {}


@pytest.mark.parametrize(("concurrency", "count"), [(1, 1), (4, 5), (16, 20), (100, 125)])
def test_a_quarter_more_samples_wait_than_questions_are_on_their_way(concurrency, count):
    assert threads(Told(concurrency)) == count


def test_an_assistant_is_whatever_asks_so_many_questions_at_once(assistant):
    assert isinstance(Told(1), AssistantProtocol)
    assert isinstance(assistant, AssistantProtocol)
    assert not isinstance(object(), AssistantProtocol)
