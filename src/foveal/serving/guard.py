"""The guard before the service: names and pages it answers to, the key, whole requests of bounded size and time."""

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any

from fastapi.responses import RedirectResponse

from .budget import Budget
from .errors import RefusedError
from .settings import LOOPBACK, Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The page brings no line of script or style in its HTML, and asks nothing of any other host.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
        " manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
OPEN = ("/", "/health", "/docs", "/openapi.json")  # what needs no key, besides the page's own files
OPEN_FOLDER = "/page/"
CROWDED = "crowded"  # in a request's state: its connection is one of the last that are let in
_PIECE = 1 << 16  # bytes of an answer that are handed on at once
_PORTS = {"http": "80", "https": "443"}
_FAILED = "The service failed at this request; its log says why."
_VALUES, _VALUES_OF_AN_INPUT = 1024, 64  # in the JSON of a request
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_HOST = re.compile(r"[\w.-]{1,100}", re.ASCII)
logger = logging.getLogger(__name__)


class Guard:
    """ASGI middleware that lets only whole, bounded, permitted requests through, and bounds what answers hold.

    A body is read to its end before the service sees anything of it: a client that trickles holds a connection and a
    few bytes, never a thread, a place in the queue or the model. An answer is handed on in pieces, as the client reads.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        """Stand before an app.

        Args:
            app: What is guarded.
            settings: Limits, key and names.
        """
        self.app = app
        self.settings = settings
        self.budget = Budget(settings.limits.buffered_bytes)
        self._working: set[_Answer] = set()  # requests whose answer has not begun

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        root, answer = self.settings.root_path, _Answer(send, self.budget)
        if root and scope["path"] == root:  # the page's addresses start from the slash behind it
            await RedirectResponse(f"{root}/")(scope, receive, answer)
            return
        request = _Body(self.settings.limits.bytes, self.budget)
        self._working.add(answer)
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            path = scope["path"].removeprefix(root) if scope["path"].startswith(f"{root}/") else scope["path"]
            self._permit(scope, path, headers)
            if await self._read(request, headers, receive):
                content = request.content()
                if not headers.get("content-type", "").startswith("multipart/"):
                    _check_structure(content, _VALUES + _VALUES_OF_AN_INPUT * self.settings.limits.inputs)
                await self._answer(scope, path, _replay(content, receive), answer)
        except RefusedError as refusal:
            await refusal.response(close=True)(scope, receive, answer)
        except Exception:
            if answer.started:
                raise
            logger.exception("%s %s failed", scope["method"], path)
            await RefusedError(500, _FAILED).response(close=True)(scope, receive, answer)
        finally:
            self._working.discard(answer)
            request.let_go()

    def _permit(self, scope: Scope, path: str, headers: Mapping[str, str]) -> None:
        settings, host = self.settings, _name(headers.get("host", ""))
        if settings.hosts and host not in settings.hosts:
            name = host if _HOST.fullmatch(host) else "NAME"
            raise RefusedError(
                421, f"This service answers to {', '.join(settings.hosts)} only. To add a name: --name {name}"
            )
        is_open = path in OPEN or path.startswith(OPEN_FOLDER)
        if not (is_open and scope["method"] in ("GET", "HEAD")) and _is_foreign(headers, settings.origins):
            raise RefusedError(
                403,
                "Pages of other origins may not ask this service. If this is its own page behind a proxy, let the proxy"
                " pass the Host header on, or start with --name and the page's host name.",
            )
        if not is_open and not self._knows_key(headers):
            raise RefusedError(401, "This service asks for a key: send it as 'Authorization: Bearer KEY'.")
        if path == "/health":
            return
        if scope.get("state", {}).get(CROWDED):
            raise RefusedError(503, "Too many connections are open. Try again in 1 s.", 1)
        if len(self._working) > settings.limits.requests:
            raise RefusedError(429, f"More than {settings.limits.requests} requests at once. Try again in 1 s.", 1)

    def _knows_key(self, headers: Mapping[str, str]) -> bool:
        key = self.settings.api_key
        if key is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        sent_key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(sent_key.encode(), key.encode())

    async def _read(self, request: "_Body", headers: Mapping[str, str], receive: Receive) -> bool:
        """Read a body to its end. Return False if the client went away meanwhile.

        Raises:
            RefusedError: If the body is too large, too slow, or one too many.
        """
        seconds = self.settings.limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await request.read(headers, receive)
        except TimeoutError as error:
            raise RefusedError(408, f"The request took more than {seconds:g} s to arrive.") from error

    async def _answer(self, scope: Scope, path: str, receive: Receive, answer: "_Answer") -> None:
        """Let the app answer, in bounded time. HEAD is GET to it: the server leaves the body out.

        Raises:
            RefusedError: If the answer has not begun in time.
        """
        limits, root = self.settings.limits, self.settings.root_path
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inside = {**scope, "root_path": root, "path": root + path, "method": method}
        try:
            async with asyncio.timeout(limits.answer_seconds) as deadline:
                answer.on_start = partial(self._begin, answer, deadline)
                await self.app(inside, receive, answer)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            if not answer.started:
                raise RefusedError(503, f"No answer within {limits.answer_seconds:g} s. Try again later.", 5) from error
            logger.warning("An answer was not read within %g s.", limits.reading_seconds)
        finally:
            answer.on_start = None
            scope["route"] = inside.get("route")  # for what stands before us

    def _begin(self, answer: "_Answer", deadline: asyncio.Timeout) -> None:
        """Note that an answer is on its way: from now on it is the client that takes time."""
        self._working.discard(answer)
        deadline.reschedule(asyncio.get_running_loop().time() + self.settings.limits.reading_seconds)


class _Body:
    """The body of a request, its bytes counted as long as it is held."""

    def __init__(self, most: int, budget: Budget) -> None:
        self._most, self._budget = most, budget
        self._chunks: list[bytes] = []
        self._held = 0

    async def read(self, headers: Mapping[str, str], receive: Receive) -> bool:
        """Read all of it. Return False if the client went away meanwhile."""
        too_large = RefusedError(413, f"The request has more than {self._most} bytes. Send smaller pictures, or fewer.")
        if int(headers.get("content-length", 0)) > self._most:  # the connection has checked that it is a number
            raise too_large
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk, more = message.get("body", b""), message.get("more_body", False)
            if self._held + len(chunk) > self._most:
                raise too_large
            if not self._budget.take(len(chunk)):
                raise RefusedError(429, "Too much is being sent at once. Try again in 2 s.", 2)
            self._held += len(chunk)
            self._chunks.append(chunk)
        return True

    def content(self) -> bytes:
        """Return all that was read. It is kept here no longer, but still counts."""
        content, self._chunks = b"".join(self._chunks), []
        return content

    def let_go(self) -> None:
        """Give back the bytes that the body counts for."""
        self._budget.give_back(self._held)


class _Answer:
    """An answer on its way: with the headers that keep the page to itself, its bytes counted until they are taken.

    It is held back until its body is there. If there is no room for that body, the answer is a refusal instead.

    Attributes:
        started: Something of it is on its way.
        on_start: Called once, just before.
    """

    def __init__(self, send: Send, budget: Budget) -> None:
        self.started = False
        self.on_start: Callable[[], None] | None = None
        self._send, self._budget = send, budget
        self._head: Message | None = None
        self._refused = False

    async def __call__(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        if self._refused:
            return
        count = len(message.get("body", b""))
        if not self._budget.take(count):
            if not self.started:
                await self._refuse()
                return
            count = 0  # a piece of an answer that has begun, small enough to go uncounted
        try:
            await self._start()
            await self._send_in_pieces(message)
        finally:
            self._budget.give_back(count)

    async def _start(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self.started = True
            if self.on_start is not None:
                self.on_start()
            present = {name for name, _ in head["headers"]}
            await self._send({**head, "headers": [*head["headers"], *(p for p in _HEADERS if p[0] not in present)]})

    async def _send_in_pieces(self, message: Message) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        for place in range(0, len(body) - _PIECE, _PIECE):
            await self._send({"type": message["type"], "body": body[place : place + _PIECE], "more_body": True})
        rest = body[(len(body) - 1) // _PIECE * _PIECE :] if len(body) > _PIECE else body
        await self._send({"type": message["type"], "body": rest, "more_body": more})

    async def _refuse(self) -> None:
        self._refused = True
        refusal = RefusedError(429, "Too many answers wait to be read. Try again in 2 s.", 2).response()
        self._head = {"type": "http.response.start", "status": 429, "headers": refusal.raw_headers}
        await self._start()
        await self._send({"type": "http.response.body", "body": refusal.body})


def _check_structure(content: bytes, most: int) -> None:
    """Refuse JSON of too many values. Each takes a hundred times its bytes once it is read, and time of all others.

    Raises:
        RefusedError: 413.
    """
    strings = content.count(b'"') - content.count(b'\\"')
    if strings > 2 * most or (_marks(content) > most and _marks(_STRING.sub(b"", content)) > most):
        raise RefusedError(413, f"The request has more than {most} values. Send several requests.")


def _marks(content: bytes) -> int:
    """Count the values of a text of JSON, at most: each but the first has one of these before it."""
    return sum(map(content.count, (b",", b":", b"[", b"{")))


def _is_foreign(headers: Mapping[str, str], origins: Sequence[str]) -> bool:
    """True if a browser says that a page of another origin asks. Other programs say nothing of the sort."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin", "").lower()
    return "origin" in headers and origin not in origins and not _is_same(origin, headers)


def _is_same(origin: str, headers: Mapping[str, str]) -> bool:
    """True if an origin is the one that a request was sent to, as far as its Host header tells."""
    host = headers.get("host", "").lower()
    scheme, _, place = origin.partition("://")
    outside = headers.get("x-forwarded-proto", "http" if _name(host) in LOOPBACK else scheme).partition(",")[0].strip()
    return scheme in _PORTS and scheme == outside and _with_port(place, scheme) == _with_port(host, scheme)


def _with_port(place: str, scheme: str) -> str:
    return place if place.rpartition(":")[2].isdecimal() else f"{place}:{_PORTS[scheme]}"


def _name(host: str) -> str:
    """Return the name in a Host header, without the port: localhost:8000, [::1]:8000."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _replay(body: bytes, receive: Receive) -> Receive:
    """Build a receiver that gives the body in one piece, then whatever the client does."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed
