"""What the service allows: limits on what comes in, how requests are gathered into batches, who may ask."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

MEBIBYTE = 1 << 20
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_SHORTEST_KEY = 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused, so that no request can take the memory or the time of all others.

    Attributes:
        bytes: Of one request's body.
        pixels: Of one picture, read from its header before anything is decoded.
        inputs: Texts and pictures in one request.
        characters: Of one text.
        results: Hits of one search.
        pictures: Decoded and held at once, of all requests together. One takes 9 MB at most.
        requests: Answered at once; further ones are told to come back.
        buffered_bytes: Of all bodies held at once.
        body_seconds: That a client may take to send its request.
        answer_seconds: That an answer may take, waiting included.
    """

    bytes: int = 16 * MEBIBYTE
    pixels: int = 50_000_000
    inputs: int = 128
    characters: int = 10_000
    results: int = 200
    pictures: int = 128
    requests: int = 256
    buffered_bytes: int = 256 * MEBIBYTE
    body_seconds: float = 15.0
    answer_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How requests that arrive together share one pass through the model.

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
        image_hosts: Hosts (with port where it is not the usual one) from which pictures named by URL may be
            fetched. Empty: none are.
    """

    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    api_key: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    image_hosts: tuple[str, ...] = ()


def settings_for(
    host: str,
    key_file: Path | None,
    open_to_all: bool,
    names: Sequence[str],
    image_hosts: Sequence[str],
    batching: Batching,
) -> Settings:
    """Settings that are safe for where the service listens.

    Args:
        host: Address that it listens on.
        key_file: Holds the key. None: there is none.
        open_to_all: Without a key, others than this machine may ask all the same.
        names: Names that it answers to beside its address.
        image_hosts: From which pictures may be fetched.
        batching: How requests share passes through the model.

    Raises:
        ValueError: If it would be open to a network without a key, or the key is no good.
    """
    bare = host.strip("[]")
    near = bare == "localhost" or _address(bare).is_loopback
    key = None if key_file is None else _key(key_file)
    if not near and key is None and not open_to_all:
        raise ValueError(f"--host {host} opens the index to the network. Give --key-file FILE, or --open to allow it.")
    everywhere = not near and _address(bare).is_unspecified
    own = f"[{bare}]" if ":" in bare else bare.lower()
    known = () if everywhere and not names else tuple(sorted({*_LOOPBACK, own, *map(str.lower, names)}))
    return Settings(batching=batching, api_key=key, hosts=known, image_hosts=tuple(map(str.lower, image_hosts)))


def _address(host: str) -> IPv4Address | IPv6Address:
    """A name counts as an address that is neither this machine nor everything."""
    try:
        return ip_address(host)
    except ValueError:
        return ip_address("192.0.2.1")


def _key(file: Path) -> str:
    key = file.read_text(encoding="utf-8").strip()
    if len(key) < _SHORTEST_KEY or not key.isascii() or any(letter.isspace() for letter in key):
        raise ValueError(f"{file} holds no key: one line of at least {_SHORTEST_KEY} ASCII letters, no spaces.")
    return key
