"""Every answer that was paid for, on disk: asked once, kept for good."""

import sqlite3
import weakref
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL, run TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_key ON answers (key);
CREATE INDEX IF NOT EXISTS by_run ON answers (run);
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an endpoint, as it came.

    Attributes:
        text: What the model wrote.
        finish: Why it ended ("stop", "length", "content_filter", "refusal").
        prompt_tokens: Tokens read, pictures included, as the endpoint counts them.
        completion_tokens: Tokens written.
        cost: By the prices of the run.
    """

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    cost: float


@dataclass(frozen=True, slots=True)
class Spend:
    """What a run has paid for.

    Attributes:
        answers: How many came, unusable ones included.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        cost: By the prices given.
    """

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


class Answers:
    """Answers by key, and what they cost, in one SQLite file.

    Threads and processes of one machine may share it. An answer is on disk before it is used, so a killed process
    loses none. Pickled, it goes along as the file's name, or as `remote`.

    Attributes:
        path: The file. Made, with its folder, when first needed.
        run: Whom new answers are put down to; `spent` counts one run only.
        remote: Calls a method of an `Answers` elsewhere, by name; set where workers run on other machines.
        callers: How many workers share an endpoint, and its concurrency.
    """

    def __init__(self, path: Path, run: str = "", remote: Callable[..., Any] | None = None, callers: int = 1) -> None:
        self.path, self.remote, self.callers = path, remote, callers
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()
        self.begin(run)

    def __reduce__(self) -> tuple[type["Answers"], tuple[Any, ...]]:
        """A fresh one, with no connection yet."""
        return Answers, (self.path, self.run, self.remote, self.callers)

    def begin(self, run: str) -> None:
        """Put new answers down to this run."""
        self.run = run
        self._spend, self._counted = Spend(), 0  # up to a number; only what is new is added up

    def of(self, key: bytes) -> list[Answer]:
        """All answers to a question, oldest first."""
        if self.remote is not None:
            return cast(list[Answer], self.remote("of", key))
        query = "SELECT text, finish, prompt_tokens, completion_tokens, cost FROM answers WHERE key = ? ORDER BY number"
        with self._lock:
            return [Answer(*row) for row in self._open().execute(query, (key,))]

    def add(self, key: bytes, answer: Answer) -> None:
        """Keep an answer. It is on disk when this returns."""
        if self.remote is not None:
            self.remote("add", key, answer)
            return
        row = (key, self.run, answer.text, answer.finish, answer.prompt_tokens, answer.completion_tokens, answer.cost)
        with self._lock, self._open() as transaction:
            transaction.execute("INSERT INTO answers VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, datetime('now'))", row)

    def spent(self) -> Spend:
        """What the answers of this run cost."""
        if self.remote is not None:
            return cast(Spend, self.remote("spent"))
        query = """SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
            coalesce(sum(cost), 0.0), coalesce(max(number), ?2) FROM answers WHERE run = ?1 AND number > ?2"""
        with self._lock:
            new = self._open().execute(query, (self.run, self._counted)).fetchone()
            old, self._counted = self._spend, new[-1]
            self._spend = Spend(*(sum(pair) for pair in zip(astuple(old), new[:-1], strict=True)))
            return self._spend

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        """The connection; call it with the lock held."""
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
                weakref.finalize(self, self._connection.close)
                # the log written ahead survives a killed process without waiting for the disk each time
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.executescript(_TABLE)
            except sqlite3.DatabaseError as error:
                raise ValueError(f"{self.path} holds no answers: {error}. Name another file, or remove it.") from error
        return self._connection
