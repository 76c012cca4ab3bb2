"""A searcher and an encoder without a model or an index, and pictures of all sorts."""

import hashlib
import threading
import time
from dataclasses import dataclass, replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from foveal.serving import Batching, Limits, Settings, create_app, listen, server
from foveal.types import Hit, PhraseBox

SMALL = Limits(bytes=200_000, pixels=500_000, inputs=8, characters=200, results=50, requests=8, body_seconds=0.5)

BRISK = replace(  # for a real server, where a client's turn is soon over
    SMALL,
    requests=256,
    head_seconds=0.3,
    body_seconds=0.4,
    unread_seconds=0.3,
    idle_seconds=0.6,
    linger_seconds=0.3,
)


def encoded(kind="PNG", size=(40, 24), color=(200, 30, 30), **options):
    content = BytesIO()
    Image.new("RGB", size, color).save(content, kind, **options)
    return content.getvalue()


@dataclass(frozen=True)
class Found:
    phrase: str
    box: tuple
    similarity: float
    heat: np.ndarray


class FakeEncoder:
    """Embeds by content: the same for the same input, whatever its company. A black picture is its poison."""

    def __init__(self):
        self.tokenizer = SimpleNamespace(count=lambda texts: [len(text.split()) + 2 for text in texts])
        self.batches = []
        self.threads = set()

    def text_kinds(self, texts):
        return ["long_caption" if len(text.split()) > 60 else "caption" for text in texts]

    def encode_texts(self, texts, kind="caption"):
        self.batches.append(len(texts))
        self.threads.add(threading.current_thread().name)
        return np.stack([row(f"{kind}:{text}".encode()) for text in texts])

    def encode_images(self, pictures):
        self.batches.append(len(pictures))
        for picture in pictures:
            if picture.convert("L").getextrema() == (0, 0):
                raise ValueError("Picture cannot be read: it is black.")
        return np.stack([row(picture.convert("RGB").tobytes()) for picture in pictures])


def row(content):
    values = np.frombuffer(hashlib.sha256(content).digest(), dtype=np.uint8).astype(np.float32) - 128
    return values / np.linalg.norm(values)


class FakeSearcher:
    """Three pictures. Answers say what was asked."""

    model_name = "fake"
    count = 3

    def __init__(self, encoder):
        self.encoder = encoder
        self.asked = []
        self.files = {"a1": encoded(), "b2": encoded("TIFF"), "c3": encoded("JPEG", (1200, 800))}
        self.gate = None

    def search_many(self, queries):
        if self.gate is not None:
            self.gate.wait(10)
        self.asked.append(list(queries))
        if any("crash" in query.text for query in queries):
            raise RuntimeError("the model fell over at /secret/path")
        return [
            [
                Hit(name, f"{name}.png", 3.0 - at, 0.9, (PhraseBox(query.text, (0.1, 0.2, 0.5, 0.9), 0.4),), 40, 24)
                for at, name in enumerate(self.files)
            ][: query.k]
            for query in queries
        ]

    def similar(self, picture, k):
        if isinstance(picture, str) and picture not in self.files:
            raise ValueError(f"No picture '{picture}'.")
        return [Hit(name, f"{name}.png", 1.0, 0.5) for name in self.files if name != picture][:k]

    def picture(self, name):
        if name not in self.files:
            raise ValueError(f"No picture '{name}'.")
        return self.files[name]

    def thumbnail(self, name):
        self.picture(name)
        return encoded("JPEG", (16, 16))

    def explain(self, hit, phrases):
        return [Found(phrase, (0.0, 0.0, 0.5, 0.5), 0.3, np.array([[0.0, 1.0], [0.25, 0.5]])) for phrase in phrases]


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def searcher(encoder):
    return FakeSearcher(encoder)


@pytest.fixture
def serve(searcher, encoder):
    """Clients of apps with these settings; they stop when the test does."""
    clients = []

    def start(**changes):
        changes = {"limits": SMALL, "batching": Batching(wait_seconds=0.001)} | changes
        client = TestClient(create_app(searcher, encoder, Settings(**changes)), raise_server_exceptions=False)
        clients.append(client.__enter__())
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def run(searcher, encoder):
    """Addresses of real servers with these settings, and the servers themselves; they stop when the test does."""
    running = []

    def start(host="127.0.0.1", on=None, **changes):
        on = on or listen(host, 0)
        address = on.getsockname()[:2]
        made = server.build_server(create_app(searcher, encoder, Settings(**{"limits": BRISK} | changes)))
        thread = threading.Thread(target=made.run, args=([on],))
        thread.start()
        running.append((made, thread))
        while not made.started:
            time.sleep(0.01)
        return address, made

    yield start
    for made, thread in running:
        made.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def client(serve):
    return serve()
