"""Every answer that was paid for, on disk: asked once, kept for good."""

import logging
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

from ..stage import Halted
from .completion import MOST_TOKENS

log = logging.getLogger(__name__)

NOBODY = b""
"""The key of answers that were paid for and are none: no question has it."""
VERSION = 1
"""Of the file. Files without one may hold counts that no answer can have."""

_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL, run TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_key ON answers (key);
CREATE INDEX IF NOT EXISTS by_run ON answers (run);
"""
_MEND = f"""
DELETE FROM answers WHERE typeof(text) != 'text' OR typeof(finish) != 'text'
    OR typeof(prompt_tokens) != 'integer' OR prompt_tokens NOT BETWEEN 0 AND {MOST_TOKENS}
    OR typeof(completion_tokens) != 'integer' OR completion_tokens NOT BETWEEN 0 AND {MOST_TOKENS}
    OR typeof(cost) NOT IN ('real', 'integer') OR cost NOT BETWEEN -1e18 AND 1e18
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
    """Answers, tokens and price that a run has paid for.

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
        """Pickle as a fresh object, with no connection yet."""
        return Answers, (self.path, self.run, self.remote, self.callers)

    def begin(self, run: str) -> None:
        """Put new answers down to this run."""
        self.run = run
        self._spend, self._counted = Spend(), 0  # up to a number; only what is new is added up

    def by_key(self, key: bytes) -> list[Answer]:
        """Return all answers to a question, oldest first."""
        if self.remote is not None:
            return cast(list[Answer], self.remote("by_key", key))
        query = "SELECT text, finish, prompt_tokens, completion_tokens, cost FROM answers WHERE key = ? ORDER BY number"
        with self._opened() as connection:
            return [Answer(*row) for row in connection.execute(query, (key,))]

    def add(self, key: bytes, answer: Answer) -> None:
        """Keep an answer. It is on disk when this returns."""
        if self.remote is not None:
            self.remote("add", key, answer)
            return
        row = (key, self.run, answer.text, answer.finish, answer.prompt_tokens, answer.completion_tokens, answer.cost)
        with self._opened() as connection, connection as transaction:
            transaction.execute("INSERT INTO answers VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, datetime('now'))", row)

    def spent(self) -> Spend:
        """Return what the answers of this run cost."""
        if self.remote is not None:
            return cast(Spend, self.remote("spent"))
        query = """SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
            coalesce(sum(cost), 0.0), coalesce(max(number), ?2) FROM answers WHERE run = ?1 AND number > ?2"""
        with self._opened() as connection:
            new = connection.execute(query, (self.run, self._counted)).fetchone()
            old, self._counted = self._spend, new[-1]
            self._spend = Spend(*(sum(pair) for pair in zip(astuple(old), new[:-1], strict=True)))
            return self._spend

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, for one thread at a time.

        Raises:
            ValueError: If the file is something else.
            Halted: If it cannot be read or written any more: nobody may pay for answers that are not kept.
        """
        with self._lock:
            connection = self._open()
            try:
                yield connection
            except sqlite3.Error as error:
                raise Halted(f"Answers cannot be kept in {self.path}: {error}.") from error

    def _open(self) -> sqlite3.Connection:
        """Return the connection; call it with the lock held."""
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
                weakref.finalize(self, self._connection.close)
                # the log written ahead survives a killed process without waiting for the disk each time
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.executescript(_TABLE)
                self._mend(self._connection)
            except sqlite3.DatabaseError as error:
                self._connection = None
                raise ValueError(f"{self.path} holds no answers: {error}. Name another file, or remove it.") from error
        return self._connection

    def _mend(self, connection: sqlite3.Connection) -> None:
        """Drop impossible answers from a file of an earlier version: they would end every run that adds them up."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            with connection as transaction:
                dropped = transaction.execute(_MEND).rowcount
                transaction.execute(f"PRAGMA user_version = {VERSION}")
            if dropped:
                log.warning("%s: %d answers are dropped, as their counts are none.", self.path, dropped)
