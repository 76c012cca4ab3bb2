"""uvicorn around the app: sockets that answer at once, connections that end, stopping that is graceful."""

import resource
import socket
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from .connection import Connection
from .settings import Limits

_STOP_SECONDS = 60
_WAITING = 1024  # connections that the system may hold for us until we take them
_UNREAD_BYTES = 1 << 18  # of an answer that the system may hold until the client takes them


def listen(host: str, port: int) -> socket.socket:
    """Open a socket to serve on. Answers leave it at once (TCP_NODELAY).

    Args:
        host: Address to listen on.
        port: Port; 0 takes a free one.

    Raises:
        ValueError: If the address cannot be taken.
    """
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    # Named as TCP, without which asyncio does not know that it is, and leaves TCP_NODELAY off.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)  # connections inherit it
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((bare, port))
        listener.listen(_WAITING)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ValueError(f"Cannot listen on {host}:{port}: {error}. Choose another --host or --port.") from error
    return listener


def build_server(app: FastAPI) -> uvicorn.Server:
    """Build a server that is not running yet.

    Args:
        app: Made by `create_app`.
    """
    limits: Limits = app.state.service.limits
    config = uvicorn.Config(
        app,
        http=partial(Connection, limits=limits, connections=_room(limits.connections)),  # type: ignore[arg-type]
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return uvicorn.Server(config)


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve until told to stop (SIGTERM, Ctrl-C); then finish what has begun.

    Args:
        app: Made by `create_app`.
        listener: Made by `listen`.
    """
    build_server(app).run([listener])


def _room(most: int) -> int:
    """Return how many connections may be open at once: half of the files that may, since each may be sent one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (soft - len(list(Path("/dev/fd").iterdir()))) // 2))
