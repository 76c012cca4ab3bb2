"""An OpenAI-compatible endpoint over HTTP: patience with what passes, one clear line about what does not.

Nothing that an endpoint sends can take more than `LARGEST` bytes or, from the first byte sent to the last one read,
more than the endpoint's `timeout`.
"""

import asyncio
import json
import math
import os
import random
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

from ..stage import Halted
from .completion import error_of
from .foreign_json import parse

Parsed = TypeVar("Parsed")

WAIT_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Answers that may be different in a moment."""
LARGEST = 4 << 20
"""Bytes of an answer, unpacked. Two thousand tokens with all that can be asked about them take half of it."""

_TOO_LARGE = f"an answer of more than {LARGEST >> 20} MiB"
_STRUCTURE = ("response_format", "json_schema", "guided", "grammar")


class NoAnswer(ValueError):  # noqa: N818  # what a sample is kept aside with
    """A question that was not answered, or not usably. The sample is kept aside and can be tried again."""


class Unsupported(NoAnswer):
    """Question that asks for structured output of an endpoint that has none."""


class Response(NamedTuple):
    """HTTP response, whole and of bounded size.

    Attributes:
        status: Of HTTP.
        headers: Mapping that knows no case.
        body: Unpacked.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Trouble(Exception):  # noqa: N818  # what happened to a question
    """A question that came to nothing this time.

    Attributes:
        unreachable: Whether nobody took the question.
        answered: Whether an answer began that was to be a good one.
        wait: Seconds until the endpoint wants to be asked again. 0: it does not say.
    """

    def __init__(self, problem: str, *, unreachable: bool = False, answered: bool = False, wait: float = 0.0) -> None:
        super().__init__(problem)
        self.unreachable, self.answered, self.wait = unreachable, answered, wait


@dataclass(kw_only=True)
class Endpoint:
    """Client of an endpoint for many threads, with so many questions at once and no more.

    What may pass (no connection, a cut one, no whole answer in time, 429, 5xx, an answer that is none) is tried again
    after a pause that doubles, with chance in it so that callers do not come back together; where the endpoint says
    how long to wait (Retry-After), everyone waits as long. What will not pass ends the run.

    Attributes:
        url: Up to and with "/v1".
        key_variable: Environment variable that holds the key. Empty: no key is sent.
        concurrency: Questions on their way at once.
        timeout: Seconds for a question and its whole answer.
        tries: How often a question is posted at most.
        pause: Seconds before the second try; doubled before each further one.
        longest_pause: Seconds at most between tries. An endpoint that asks for more gets it, up to ten times this;
            one that asks for more than that is not believed.
        patience: Questions in a row that come to nothing before the endpoint counts as down. Those that it answers,
            however badly, are none of them.
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
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ValueError(f"Endpoint '{self.url}' is no address: {error}. Correct it.") from error
        key = os.environ.get(self.key_variable) if self.key_variable else None
        if self.key_variable and not key:
            raise ValueError(f"The environment variable {self.key_variable} is empty; it must hold the endpoint's key.")
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        self._client = httpx.AsyncClient(
            headers=headers | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(None, connect=min(self.timeout / 2, 20.0)),  # `_exchange` has one for all of it
            limits=httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
        )
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_serve, args=(self._loop, self._client), daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        self._free = threading.BoundedSemaphore(self.concurrency)

    def post(self, body: Mapping[str, Any], read: Callable[[bytes], Parsed]) -> Parsed:
        """Return the endpoint's answer to a chat completion.

        Args:
            body: The question.
            read: Makes of an answer what is wanted. A ValueError says what is wrong with it.

        Raises:
            NoAnswer: If this question gets none, however often it is asked.
            Halted: If no question will get one.
        """
        content, trouble = json.dumps(body).encode(), _Trouble("it was not asked")
        with self._free:
            for attempt in range(self.tries):
                self._wait()
                try:
                    parsed = self._attempt(content, read)
                except _Trouble as error:
                    trouble = error
                    self._pause(attempt, trouble.wait)
                else:
                    self._failures = 0
                    return parsed
        raise self._gave_up(trouble)

    def _attempt(self, content: bytes, read: Callable[[bytes], Parsed]) -> Parsed:
        """Post the question once and return what the answer says."""
        response = self._send("POST", "/chat/completions", content, self.timeout)
        if response.status != 200:
            problem = f"HTTP {response.status} {_words(response)}".strip()
            self._refuse_forever(response, problem)
            raise _Trouble(problem, wait=retry_after(response.headers))
        try:
            return read(response.body)
        except ValueError as error:
            raise _Trouble(str(error), answered=True) from error

    def _send(self, method: str, path: str, content: bytes, seconds: float) -> Response:
        """Send a request and wait for all of its response, in the thread that calls."""
        exchange = self._exchange(method, f"{self.url}{path}", content, seconds)
        return asyncio.run_coroutine_threadsafe(exchange, self._loop).result()

    async def _exchange(self, method: str, url: str, content: bytes, seconds: float) -> Response:
        """Send a request in the loop's thread: there alone one clock can run for all that happens."""
        import httpx

        status = 0
        try:
            async with asyncio.timeout(seconds), self._client.stream(method, url, content=content) as response:
                status, body = response.status_code, bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > LARGEST:
                        raise ValueError(_TOO_LARGE)
                packing = response.headers.get("content-encoding", "").strip().lower()
                return Response(status, response.headers, _unpacked(bytes(body), packing))
        except TimeoutError as error:
            raise _Trouble(f"no whole answer within {seconds:g} s", answered=status == 200) from error
        except ValueError as error:
            raise _Trouble(str(error), answered=status == 200) from error
        except httpx.HTTPError as error:
            unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            problem = f"{type(error).__name__} {error}".strip()
            raise _Trouble(problem, unreachable=unreachable, answered=status == 200) from error

    def close(self) -> None:
        """Ask nothing any more: who waits for another try gives up, who waits for an answer still gets it."""
        self._end("Stopped.")

    def _end(self, why: str) -> None:
        """Answer every question from now on with the first reason given."""
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
        if 0 < asked_to_wait <= 10 * self.longest_pause:
            until = time.monotonic() + asked_to_wait
            with self._lock:
                self._not_before = max(self._not_before, until)
        elif attempt + 1 < self.tries:
            longest = min(self.pause * 2**attempt, self.longest_pause)
            self._stop.wait(random.uniform(longest / 2, longest))

    def _refuse_forever(self, response: Response, problem: str) -> None:
        """End the question, or the run, where another try would be the same."""
        status, message = response.status, response.body.decode(errors="replace").lower()
        if status in (400, 422) and any(word in message for word in _STRUCTURE):
            raise Unsupported(problem)
        if status in (401, 403):
            name = f"what {self.key_variable} holds" if self.key_variable else "assistant.key_variable"
            raise self._halted(f"The endpoint {self.url} refuses the key ({problem}). Check {name}.")
        if status == 402 or "insufficient_quota" in message:
            raise self._halted(f"The endpoint {self.url} wants to be paid first ({problem}).")
        if status == 404:
            raise self._halted(f"The endpoint {self.url} knows no such model or path ({problem}). {self._models()}")
        if status not in WAIT_AGAIN:
            raise self._gave_up(_Trouble(problem))

    def _gave_up(self, trouble: _Trouble) -> NoAnswer | Halted:
        """Return the error to raise once a question has come to nothing."""
        with self._lock:
            self._failures = 0 if trouble.answered else self._failures + 1
            failures = self._failures
        if trouble.unreachable:
            return self._halted(
                f"The endpoint {self.url} cannot be reached ({trouble}, {self.tries} tries)."
                " Check that the server runs and that the address, with /v1, is right."
            )
        if failures >= self.patience:
            return self._halted(
                f"The endpoint {self.url} has answered none of the last {failures} questions ({trouble})."
                " Check the server's log."
            )
        return NoAnswer(f"no answer from the endpoint: {trouble}")

    def _halted(self, problem: str) -> Halted:
        self._end(problem)
        return Halted(problem)

    def _models(self) -> str:
        """Return what the endpoint serves, for a message."""
        try:
            served = parse(self._send("GET", "/models", b"", 10.0).body.decode())["data"]
            return f"It serves: {', '.join(str(model['id'])[:200] for model in served[:10])}."
        except (_Trouble, ValueError, LookupError, TypeError):
            return "Check the address, with /v1, and the model's name."


def _serve(loop: asyncio.AbstractEventLoop, client: Any) -> None:
    """Run a loop until it is stopped, then close the connections."""
    loop.run_forever()
    loop.run_until_complete(client.aclose())
    loop.close()


def _unpacked(body: bytes, packing: str) -> bytes:
    """Return the unpacked body, if that is not too much.

    Raises:
        ValueError: If it is, or nobody asked for this packing.
    """
    if packing in ("", "identity"):
        return body
    if packing not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"an answer that is packed as {packing[:40]!r}")
    try:
        content = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, LARGEST + 1)
    except zlib.error as error:
        raise ValueError(f"an answer that cannot be unpacked: {error}") from error
    if len(content) > LARGEST:
        raise ValueError(_TOO_LARGE)
    return content


def _words(response: Response) -> str:
    """Return the message of an error response, on one short line."""
    text = response.body.decode(errors="replace")
    try:
        words = error_of(parse(text))
    except ValueError:
        words = " ".join(text[:1000].split())[:200]
    place = response.headers.get("location", "")[:200]
    return f"{words} (it points to {place})".strip() if place else words


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that the endpoint asks to wait, from seconds or a date; 0 if it does not ask."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return seconds if 0 < seconds < math.inf else 0.0


def _seconds_until(value: str) -> float:
    """Return the seconds from now to the date of a header; 0 if it is none."""
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
