import pickle
import sqlite3
from contextlib import closing

import pytest

from foveal.annotation.assistant.answers import Answer, Answers, Spend
from foveal.annotation.stage import Halted

GOOD = Answer("good", "stop", 7, 3, 0.5)


@pytest.fixture
def answers(tmp_path):
    """A file of answers that is not there yet."""
    answers = Answers(tmp_path / "folder" / "answers.sqlite", "run")
    yield answers
    answers.close()


def test_answers_come_back_by_their_key_the_oldest_first(answers):
    better = Answer("better", "length", 8, 4, 0.25)
    for key, answer in ((b"key", GOOD), (b"other", GOOD), (b"key", better)):
        answers.add(key, answer)
    assert answers.by_key(b"key") == [GOOD, better]
    assert answers.by_key(b"none") == []
    answers.close()
    assert answers.by_key(b"key") == [GOOD, better]


def test_only_the_answers_of_this_run_are_its_spend_however_often_it_is_asked_for(answers):
    answers.add(b"key", GOOD)
    answers.begin("next")
    assert answers.spent() == Spend()
    answers.add(b"key", GOOD)
    answers.add(b"key", Answer("better", "stop", 1, 1, 0.25))
    assert answers.spent() == answers.spent() == Spend(2, 8, 4, 0.75)
    answers.add(b"key", GOOD)
    assert answers.spent() == Spend(3, 15, 7, 1.25)
    answers.begin("run")
    assert answers.spent() == Spend(1, 7, 3, 0.5)


def test_another_process_goes_on_with_the_same_file_and_run(answers):
    answers.add(b"key", GOOD)
    again = pickle.loads(pickle.dumps(answers))  # noqa: S301  # as another process gets it
    assert (again.by_key(b"key"), again.spent()) == ([GOOD], Spend(1, 7, 3, 0.5))
    again.close()


def test_a_worker_elsewhere_asks_whoever_keeps_the_file(answers, tmp_path):
    calls = []

    def call(method, *arguments):
        calls.append(method)
        return getattr(answers, method)(*arguments)

    remote = Answers(tmp_path / "nowhere" / "answers.sqlite", "run", call)
    remote.add(b"key", GOOD)
    assert (remote.by_key(b"key"), remote.spent()) == ([GOOD], Spend(1, 7, 3, 0.5))
    assert calls == ["add", "by_key", "spent"]
    assert not remote.path.parent.exists()


def test_counts_that_an_earlier_version_kept_and_cannot_be_are_dropped_with_a_line(answers, caplog):
    answers.add(b"key", GOOD)
    answers.close()
    with closing(sqlite3.connect(answers.path)) as connection, connection:
        connection.execute("PRAGMA user_version = 0")
        for tokens, cost in ((2**63 - 1, 0.0), (2**63 - 1, 0.0), (-5, 0.0), ("many", 0.0), (1, float("inf"))):
            row = (b"key", "run", "bad", "stop", tokens, 0, cost)
            connection.execute("INSERT INTO answers VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, '')", row)
    assert answers.spent() == Spend(1, 7, 3, 0.5)
    assert [answer.text for answer in answers.by_key(b"key")] == ["good"]
    assert "5 answers are dropped, as their counts are none" in caplog.text


def test_answers_that_cannot_be_kept_any_more_end_the_run_in_one_line(answers):
    answers.by_key(b"key")
    with closing(sqlite3.connect(answers.path)) as connection, connection:
        connection.execute("DROP TABLE answers")
    with pytest.raises(Halted, match=r"Answers cannot be kept in .*answers.sqlite: no such table"):
        answers.add(b"key", GOOD)


def test_a_file_that_holds_no_answers_is_named(tmp_path):
    file = tmp_path / "answers.sqlite"
    file.write_text("These are no answers, just words." * 100)
    with pytest.raises(ValueError, match=r"answers.sqlite holds no answers: .*Name another file, or remove it"):
        Answers(file).by_key(b"key")
