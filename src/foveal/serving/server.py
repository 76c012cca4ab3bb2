"""uvicorn around the app: patience with clients is limited, stopping is graceful."""

import asyncio
import socket

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
_IDLE_SECONDS = 20
_STOP_SECONDS = 60


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes connections whose headers do not arrive in time, which uvicorn alone would hold for ever."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Stop the clock once a request is whole, start it where one is half there."""
        super().data_received(data)
        waiting = self.conn.their_state is h11.IDLE
        if not waiting and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif waiting and self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no clock behind."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket to serve on.

    Args:
        host: Address to listen on.
        port: Port; 0 takes a free one.

    Raises:
        ValueError: If the address cannot be taken.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ValueError(f"Cannot listen on {host}:{port}: {error}. Choose another --host or --port.") from error


def made(app: FastAPI) -> uvicorn.Server:
    """A server that is not running yet.

    Args:
        app: Made by `create_app`.
    """
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return uvicorn.Server(config)


def serve(app: FastAPI, on: socket.socket) -> None:
    """Serve until told to stop (SIGTERM, Ctrl-C); then finish what has begun.

    Args:
        app: Made by `create_app`.
        on: Made by `listen`.
    """
    made(app).run([on])
