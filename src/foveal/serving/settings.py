"""Settings of the service: limits on what comes in, how requests are gathered into batches, who may ask."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

MEBIBYTE = 1 << 20
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_STEP = re.compile(r"[\w.~-]+", re.ASCII)
_SHORTEST_KEY = 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of requests, so that none can take the memory or the time of all others.

    Attributes:
        bytes: Of one request's body.
        pixels: Of one picture, read from its header before anything is decoded.
        inputs: Texts and pictures in one request.
        characters: Of one text.
        results: Hits of one search.
        picture_bytes: Of all decoded pictures, and those being decoded, at once.
        requests: Worked on at once; further ones are told to come back.
        connections: Open at once; fewer where the process may not open twice as many files. The last eighth of them
            is for `/health` alone.
        buffered_bytes: Of all bodies of requests and all answers not yet read, at once.
        head_seconds: That a connection may take to send the head of a request.
        body_seconds: That a client may take to send the body of a request.
        answer_seconds: From then on until the answer begins, waiting included.
        unread_seconds: That an answer may wait without the client reading on.
        reading_seconds: That a client may take to read an answer.
        idle_seconds: Between two requests of a connection.
        linger_seconds: After the last answer of a connection, for the client to read it and to leave.
    """

    bytes: int = 16 * MEBIBYTE
    pixels: int = 50_000_000
    inputs: int = 128
    characters: int = 10_000
    results: int = 200
    picture_bytes: int = 1024 * MEBIBYTE
    requests: int = 256
    connections: int = 1024
    buffered_bytes: int = 256 * MEBIBYTE
    head_seconds: float = 10.0
    body_seconds: float = 15.0
    answer_seconds: float = 60.0
    unread_seconds: float = 20.0
    reading_seconds: float = 600.0
    idle_seconds: float = 20.0
    linger_seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Batching of requests that arrive together, which share one pass through the model.

    Attributes:
        most: Inputs in one pass.
        wait_seconds: That the first of them may wait for company. Under load it never waits: while one batch is
            computed, the next gathers.
        queue: Inputs that may wait; further ones are refused with 429.
    """

    most: int = 32
    wait_seconds: float = 0.004
    queue: int = 512

    def __post_init__(self) -> None:
        if self.most < 1 or self.queue < 1 or self.wait_seconds < 0:
            raise ValueError(f"Batches hold at least one input and wait no negative time, not as in {self}.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything about the service that is not the searcher.

    Attributes:
        limits: What is refused.
        batching: How requests share passes through the model.
        api_key: Asked of every request but those for the page's own files and `/health`. None: nobody is asked.
        hosts: Names under which the service answers, without port. It keeps a page elsewhere from reaching a service
            on this machine by pointing a name of its own at it (DNS rebinding). Empty: any.
        origins: Origins of pages that may ask, besides the one that the Host header names: those of a proxy that
            replaces this header.
        image_hosts: Hosts (with port where it is not the usual one) from which pictures named by URL may be
            fetched. Empty: none are.
        root_path: Path below which a proxy offers the service, "/photos". Empty: it is the root of its host.
    """

    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    api_key: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    image_hosts: tuple[str, ...] = ()
    root_path: str = ""


def settings_for(
    host: str,
    key_file: Path | None,
    open_to_all: bool,
    names: Sequence[str],
    image_hosts: Sequence[str],
    batching: Batching,
    root_path: str = "",
) -> Settings:
    """Return settings that are safe for where the service listens.

    Args:
        host: Address that it listens on.
        key_file: Holds the key. None: there is none.
        open_to_all: Without a key, others than this machine may ask all the same.
        names: Names that it answers to beside its address.
        image_hosts: From which pictures may be fetched.
        batching: How requests share passes through the model.
        root_path: Path below which a proxy offers the service.

    Raises:
        ValueError: If it would be open to a network without a key, the key is no good, or the path is none.
    """
    bare = host.strip("[]")
    is_local = bare == "localhost" or _address(bare).is_loopback
    key = None if key_file is None else _key(key_file)
    if not is_local and key is None and not open_to_all:
        raise ValueError(f"--host {host} opens the index to the network. Give --key-file FILE, or --open to allow it.")
    everywhere = not is_local and _address(bare).is_unspecified
    address = f"[{bare}]" if ":" in bare else bare.lower()
    answered = () if everywhere and not names else tuple(sorted({*LOOPBACK, address, *map(str.lower, names)}))
    return Settings(
        batching=batching,
        api_key=key,
        hosts=answered,
        origins=tuple(f"https://{name.lower()}" for name in names),
        image_hosts=tuple(map(str.lower, image_hosts)),
        root_path=_root(root_path),
    )


def _root(path: str) -> str:
    """Return a path with a slash before it and none behind; empty for the root."""
    steps = path.strip("/").split("/")
    if steps != [""] and not all(_STEP.fullmatch(step) and step.strip(".") for step in steps):
        raise ValueError(f"--root-path {path!r} is no path. Give one such as /photos: letters, digits, -, _, . and ~.")
    return "/".join(["", *steps]).rstrip("/")


def _address(host: str) -> IPv4Address | IPv6Address:
    """Return an IP address. A name counts as one that is neither this machine nor everything."""
    try:
        return ip_address(host)
    except ValueError:
        return ip_address("192.0.2.1")


def _key(file: Path) -> str:
    key = file.read_text(encoding="utf-8").strip()
    if len(key) < _SHORTEST_KEY or not key.isascii() or any(letter.isspace() for letter in key):
        raise ValueError(f"{file} holds no key: one line of at least {_SHORTEST_KEY} ASCII letters, no spaces.")
    return key
