"""A running `foveal serve` on an index, which answers a search without another process loading the model.

It leaves a note of its port in the index's folder, and holds the note's lock as long as it lives: a note that nobody
holds is of a server that is gone. The note names a port of this machine alone, never another host.
"""

import base64
import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ..locking import try_lock
from ..types import Hit, PhraseBox
from .lock import is_remote

FILE = "server.json"
LOOPBACK = ("127.0.0.1", "::1")
_SECONDS = 60  # that an answer may take


class UnansweredError(Exception):
    """The server did not answer, or not this: the index is searched without it."""


@dataclass(frozen=True)
class Server:
    """A service on this machine over one index.

    Attributes:
        host: One of `LOOPBACK`.
        port: Where it listens.
        model: Name that its model was asked for by.
    """

    host: str
    port: int
    model: str

    def search(self, requests: Sequence[dict[str, Any]]) -> list[list[Hit]]:
        """Return the hits of each request, in the words of `POST /search`, with the picture as bytes.

        Raises:
            UnansweredError: If one is refused, or there is no answer. A search without the server says why, in the
                words that its caller knows.
        """
        answers = []
        for request in requests:
            image = request.get("image")
            encoded = {**request, "image": None if image is None else base64.b64encode(image).decode()}
            content = self._ask("POST", "/search", json.dumps(encoded).encode())
            try:
                answers.append([_hit(fields) for fields in json.loads(content)["hits"]])
            except (KeyError, TypeError, ValueError) as error:
                raise UnansweredError("the answer is none of a search") from error
        return answers

    def thumbnail(self, picture_id: str) -> bytes:
        """Return a small JPEG of a picture.

        Raises:
            UnansweredError: If there is none.
        """
        return self._ask("GET", f"/thumbnails/{picture_id}")

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_SECONDS)
        try:
            connection.request(method, path, content, {"content-type": "application/json"})
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnansweredError(str(error)) from error
        finally:
            connection.close()
        if status != HTTPStatus.OK:
            raise UnansweredError(f"status {status}")
        return body


@contextmanager
def announced(index: str | Path, server: Server | None) -> Iterator[None]:
    """Tell other processes of a server over an index, as long as the context lasts; one of several tells.

    Nothing is told in an object store, where nothing can be written, and of a server that other machines reach too.

    Args:
        index: Its folder.
        server: The server. None: it is told of to nobody, as it asks for a key.
    """
    path = Path(index) / FILE
    if server is None or server.host not in LOOPBACK or is_remote(index):
        yield
        return
    try:
        note = path.open("a+", encoding="utf-8")
    except OSError:  # a disk that is only read
        yield
        return
    with note:
        if not try_lock(note):  # another server tells of itself
            yield
            return
        note.truncate(0)
        note.write(json.dumps({"host": server.host, "port": server.port, "model": server.model}))
        note.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running_server(index: str | Path, model: str | None = None) -> Server | None:
    """Return the server that runs over an index on this machine; None if there is none.

    Args:
        index: Its folder.
        model: Name of the model that has to answer. None: the index's.
    """
    path = Path(index) / FILE
    if is_remote(index) or not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8") as note:
            if try_lock(note, shared=True):
                return None
            server = Server(**json.load(note))  # it lives
    except (OSError, TypeError, ValueError):
        return None
    fits = server.host in LOOPBACK and isinstance(server.port, int) and model in (None, server.model)
    return server if fits else None


def _hit(fields: dict[str, Any]) -> Hit:
    boxes = tuple(PhraseBox(box["phrase"], tuple(box["box"]), box["similarity"]) for box in fields["boxes"])
    similarities = tuple((name, value) for name, value in fields["similarities"])
    return Hit(**{**fields, "boxes": boxes, "similarities": similarities})
