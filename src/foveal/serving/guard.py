"""What stands before the service: names it answers to, the key, whole requests of bounded size in bounded time."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from .errors import RefusedError
from .settings import Settings

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
OPEN = ("/", "/health", "/docs", "/openapi.json")  # what needs no key, besides the page's own files
OPEN_FOLDER = "/page/"
_DRAINED = 4  # bodies up to this many times the limit are read to their end, so that the refusal is heard


class Guard:
    """ASGI middleware that lets only whole, bounded, permitted requests through.

    A body is read to its end before the service sees anything of it: a client that trickles holds a connection and a
    few bytes, never a thread, a place in the queue or the model.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        """Stand before an app.

        Args:
            app: What is guarded.
            settings: Limits, key and names.
        """
        self.app = app
        self.settings = settings
        self._requests = 0
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        safe = _with_headers(send)
        self._requests += 1
        body = bytearray()
        try:
            self._permit(scope)
            if await self._read(scope, receive, body):
                await self.app(scope, _replay(bytes(body), receive), safe)
        except RefusedError as refusal:
            await refusal.response()(scope, receive, safe)
        finally:
            self._requests -= 1
            self._buffered -= len(body)

    def _permit(self, scope: Scope) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        hosts = self.settings.hosts
        if hosts and _name(headers.get("host", "")) not in hosts:
            raise RefusedError(421, f"This service answers to {', '.join(hosts)} only.")
        if not self._knows_key(scope["path"], headers):
            raise RefusedError(401, "This service asks for a key: send it as 'Authorization: Bearer KEY'.")
        if self._requests > self.settings.limits.requests:
            raise RefusedError(429, f"More than {self.settings.limits.requests} requests at once. Try again in 1 s.", 1)

    def _knows_key(self, path: str, headers: Mapping[str, str]) -> bool:
        key = self.settings.api_key
        if key is None or path in OPEN or path.startswith(OPEN_FOLDER):
            return True
        given = headers.get("authorization", "").removeprefix("Bearer ").strip() or headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode(), key.encode())

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> bool:
        """Fill `body`. False if the client went away meanwhile.

        Raises:
            RefusedError: If the body is too large, too slow, or one too many.
        """
        limits = self.settings.limits
        try:
            async with asyncio.timeout(limits.body_seconds):
                return await self._take(_declared(scope), receive, body)
        except TimeoutError as error:
            raise RefusedError(408, f"The request took more than {limits.body_seconds:g} s to arrive.") from error

    async def _take(self, declared: int, receive: Receive, body: bytearray) -> bool:
        most = self.settings.limits.bytes
        refusal = RefusedError(413, f"The request has more than {most} bytes. Send smaller pictures, or fewer.")
        if declared > _DRAINED * most:
            raise refusal
        read = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            read += len(chunk)
            if read <= most:
                self._hold(body, chunk)
            if read > _DRAINED * most:
                raise refusal
            if not message.get("more_body", False):
                break
        if read > most:
            raise refusal
        return True

    def _hold(self, body: bytearray, chunk: bytes) -> None:
        if self._buffered + len(chunk) > self.settings.limits.buffered_bytes:
            raise RefusedError(429, "Too much is being sent at once. Try again in 2 s.", 2)
        body += chunk
        self._buffered += len(chunk)


def _declared(scope: Scope) -> int:
    """Content-Length, 0 if there is none. The server has checked that it is a number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def _name(host: str) -> str:
    """Of a Host header, without the port: localhost:8000, [::1]:8000."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body in one piece, then whatever the client does."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed


def _with_headers(send: Send) -> Send:
    extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def safe(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in own)]
        await send(message)

    return safe
