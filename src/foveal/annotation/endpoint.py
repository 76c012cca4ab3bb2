"""An OpenAI-compatible endpoint over HTTP: patience with what passes, one clear line about what does not."""

import os
import random
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .stage import Halted

WAIT_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Answers that may be different in a moment."""

_STRUCTURE = ("response_format", "json_schema", "guided", "grammar")


class NoAnswer(ValueError):  # noqa: N818  # what a sample is kept aside with
    """A question that was not answered, or not usably. The sample is kept aside and can be tried again."""


class Unsupported(NoAnswer):
    """The endpoint does not know structured output."""


@dataclass(kw_only=True)
class Endpoint:
    """Posts to an endpoint from many threads, so many at once and no more.

    What may pass (no connection, a cut one, no answer in time, 429, 5xx) is tried again after a pause that doubles,
    with chance in it so that callers do not come back together; where the endpoint says how long to wait
    (Retry-After), everyone waits as long. What will not pass ends the run.

    Attributes:
        url: Up to and with "/v1".
        key_variable: Environment variable that holds the key. Empty: no key is sent.
        concurrency: Questions on their way at once.
        timeout: Seconds to wait for an answer.
        tries: How often a question is posted at most.
        pause: Seconds before the second try; doubled before each further one.
        longest_pause: Seconds at most between tries. An endpoint that asks for more gets it, up to ten times this.
        patience: Questions in a row that come to nothing before the endpoint counts as down.
    """

    url: str
    key_variable: str = ""
    concurrency: int = 16
    timeout: float = 120.0
    tries: int = 6
    pause: float = 1.0
    longest_pause: float = 60.0
    patience: int = 20
    _stop: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _not_before: float = field(default=0.0, init=False, repr=False)
    _failures: int = field(default=0, init=False, repr=False)
    _why: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        import httpx

        self.url = self.url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"Endpoint '{self.url}' is no address. It looks like http://localhost:8000/v1.")
        key = os.environ.get(self.key_variable) if self.key_variable else None
        if self.key_variable and not key:
            raise ValueError(f"The environment variable {self.key_variable} is empty; it must hold the endpoint's key.")
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, 20.0)),
            limits=httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
        )
        weakref.finalize(self, self._client.close)
        self._free = threading.BoundedSemaphore(self.concurrency)

    def post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The endpoint's answer to a chat completion.

        Raises:
            NoAnswer: If this question gets none, however often it is asked.
            Halted: If no question will get one.
        """
        import httpx

        problem, unreachable = "", False
        with self._free:
            for attempt in range(self.tries):
                self._wait()
                asked_to_wait = 0.0
                try:
                    response = self._client.post(f"{self.url}/chat/completions", json=body)
                except httpx.TransportError as error:
                    problem = f"{type(error).__name__} {error}".strip()
                    unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                else:
                    unreachable = False
                    if response.status_code == 200:
                        answer = _object(response)
                        if answer is not None:
                            self._failures = 0
                            return answer
                        problem = "an answer that is no JSON"
                    else:
                        problem = f"HTTP {response.status_code} {_told(response)}".strip()
                        self._refuse_forever(response, problem)
                        asked_to_wait = _retry_after(response)
                self._pause(attempt, asked_to_wait)
        raise self._gave_up(problem, unreachable)

    def close(self) -> None:
        """Ask nothing any more: who waits for another try gives up, who waits for an answer still gets it."""
        self._end("Stopped.")

    def _end(self, why: str) -> None:
        """From now on every question is answered with the first reason given."""
        with self._lock:
            self._why = self._why or why
        self._stop.set()

    def _wait(self) -> None:
        """Wait as long as the endpoint has asked everyone to."""
        while (left := self._not_before - time.monotonic()) > 0 and not self._stop.is_set():
            self._stop.wait(left)
        if self._stop.is_set():
            raise Halted(self._why)

    def _pause(self, attempt: int, asked_to_wait: float) -> None:
        """Wait before another try; the last needs none."""
        if asked_to_wait:
            until = time.monotonic() + min(asked_to_wait, 10 * self.longest_pause)
            with self._lock:
                self._not_before = max(self._not_before, until)
        elif attempt + 1 < self.tries:
            longest = min(self.pause * 2**attempt, self.longest_pause)
            self._stop.wait(random.uniform(longest / 2, longest))

    def _refuse_forever(self, response: Any, problem: str) -> None:
        """Ends the question, or the run, where another try would be the same."""
        status, told = response.status_code, response.text.lower()
        if status in (400, 422) and any(word in told for word in _STRUCTURE):
            raise Unsupported(problem)
        if status in (401, 403):
            name = f"what {self.key_variable} holds" if self.key_variable else "assistant.key_variable"
            raise self._halted(f"The endpoint {self.url} refuses the key ({problem}). Check {name}.")
        if status == 402 or "insufficient_quota" in told:
            raise self._halted(f"The endpoint {self.url} wants to be paid first ({problem}).")
        if status == 404:
            raise self._halted(f"The endpoint {self.url} knows no such model or path ({problem}). {self._models()}")
        if status not in WAIT_AGAIN:
            raise self._gave_up(problem, unreachable=False)

    def _gave_up(self, problem: str, unreachable: bool) -> NoAnswer | Halted:
        """What to raise once a question has come to nothing."""
        with self._lock:
            self._failures += 1
            failures = self._failures
        if unreachable:
            return self._halted(
                f"The endpoint {self.url} cannot be reached ({problem}, {self.tries} tries)."
                " Check that the server runs and that the address, with /v1, is right."
            )
        if failures >= self.patience:
            return self._halted(
                f"The endpoint {self.url} has answered none of the last {failures} questions ({problem})."
                " Check the server's log."
            )
        return NoAnswer(f"no answer from the endpoint: {problem}")

    def _halted(self, problem: str) -> Halted:
        self._end(problem)
        return Halted(problem)

    def _models(self) -> str:
        """What the endpoint serves, for a message."""
        import httpx

        try:
            served = self._client.get(f"{self.url}/models", timeout=10).json()["data"]
            return f"It serves: {', '.join(str(one['id']) for one in served[:10])}."
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return "Check the address, with /v1, and the model's name."


def _object(response: Any) -> dict[str, Any] | None:
    """The JSON object of a response; None if it holds none."""
    try:
        content = response.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.get("choices") else None


def _told(response: Any) -> str:
    """What an error response says, on one short line."""
    try:
        content = response.json()
        error = content.get("error", content) if isinstance(content, dict) else content
        told = error.get("message", error) if isinstance(error, dict) else error
    except ValueError:
        told = response.text
    return " ".join(str(told).split())[:200]


def _retry_after(response: Any) -> float:
    """Seconds that the endpoint asks to wait, given as seconds or as a date; 0 if it does not ask."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp())
