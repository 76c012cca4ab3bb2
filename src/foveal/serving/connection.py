"""The connection of a client: whatever a client may draw out has a clock."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import RefusedError
from .guard import CROWDED, Receive, Scope, Send
from .settings import Limits

State = Literal["asking", "working", "unread", "idle", "leaving"]
RESERVED = 8  # one in so many connections is for `/health` alone
# What tells where a request ends. Two such lines may be read in two ways, by us and by a proxy before us.
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n\r?\n")
_HEAD_BYTES = 1 << 14
_SMALL_CHUNK, _SMALL_CHUNKS = 256, 4096  # bytes; of one body. Each takes as long as a large one


class Connection(H11Protocol):
    """HTTP/1.1 in five states, with a clock in each where the client's turn is; uvicorn alone waits without end.

    - asking: from the first moment, or the first byte of another request, until its head is whole
    - working: until its answer is complete; the guard bounds it
    - unread: the client does not read the answer on
    - idle: until another request begins
    - leaving: after the last answer. The client is told that nothing more comes, and what it still sends is dropped, so
      that it reads the answer before the connection is gone.

    A byte more starts no clock again: only another state does.
    """

    def __init__(self, *args: Any, limits: Limits, connections: int, **options: Any) -> None:
        """Wait for a connection.

        Args:
            args: uvicorn's.
            limits: Seconds of each state.
            connections: Most at once.
            options: uvicorn's.
        """
        super().__init__(*args, **options)
        self.conn = _Strict(h11.SERVER, _HEAD_BYTES)
        self._most = connections
        self._seconds: dict[State, float] = {
            "asking": limits.head_seconds,
            "unread": limits.unread_seconds,
            "idle": limits.idle_seconds,
            "leaving": limits.linger_seconds,
        }
        self._state: State | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._leaving = self._gone = False
        self._task: asyncio.Task[Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let a client in, as long as there is room."""
        self._wire = transport
        super().connection_made(_Lingering(transport, self._leave))  # type: ignore[arg-type]
        self._crowded = len(self.connections) > self._most - self._most // RESERVED
        self.app = self._answer
        if len(self.connections) > self._most:
            transport.write(_bare_answer(503, "Too many connections are open. Try again in 1 s."))
            transport.close()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived."""
        if not self._leaving:
            super().data_received(data)
        self._watch()

    def eof_received(self) -> None:
        """Treat a client that sends no more as gone; asyncio closes."""
        self._leaving = True
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave neither a clock nor work behind."""
        self._gone = True
        if self._clock is not None:
            self._clock.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Start the clock of a client that does not read on."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stop the clock of a client that reads on again."""
        super().resume_writing()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for another request, or take up one that has come meanwhile."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # uvicorn's clock; ours is enough
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, as every other mistake is said."""
        self.transport.write(_bare_answer(400, msg))
        self.transport.close()
        if self.cycle is not None:  # what waits for the rest of a body
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def shutdown(self) -> None:
        """Stop once the answer is complete; at once where there is none."""
        at_once = self._state in ("asking", "idle")
        super().shutdown()
        if at_once:
            self._end()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, unless the client goes away meanwhile."""
        scope["state"][CROWDED] = self._crowded
        self._task = asyncio.current_task()
        try:
            await self.config.loaded_app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._gone:
                raise
        finally:
            self._task = None

    def _watch(self) -> None:
        """Start the clock of another state."""
        state = self._now()
        if state == self._state or self._gone:
            return
        self._state = state
        if self._clock is not None:
            self._clock.cancel()
        seconds = self._seconds.get(state)
        self._clock = None if seconds is None else self.loop.call_later(seconds, self._strike)

    def _now(self) -> State:
        if self._leaving:
            return "leaving"
        if self.flow.write_paused:
            return "unread"
        if self.cycle is not None and not self.cycle.response_complete:
            return "working"
        waiting = self.cycle is not None and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        return "idle" if waiting else "asking"

    def _strike(self) -> None:
        """Act when time is up: abort what is unread, close the rest."""
        if self._state in ("leaving", "unread"):
            self.transport.abort()
        else:
            self._end()

    def _end(self) -> None:
        """Close where no answer is on its way."""
        self._leave()
        self._wire.close()

    def _leave(self) -> None:
        self._leaving = True
        self._watch()


class _Lingering:
    """A transport that `close` ends on this side only, until the client has gone or time is up."""

    def __init__(self, transport: asyncio.Transport, on_close: Callable[[], None]) -> None:
        self._transport, self._on_close = transport, on_close
        self._closing = False
        self.write = transport.write
        self.abort = transport.abort
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self._closing = True
        try:
            self._transport.write_eof()
        except OSError:  # the client has gone
            self._transport.abort()
        self._transport.resume_reading()
        self._on_close()


class _Strict(h11.Connection):
    """HTTP/1.1 that takes no request whose end may be read in two ways, or that comes in a myriad of pieces."""

    _small_chunks = 0

    def next_event(self) -> Any:
        """Return the next part of a request.

        Raises:
            h11.RemoteProtocolError: If it is no HTTP.
        """
        if self.their_state is h11.IDLE:
            content = self.trailing_data[0]
            end = _HEAD_END.search(content)
            if end is not None:
                self._check_head(content[: end.start() + 1])
            self._small_chunks = 0
        event = super().next_event()
        if isinstance(event, h11.Data) and event.chunk_end and len(event.data) < _SMALL_CHUNK:
            self._small_chunks += 1
            if self._small_chunks > _SMALL_CHUNKS:
                raise h11.RemoteProtocolError(f"more than {_SMALL_CHUNKS} chunks are small")
        return event

    def _check_head(self, head: bytes) -> None:
        if len(head) > _HEAD_BYTES:
            raise h11.RemoteProtocolError(f"the head has more than {_HEAD_BYTES} bytes")
        framing = _FRAMING.findall(head)
        lengths = [value for name, value in framing if name.lower() == b"content-length"]
        if len(framing) > 1 or not all(value.isdigit() for value in lengths):
            raise h11.RemoteProtocolError("the end of the request is not clear")


def _bare_answer(status: int, message: str) -> bytes:
    """Return the bytes of an answer without a request."""
    refusal = RefusedError(status, message).response(close=True)
    head = [b"%b: %b\r\n" % header for header in refusal.raw_headers]
    return b"".join([b"HTTP/1.1 %d Refused\r\n" % status, *head, b"\r\n", refusal.body])
