"""Who may ask, and how much: names, keys, pages of other origins, bodies, answers."""

import asyncio
import threading
import time

import pytest

from foveal.serving import Limits, guard
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
    bad = (f"Bearer {KEY[:-1]}", "Bearer é", f"Basic {KEY}", f"Bearer{KEY}", KEY, "Bearer", f"Bearer {KEY} {KEY}")
    for wrong in ({}, {"x-api-key": ""}, *({"authorization": value} for value in bad)):
        answer = client.post("/search", json={"text": "a"}, headers={k: v.encode() for k, v in wrong.items()})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    good = (f"Bearer {KEY}", f"bearer {KEY}", f"BEARER {KEY}", f"bEaReR    {KEY}", f"Bearer {KEY}  ")
    for right in ({"x-api-key": KEY}, *({"authorization": value} for value in good)):
        assert client.post("/search", json={"text": "a"}, headers=right).status_code == 200


def test_keys_are_compared_in_constant_time(serve, monkeypatch):
    compared = []
    monkeypatch.setattr(guard.hmac, "compare_digest", lambda *both: compared.append(both) or False)
    for headers in ({}, {"x-api-key": "a"}, {"authorization": f"Bearer {KEY}"}):
        assert serve(api_key=KEY).get("/metrics", headers=headers).status_code == 401
    assert compared == [(given, KEY.encode()) for given in (b"", b"a", KEY.encode())]


@pytest.mark.parametrize("name", ["evil.example", "photos.example.com"])
def test_a_refused_name_is_told_the_flag_that_adds_it(serve, name):
    answer = serve(hosts=("localhost",)).get("/", headers={"host": f"{name}:8000"})
    assert answer.status_code == 421
    assert f"--name {name}" in error(answer)


def test_a_refused_name_that_is_no_name_is_not_repeated(serve):
    answer = serve(hosts=("localhost",)).get("/", headers={"host": "<script> x"})
    assert "script" not in error(answer)
    assert "--name NAME" in error(answer)


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "http://evil.example:8000"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://localhost"},  # another port
    {"origin": "http://localhost:3000"},
    {"origin": "https://localhost:8000"},  # another scheme
    {"origin": "http://127.0.0.1:8000"},  # another name of the same machine is another origin
    {"origin": "http://localhost:8000.evil.example"},
    {"origin": "http://evil.example?http://localhost:8000"},
    {"origin": "file://"},
    {"origin": "chrome-extension://localhost:8000"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "Cross-Site"},
    {"sec-fetch-site": "cross-site", "origin": "http://localhost:8000"},
    {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_other_origins_may_not_ask(serve, searcher, headers):
    client = serve(hosts=("localhost", "127.0.0.1"))
    headers = {"host": "localhost:8000", **headers}
    form = {"data": {"text": "red"}, "files": {"image": ("a.png", b"", "image/png")}}
    for answer in (
        client.post("/search", headers=headers, **form),
        client.post("/search", headers=headers, json={"text": "a"}),
        client.post("/rank", headers=headers, json={"texts": ["a"], "pictures": ["x"]}),
        client.post("/health", headers=headers),
        client.get("/pictures/a1?side=4096", headers=headers),
        client.head("/pictures/a1", headers=headers),
        client.get("/thumbnails/a1", headers=headers),
        client.get("/metrics", headers=headers),
        client.request("OPTIONS", "/search", headers=headers),
    ):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert "\n" not in answer.text
    assert searcher.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8000"},
        {"origin": "HTTP://LOCALHOST:8000"},
        {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"host": "localhost", "origin": "http://localhost"},
        {"host": "[::1]:8000", "origin": "http://[::1]:8000"},
        {"host": "photos.example.org", "origin": "https://photos.example.org"},  # a proxy speaks TLS
        {"host": "photos.example.org", "origin": "https://photos.example.org", "x-forwarded-proto": "https"},
        {"origin": "https://localhost:8000", "x-forwarded-proto": "https,http"},
        {"origin": "https://photos.example.org"},  # a proxy that replaces the Host header
    ],
    ids=str,
)
def test_its_own_page_and_programs_may_ask(serve, headers):
    client = serve(hosts=("localhost", "[::1]", "photos.example.org"), origins=("https://photos.example.org",))
    headers = {"host": "localhost:8000", **headers}
    assert client.post("/search", headers=headers, json={"text": "a"}).status_code == 200
    assert client.get("/thumbnails/a1", headers=headers).status_code == 200


def test_a_scheme_that_the_proxy_did_not_speak_is_another_origin(serve):
    headers = {"host": "a.example", "origin": "http://a.example", "x-forwarded-proto": "https"}
    assert serve().post("/search", headers=headers, json={"text": "a"}).status_code == 403


def test_links_from_elsewhere_lead_to_the_page(serve):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    client = serve()
    for path in ("/", "/docs", "/page/page.js", "/openapi.json", "/health"):
        assert client.get(path, headers=headers).status_code == 200


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

    door = Guard(echo, Settings(limits=limits))
    scope = {"type": "http", "path": "/search", "method": "POST", "headers": []}
    asyncio.run(door(scope, received, send))
    assert (len(door._working), door.budget.held) == (0, 0)
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


def answered(limits, count, app):
    """What `count` clients that read nothing until all have asked get of an app, and what its guard holds meanwhile."""
    door = Guard(app, Settings(limits=limits))
    scope = {"type": "http", "path": "/x", "method": "GET", "headers": []}

    async def ask(reading, sent):
        async def send(message):
            sent.append(message)
            await reading.wait()

        await door(dict(scope), chunks(b""), send)

    async def all_of_them():
        reading, sent = asyncio.Event(), [[] for _ in range(count)]
        asking = []
        for one in sent:
            asking.append(asyncio.create_task(ask(reading, one)))
            await asyncio.sleep(0.01)
        held = door.budget.held
        reading.set()
        await asyncio.gather(*asking)
        return sent, held

    sent, held = asyncio.run(all_of_them())
    assert (len(door._working), door.budget.held) == (0, 0)
    return sent, held


def large(size):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(size)})

    return app


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072, 1_000_001])
def test_answers_go_out_in_pieces_and_whole(size):
    [[start, *pieces]], held = answered(Limits(), 1, large(size))
    assert held == size
    assert start["status"] == 200
    assert max(len(piece["body"]) for piece in pieces) <= 1 << 16
    assert b"".join(piece["body"] for piece in pieces) == bytes(size)
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]


def test_answers_that_are_not_read_are_counted_and_bounded():
    sent, held = answered(Limits(buffered_bytes=2_500_000), 4, large(1_000_000))
    assert held == 2_000_000
    assert sorted(messages[0]["status"] for messages in sent) == [200, 200, 429, 429]
    assert all((b"retry-after", b"2") in m[0]["headers"] for m in sent if m[0]["status"] == 429)
    assert all(len(m) == 2 for m in sent if m[0]["status"] == 429)


def test_slow_readers_leave_room_for_other_requests():
    sent, _ = answered(Limits(requests=1), 3, large(10))
    assert [messages[0]["status"] for messages in sent] == [200] * 3


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
    assert client.get("/health").status_code == 200
    searcher.gate.set()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
