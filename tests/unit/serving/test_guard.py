"""Limits on whole requests, and a real server on a socket where only that shows the truth."""

import asyncio
import http.client
import json
import socket
import threading
import time

import pytest

from foveal.serving import Limits, create_app, listen, server
from foveal.serving.guard import Guard
from foveal.serving.settings import Settings

from .conftest import SMALL

KEY = "0123456789abcdef"


def error(answer):
    """The line that a refused request was told."""
    message = answer.json()["error"]
    assert message["code"] == answer.status_code
    assert "\n" not in message["message"]
    return message["message"]


def test_too_large_a_body_is_refused_whether_or_not_it_says_so(client):
    content = b" " * (SMALL.bytes + 1)
    headers = {"content-type": "application/json"}
    for sent in (content, iter([content[:1000], content[1000:]]), b" " * (5 * SMALL.bytes)):
        answer = client.post("/search", content=sent, headers=headers)
        assert answer.status_code == 413
        assert str(SMALL.bytes) in error(answer)


def test_every_answer_carries_the_headers_that_keep_the_page_to_itself(client):
    for answer in (client.get("/"), client.get("/nowhere"), client.post("/search", json={}), client.get("/health")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_other_names_are_not_answered_to(serve):
    client = serve(hosts=("localhost", "[::1]"))
    for host in ("localhost", "localhost:8000", "LOCALHOST", "[::1]:8000"):
        assert client.get("/health", headers={"host": host}).status_code == 200
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "[::1].evil.example", ""):
        assert client.get("/health", headers={"host": host}).status_code == 421


def test_a_key_is_asked_for_everywhere_but_at_the_door(serve):
    client = serve(api_key=KEY)
    for path in ("/", "/docs", "/health", "/page/page.js", "/openapi.json"):
        assert client.get(path).status_code == 200
    for path in ("/metrics", "/pictures/a1", "/thumbnails/a1", "/nowhere"):
        assert client.get(path).status_code == 401
    for wrong in ({}, {"authorization": "Bearer " + KEY[:-1]}, {"authorization": "Bearer é"}, {"x-api-key": ""}):
        answer = client.post("/search", json={"text": "a"}, headers={k: v.encode() for k, v in wrong.items()})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for right in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
        assert client.post("/search", json={"text": "a"}, headers=right).status_code == 200


def served(limits, received):
    """What a guarded app that echoes its body makes of these messages. Gives status and body."""

    async def echo(scope, receive, send):
        message = await receive()
        assert not message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    sent = []

    async def send(message):
        sent.append(message)

    guard = Guard(echo, Settings(limits=limits))
    scope = {"type": "http", "path": "/search", "method": "POST", "headers": []}
    asyncio.run(guard(scope, received, send))
    assert (guard._requests, guard._buffered) == (0, 0)
    return (sent[0]["status"], sent[1]["body"]) if sent else None


def chunks(*contents, pause=0.0, last=True):
    left = [{"type": "http.request", "body": content, "more_body": True} for content in contents]
    left[-1]["more_body"] = not last

    async def receive():
        await asyncio.sleep(pause)
        return left.pop(0) if left else {"type": "http.disconnect"}

    return receive


def test_a_body_arrives_whole_and_in_order():
    assert served(SMALL, chunks(b"one ", b"", b"two")) == (200, b"one two")


def test_a_slow_body_is_refused_in_time():
    start = time.perf_counter()
    assert served(SMALL, chunks(*[b"x"] * 100, pause=0.1))[0] == 408
    assert time.perf_counter() - start < 3


def test_a_client_that_leaves_half_way_is_forgotten():
    assert served(SMALL, chunks(b"half", last=False)) is None


def test_all_bodies_together_are_bounded():
    assert served(Limits(buffered_bytes=5), chunks(b"1234", b"56"))[0] == 429


def test_too_many_requests_at_once_are_told_to_come_back(serve, searcher):
    searcher.gate = threading.Event()
    client = serve(limits=Limits(requests=2))
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post("/search", json={"text": "a"}))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while len(answers) < 2:
        time.sleep(0.01)
    searcher.gate.set()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)


@pytest.fixture
def address(searcher, encoder, monkeypatch):
    """Host and port of a real server, which is stopped at the end."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    on = listen("127.0.0.1", 0)
    made = server.made(create_app(searcher, encoder, Settings(limits=SMALL)))
    thread = threading.Thread(target=made.run, args=([on],))
    thread.start()
    while not made.started:
        time.sleep(0.01)
    yield on.getsockname()
    made.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def test_headers_that_never_end_close_the_connection(address):
    with socket.create_connection(address) as connection:
        connection.settimeout(5)
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\n")
        assert connection.recv(100) == b""


def test_a_connection_may_be_kept_longer_than_headers_may_take(address):
    connection = http.client.HTTPConnection(*address, timeout=5)
    for _ in range(2):
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read())["status"] == "ok"
        time.sleep(0.5)
    connection.close()


def test_a_trickling_body_is_told_so(address):
    with socket.create_connection(address) as connection:
        connection.settimeout(5)
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_what_is_no_http_is_refused(address):
    with socket.create_connection(address) as connection:
        connection.settimeout(5)
        connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_a_large_body_is_refused_in_a_way_the_client_hears(address):
    connection = http.client.HTTPConnection(*address, timeout=5)
    connection.request("POST", "/search", body=bytes(3 * SMALL.bytes), headers={"Content-Type": "application/json"})
    assert connection.getresponse().status == 413
    connection.close()


def test_stopping_answers_what_has_begun(searcher, encoder):
    searcher.gate = threading.Event()
    on = listen("127.0.0.1", 0)
    made = server.made(create_app(searcher, encoder))
    thread = threading.Thread(target=made.run, args=([on],))
    thread.start()
    while not made.started:
        time.sleep(0.01)
    connection = http.client.HTTPConnection(*on.getsockname(), timeout=10)
    connection.request("POST", "/search", body='{"text": "a"}', headers={"Content-Type": "application/json"})
    while made.config.loaded_app is None or not made.server_state.tasks:
        time.sleep(0.01)
    made.should_exit = True
    time.sleep(0.2)
    assert thread.is_alive()
    searcher.gate.set()
    assert connection.getresponse().status == 200
    connection.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_taken_port_is_one_line():
    with listen("127.0.0.1", 0) as on, pytest.raises(ValueError, match="Choose another --host or --port"):
        listen("127.0.0.1", on.getsockname()[1])
