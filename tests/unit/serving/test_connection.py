"""A real server on a socket: what clients may draw out ends, and what they are told they can read."""

import gc
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from foveal.serving import create_app, listen, server

from .conftest import BRISK, encoded

KEY = "0123456789abcdef"
POST = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def spoken(address, content, more=b"", patience=8.0):
    """All that a server says to this until it closes. Meanwhile a client goes on sending, a little at a time."""
    said = bytearray()
    with socket.create_connection(address, timeout=0.05) as connection:
        connection.sendall(content)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            try:
                if more:
                    connection.send(more)
            except OSError:
                return bytes(said)
            try:
                received = connection.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                return bytes(said)
            if not received and not more:
                return bytes(said)
            said += received
    pytest.fail(f"still open after {patience} s, having said {bytes(said[:200])}")


def statuses(said):
    """Of all answers in what a server said."""
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


def all_at_once(address, cases):
    """What a server answers to each of many clients at the same time."""
    with ThreadPoolExecutor(len(cases)) as clients:
        said = clients.map(lambda case: spoken(address, *case), cases)
    return {
        case: [answer for answer in statuses(answers) if answer != 100]
        for case, answers in zip(cases, said, strict=True)
    }


# What a client sends, and what it is answered if it sends no more.
ODD = {
    b"": [],
    b"P": [],
    b"\r": [400],
    POST: [],
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": [400],
    POST + b"Content-Length: 1000\r\n\r\n{": [408],
    POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n": [408],
    POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: ": [408],
    POST + b"Transfer-Encoding: chunked\r\n\r\n1;extension=": [408],
    POST + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n": [408],
    POST + b"Content-Length: 9999999\r\n\r\n": [413],
    POST.replace(b"localhost", b"evil.example") + b"Content-Length: 9\r\n\r\n": [421],
    POST + b"Origin: null\r\nContent-Length: 9\r\n\r\n": [403],
    POST + b"Content-Length: 3\r\n\r\n{}\n": [400],
    GET: [200],
    GET + b"GET /health HTTP/1.1\r\nHost:": [200],
    GET + GET + POST + b"Content-Length: 1000\r\n\r\n": [200, 200, 408],
    GET.replace(b"1.1", b"1.0"): [200],
}


def test_every_connection_ends_whatever_a_client_does(run):
    address, made = run(hosts=("localhost",))
    assert all_at_once(address, [(content,) for content in ODD]) == {(content,): ODD[content] for content in ODD}
    for more in (b"x", b"xxxx\r\n"):
        all_at_once(address, [(content, more) for content in ODD])
    assert until(lambda: not made.server_state.connections and not made.server_state.tasks)


@pytest.mark.parametrize("more", [b"", b"x"])
def test_a_refused_client_without_a_key_holds_nothing(run, more):
    """One byte after a 401 stopped every clock, and 80 such clients a server."""
    address, made = run(api_key=KEY)
    said = spoken(address, POST + b"Content-Length: 9\r\n\r\n", more)
    assert statuses(said) == [401]
    assert b"connection: close" in said
    assert KEY.encode() not in said
    assert until(lambda: not made.server_state.tasks)


def test_a_refusal_is_read_by_a_client_that_is_still_sending(run):
    address, _ = run(limits=replace(BRISK, linger_seconds=5.0))
    for _ in range(2):
        connection = http.client.HTTPConnection(*address, timeout=5)
        connection.request("POST", "/search", body=bytes(5_000_000), headers={"Content-Type": "application/json"})
        assert connection.getresponse().status == 413
        connection.close()


def test_a_connection_is_kept_between_requests(run):
    address, made = run(limits=replace(BRISK, idle_seconds=30.0))
    connection = http.client.HTTPConnection(*address, timeout=5)
    for _ in range(3):
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read())["status"] == "ok"
        time.sleep(0.4)  # longer than a head may take
    assert made.server_state.total_requests == 3
    assert len(made.server_state.connections) == 1
    connection.close()


def test_requests_sent_together_are_answered_in_order(run):
    address, _ = run()
    ask = b"GET /pictures/%b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    said = spoken(address, ask % b"a1" + ask % b"zz" + ask % b"c3" + ask % b"a1")
    assert statuses(said) == [200, 404, 200, 200]


UNCLEAR = [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\ncontent-length: 0",
    b"Content-Length: 4\r\nContent-Length: 4",
    b"Content-Length: 4\r\nContent-Length: 5",
    b"Content-Length: 4, 4",
    b"Content-Length: +4",
    b"Content-Length: 0x4",
    b"Content-Length: -1",
    b"Content-Length: ",
    b"Content-Length : 4",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: xchunked",
]


def test_a_request_whose_end_may_be_read_in_two_ways_is_refused(run):
    address, _ = run()
    answers = all_at_once(address, [(POST + framing + b"\r\n\r\n0\r\n\r\n" + GET,) for framing in UNCLEAR])
    assert {case: statuses for case, statuses in answers.items() if statuses != [400]} == {}


def test_what_is_no_http_is_refused_in_json(run):
    address, _ = run()
    head, _, body = spoken(address, b"nonsense\r\n\r\n").partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == 400


def test_what_is_no_http_or_too_much_of_it_is_refused(run):
    address, _ = run(hosts=("localhost",))
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    cases = {
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000: 400,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 3_000 + b"\r\n": 400,
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n": 400,
        chunked + b"1;" + b"x" * 300_000: 400,
        chunked + b"0\r\n" + b"X: y\r\n" * 60_000: 400,
        chunked + b"ZZ\r\n": 400,
        chunked + b"1\r\nx\r\n" * 20_000: 400,
        b"GET / HTTP/1.1\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n": 400,
        b"GET / HTTP/1.0\r\n\r\n": 421,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 421,
    }
    answers = all_at_once(address, [(content,) for content in cases])
    assert {content[:80]: said for (content,), said in answers.items() if said != [cases[content]]} == {}


def test_other_methods_are_refused_and_the_connection_goes_on(run):
    address, _ = run()
    methods = (b"get", b"Post", b"BREW", b"OPTIONS", b"TRACE", b"CONNECT")
    answers = all_at_once(address, [(GET.replace(b"GET", method) + GET,) for method in methods])
    assert set(map(tuple, answers.values())) == {(405, 200)}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_answers_leave_at_once_on_every_address(run, host):
    """Sockets that asyncio does not know as TCP made every answer on a kept connection wait 44 ms."""
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    address, made = run(host)
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(GET)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        [accepted] = made.server_state.connections
        option = accepted.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert option != 0


@pytest.fixture
def large(searcher, tmp_path):
    """An original of 20 MB on the disk."""
    file = tmp_path / "large.png"
    file.write_bytes(encoded() + bytes(20_000_000))
    searcher.files["large"] = file
    return file


def asked(address, path):
    connection = socket.create_connection(address, timeout=5)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def until(holds, patience=8.0):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


def test_an_answer_that_is_not_read_is_given_up(run, large):
    address, made = run()
    with asked(address, "/pictures/large"):
        assert until(lambda: not made.server_state.connections)
        assert until(lambda: not made.server_state.tasks)


def test_an_answer_that_is_read_byte_by_byte_is_given_up(run, large):
    address, made = run()
    with asked(address, "/pictures/large") as connection:
        end = time.monotonic() + 8
        while made.server_state.connections and time.monotonic() < end:
            connection.recv(1)
            time.sleep(0.05)
        assert not made.server_state.connections


def test_an_answer_that_is_read_too_long_is_given_up(run, large):
    address, made = run(limits=replace(BRISK, unread_seconds=30.0, reading_seconds=0.5))
    with asked(address, "/pictures/large"):
        assert until(lambda: not made.server_state.connections)


def test_many_answers_asked_for_at_once_and_never_read_are_given_up(run, searcher):
    searcher.files["a1"] = encoded() + bytes(150_000)
    address, made = run()
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"GET /pictures/a1 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
        assert until(lambda: not made.server_state.connections)


def test_a_patient_client_reads_all_of_a_large_original(run, large):
    address, _ = run()
    connection = http.client.HTTPConnection(*address, timeout=5)
    connection.request("GET", "/pictures/large")
    answer = connection.getresponse()
    read = bytearray()
    while piece := answer.read(1 << 20):
        read += piece
        time.sleep(0.01)
    assert read == large.read_bytes()
    connection.close()


def test_a_client_that_goes_away_costs_no_work(run, searcher):
    searcher.gate = threading.Event()
    address, made = run()
    ask = POST + b'Content-Length: 15\r\n\r\n{"text": "%b"}'
    batcher = made.config.app.state.service.batcher
    with socket.create_connection(address, timeout=5) as first:
        first.sendall(ask % b"one")
        assert until(lambda: batcher.state().busy_seconds > 0)
        with socket.create_connection(address, timeout=5) as second:
            second.sendall(ask % b"two")
            assert until(lambda: batcher.state().queued == 1)
        assert until(lambda: len(made.server_state.tasks) == 1)
        searcher.gate.set()
        assert first.recv(100).startswith(b"HTTP/1.1 200")
    assert until(lambda: batcher.state().queued == 0)
    assert [query.text for queries in searcher.asked for query in queries] == ["one"]


def test_too_many_connections_are_told_so_and_health_stays_reachable(run):
    address, _ = run(limits=replace(BRISK, connections=8, head_seconds=30.0))
    open_ones = [socket.create_connection(address, timeout=5) for _ in range(7)]
    for content, status in ((GET, 200), (GET.replace(b"health", b"metrics"), 503)):
        assert statuses(spoken(address, content))[0] == status
    open_ones.append(socket.create_connection(address, timeout=5))
    with socket.create_connection(address, timeout=5) as beyond:
        assert beyond.recv(100).startswith(b"HTTP/1.1 503")
    for connection in open_ones:
        connection.close()
    assert until(lambda: statuses(spoken(address, GET.replace(b"health", b"metrics")))[0] == 200)


@pytest.mark.parametrize(("files", "least", "most"), [(96, 1, 48), (1_000_000, 1024, 1024), (-1, 1024, 1024)])
def test_connections_take_half_of_the_files_that_may_be_open(monkeypatch, files, least, most):
    monkeypatch.setattr(server.resource, "getrlimit", lambda _: (files, files))
    assert least <= server._room(1024) < most + 1


def test_stopping_answers_what_has_begun(run, searcher):
    searcher.gate = threading.Event()
    address, made = run(limits=replace(BRISK, head_seconds=30.0, idle_seconds=30.0))
    idle = socket.create_connection(address, timeout=5)
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("POST", "/search", body='{"text": "a"}', headers={"Content-Type": "application/json"})
    assert until(lambda: made.server_state.tasks)
    made.should_exit = True
    assert idle.recv(10) == b""
    searcher.gate.set()
    assert connection.getresponse().status == 200
    connection.close()
    idle.close()


STUCK = """
import time
from types import SimpleNamespace
from foveal.serving import create_app, listen, serve

class Stuck:
    model_name, count = "stuck", 1
    search_many = similar = picture = thumbnail = explain = encode_images = lambda *_: None
    encode_texts = lambda *_: time.sleep(60)
    tokenizer = SimpleNamespace(count=None)

on = listen("127.0.0.1", 0)
print(on.getsockname()[1], flush=True)
serve(create_app(Stuck(), Stuck()), on)
"""


def test_being_told_twice_stops_at_once():
    running = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True)
    with running, socket.create_connection(("127.0.0.1", int(running.stdout.readline())), timeout=20) as connection:
        connection.sendall(GET)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.sendall(POST.replace(b"search", b"v1/embeddings") + b'Content-Length: 14\r\n\r\n{"input": "a"}')
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        assert running.wait(20) is not None


def test_a_stopped_server_leaves_no_clock_and_no_connection(searcher, encoder):
    on = listen("127.0.0.1", 0)
    made = server.build_server(create_app(searcher, encoder))
    thread = threading.Thread(target=made.run, args=([on],))
    thread.start()
    assert until(lambda: made.started)
    with socket.create_connection(on.getsockname(), timeout=5) as connection:
        connection.sendall(GET)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        made.should_exit = True
        thread.join(5)  # an idle client does not hold it up
        assert not thread.is_alive()
    gc.collect()
    assert not made.server_state.connections


def test_a_taken_port_is_one_line():
    with listen("127.0.0.1", 0) as on, pytest.raises(ValueError, match="Choose another --host or --port"):
        listen("127.0.0.1", on.getsockname()[1])
