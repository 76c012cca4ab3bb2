"""A search that a running service answers, and all that makes it not answer."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foveal.cli.main import main
from foveal.search import Query, Searcher
from foveal.search.server import FILE, Server, UnansweredError, announced, running_server

uvicorn = pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def served(searcher):
    """A real service over the index of forty pictures, that tells of itself."""
    from foveal.serving import create_app, listen
    from foveal.serving.server import build_server

    with listen("127.0.0.1", 0) as listener:
        server = build_server(create_app(searcher, searcher.encoder))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        told = Server("127.0.0.1", listener.getsockname()[1], "starter")
        with announced(searcher._store.name, told):
            yield told
        server.should_exit = True
        thread.join(10)


def test_its_hits_are_those_of_a_search_here(served, searcher, jpeg):
    index = searcher._store.name
    assert running_server(index) == running_server(index, "starter") == served
    requests = [
        {"text": "a red square, and a dog", "k": 3, "mode": "late"},
        {"text": "a cat", "exclude": "a dog", "where": "width = 48", "k": 2},
        {"text": "", "image": jpeg(7), "box": (0.0, 0.0, 0.5, 0.5), "k": 4},
    ]
    for request, hits in zip(requests, served.search(requests), strict=True):
        expected = searcher.search_many([Query(**request)])[0]
        assert [hit.path for hit in hits] == [hit.path for hit in expected]
        for hit, other in zip(hits, expected, strict=True):
            assert hit.score == pytest.approx(other.score, abs=1e-3)
            assert [box.phrase for box in hit.boxes] == [box.phrase for box in other.boxes]
            assert hit.similarities == ((other.similarities[0][0], pytest.approx(other.similarities[0][1], abs=1e-4)),)
    hit = served.search(requests[:1])[0][0]
    assert served.thumbnail(hit.id) == searcher.thumbnail(hit.id)


def test_what_is_wrong_or_beyond_the_service_is_no_answer(served):
    for request in (
        {"text": "a", "where": "wide > 3"},
        {"text": " "},
        {"text": "", "image": b"no picture"},
        {"text": "a", "k": 100_000},  # the service gives fewer, an index as many as are asked for
    ):
        with pytest.raises(UnansweredError, match="status 4"):
            served.search([request])
    with pytest.raises(UnansweredError):
        served.thumbnail("0" * 24)


def test_the_command_asks_it_and_loads_no_model(served, searcher, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(Searcher, "open", None)
    out = tmp_path / "hits.html"
    assert main(["search", searcher._store.name, "a red square", "-k", "2", "--out", str(out)]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if line.rstrip().endswith(".jpg")]) == 2
    assert "data:image/jpeg" in out.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        main(["search", searcher._store.name, "a red square", "--no-server"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "wide > 3"], "The filter is refused at character 1"),
        (["--image", "broken.jpg"], "Picture broken.jpg cannot be read"),
        (["--image", "nowhere.jpg"], "Picture nowhere.jpg cannot be read"),
    ],
)
def test_the_command_says_the_same_of_what_is_wrong_whether_a_service_runs_or_not(
    served, searcher, capsys, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.setattr(Searcher, "open", lambda *_, **__: searcher)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    command = ["search", str(searcher._store.name), "a red square", *arguments]
    lines = []
    for more in ([], ["--no-server"]):
        assert main([*command, *more]) == 2
        lines.append(capsys.readouterr().err)
    assert message in lines[0]
    assert lines[0] == lines[1]


IMPORTED = """
import sys
from foveal.cli.main import main
main(["search", sys.argv[1], "a red square", "-k", "1"])
print(*sorted({"lancedb", "torch", "transformers"} & set(sys.modules)))
"""


def test_a_process_that_asks_imports_neither_torch_nor_a_vector_store(served, searcher):
    command = [sys.executable, "-c", IMPORTED, searcher._store.name]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == ""


def test_one_server_tells_and_a_note_that_nobody_holds_is_none(tmp_path):
    one, other = Server("127.0.0.1", 1, "starter"), Server("127.0.0.1", 2, "starter")
    with announced(tmp_path, one):
        with announced(tmp_path, other):
            assert running_server(tmp_path) == one
        assert running_server(tmp_path) == one
        assert running_server(tmp_path, "large") is None
    assert running_server(tmp_path) is None
    assert not (tmp_path / FILE).exists()
    (tmp_path / FILE).write_text(json.dumps({"host": "127.0.0.1", "port": 1, "model": "starter"}))  # of a killed one
    assert running_server(tmp_path) is None


@pytest.mark.parametrize("server", [None, Server("0.0.0.0", 1, "starter"), Server("192.168.0.7", 1, "starter")])
def test_who_asks_for_a_key_or_serves_other_machines_is_not_told_of(tmp_path, server):
    with announced(tmp_path, server):
        assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    "note",
    ["", "[]", "{}", '{"host": "10.0.0.1", "port": 1, "model": "a"}', '{"host": "::1", "port": "1", "model": "a"}'],
)
def test_a_note_that_is_none_is_passed_over(tmp_path, note):
    with announced(tmp_path, Server("127.0.0.1", 1, "a")):
        (tmp_path / FILE).write_text(note)
        assert running_server(tmp_path) is None


def test_nothing_is_told_of_where_there_is_no_folder(tmp_path):
    with announced(tmp_path / "gone", Server("127.0.0.1", 1, "a")), announced("s3://bucket/a", Server("::1", 1, "a")):
        assert running_server(tmp_path / "gone") is running_server("s3://bucket/a") is None


@pytest.mark.parametrize("body", [b"", b"null", b"<html>", b'{"hits": 3}', b'{"hits": [{"id": "a"}]}'])
def test_an_answer_of_another_kind_is_no_answer(body):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        with pytest.raises(UnansweredError, match="none of a search"):
            Server("127.0.0.1", service.server_address[1], "a").search([{"text": "a"}])
        service.shutdown()


def test_a_server_that_is_gone_or_busy_is_no_answer():
    class Busy(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(503)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        server = Server("127.0.0.1", service.server_address[1], "a")
        with pytest.raises(UnansweredError, match="503"):
            server.search([{"text": "a"}])
        service.shutdown()
    with pytest.raises(UnansweredError):
        server.search([{"text": "a"}])
