import base64
import gc
import json
import re
import threading
import time
from dataclasses import replace
from errno import ESTALE
from io import BytesIO

import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from foveal.serving import Batching, Limits, create_app
from foveal.serving.app import PAGE
from foveal.serving.service import EncoderProtocol, SearcherProtocol

from .conftest import SMALL, encoded, row
from .test_guard import error

RED = base64.b64encode(encoded()).decode()
BLACK = base64.b64encode(encoded(color=(0, 0, 0))).decode()


def test_the_fakes_are_what_the_service_asks_for(searcher, encoder):
    from foveal.encoder import Encoder as RealEncoder
    from foveal.search import Searcher as RealSearcher

    assert isinstance(searcher, SearcherProtocol)
    assert isinstance(encoder, EncoderProtocol)
    for name in ("count", "model_name", "search_many", "similar", "picture", "thumbnail", "explain"):
        assert hasattr(RealSearcher, name)
    for name in ("encode_texts", "encode_images"):
        assert hasattr(RealEncoder, name)


def test_a_text_finds_hits(client, searcher):
    answer = client.post("/search", json={"text": "a brown bear", "exclude": "a dog", "where": "width > 3", "k": 2})
    assert answer.status_code == 200
    hits = answer.json()["hits"]
    assert [hit["id"] for hit in hits] == ["a1", "b2"]
    assert hits[0] == {
        "id": "a1",
        "path": "a1.png",
        "score": 3.0,
        "confidence": 0.9,
        "boxes": [{"phrase": "a brown bear", "box": [0.1, 0.2, 0.5, 0.9], "similarity": 0.4}],
        "width": 40,
        "height": 24,
        "caption": "",
        "similarities": [],
    }
    asked = searcher.asked[0][0]
    assert (asked.text, asked.exclude, asked.where, asked.k) == ("a brown bear", "a dog", "width > 3", 2)


def test_a_picture_comes_as_base64_or_as_a_form(client, searcher):
    fields = {"text": "red", "box": [0.1, 0.2, 0.5, 0.9], "k": 1}
    as_json = client.post("/search", json={**fields, "image": RED})
    form = {"text": "red", "box": "0.1, 0.2,0.5,0.9", "k": "1"}
    as_form = client.post("/search", data=form, files={"image": ("a.png", encoded(), "image/png")})
    assert as_json.json()["hits"] == as_form.json()["hits"]
    one, other = (asked[0] for asked in searcher.asked)
    assert one.image.tobytes() == other.image.tobytes() == Image.open(BytesIO(encoded())).tobytes()
    assert one.box == other.box == (0.1, 0.2, 0.5, 0.9)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 400, "empty"),
        ({"text": "  "}, 400, "empty"),
        ({"text": "a", "box": [0, 0, 1, 1]}, 400, "needs the picture"),
        ({"image": RED, "box": [0.5, 0, 0.2, 1]}, 400, "is none"),
        ({"image": RED, "box": [0, 0, 2, 1]}, 400, "is none"),
        ({"image": RED, "box": [0, 0, 1]}, 422, "box"),
        ({"image": "?"}, 400, "base64"),
        ({"image": base64.b64encode(b"text").decode()}, 400, "no picture"),
        ({"text": "a", "k": 0}, 422, "k"),
        ({"text": "a", "k": 51}, 413, "50"),
        ({"text": "a", "k": "many"}, 422, "k"),
        ({"text": "a", "mode": "best"}, 422, "mode"),
        ({"text": "a" * 201}, 413, "201"),
        ({"text": "a", "txet": "a"}, 422, "txet"),
        ({"text": "a", "where": "no sql"}, 400, "there is no column 'no'"),
        ({"text": "a", "where": "array_length(range(0, 300000000)) > 1"}, 400, "'array_length' is called"),
        ({"text": "a", "where": "true) OR (true"}, 400, "there is no column 'true'"),
        ({"text": "a", "where": "width = 1 or " * 400}, 422, "4000"),
        ({"text": 3}, 422, "text"),
        ([], 422, ""),
    ],
)
def test_bad_searches_are_one_line(client, body, status, told):
    answer = client.post("/search", json=body)
    assert answer.status_code == status
    assert told in error(answer)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b'{"text": "\\ud800"}', "application/json", 422),
        (b'{"image": "x", "box": [NaN, 0, 1, 1]}', "application/json", 422),
        (b"[" * 100_000, "application/json", 413),
        (b"[" * 1_000, "application/json", 422),
        (b'{"text": "a"}', "text/plain", 415),
        (b'{"text": "a"}', "", 415),
        (b"text=a", "application/x-www-form-urlencoded", 415),
        (b"nonsense", "multipart/form-data; boundary=x", 400),
        (b"nonsense", "multipart/form-data", 400),
    ],
)
def test_broken_bodies_are_one_line(client, content, kind, status):
    answer = client.post("/search", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert error(answer)


@pytest.mark.parametrize("path", ["/explain", "/similar", "/rank", "/v1/embeddings"])
@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"null", b'{"input": NaN}', b"\xff"])
def test_broken_json_is_one_line_everywhere(client, path, content):
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert error(answer)


@pytest.mark.parametrize("value", [b"1", b'"a"', b"{}", b"[]", b"[[", b'"\\\\"', b'{"a":1}'])
@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("/v1/embeddings", b'{"input":[', b"]}"),
        ("/rank", b'{"texts":[', b'],"pictures":["a"]}'),
        ("/explain", b'{"id":"a1","phrases":[', b"]}"),
        ("/search", b'{"text":"a","box":[', b"]}"),
        ("/similar", b'{"image":[', b"]}"),
    ],
)
def test_json_of_a_myriad_of_values_is_refused_before_it_is_read(serve, path, before, after, value):
    """16 MB of `{"input": [1, 1, ...]}` took 20 GB and stopped the service."""
    client = serve(limits=Limits())
    many = before + b",".join([value] * 20_000) + after
    for kind in ("application/json", "text/json", ""):
        answer = client.post(path, content=many, headers={"content-type": kind})
        assert answer.status_code == 413
        assert "values" in error(answer)


def test_texts_may_hold_any_number_of_marks(serve):
    texts = ['a, b: [c] {d} \\ "e", ' * 400] * 128
    answer = serve(limits=Limits(characters=20_000)).post("/v1/embeddings", json={"input": texts})
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 128


def test_a_failure_of_ours_is_500_and_tells_nothing(client, serve):
    answer = client.post("/search", json={"text": "crash"})
    assert answer.status_code == 500
    assert "secret" not in error(answer)
    assert 'foveal_requests_total{path="/search",status="500"} 1.0' in client.get("/metrics").text
    assert client.post("/search", json={"text": "a"}).status_code == 200


def test_a_poisoned_request_fails_alone(serve, searcher):
    client = serve(batching=Batching(wait_seconds=0.2))
    texts = ["one", "crash", "two", "three"]
    answers = together(client, [{"text": text} for text in texts])
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert [answer.json()["hits"][0]["boxes"][0]["phrase"] for answer in answers if answer.status_code == 200] == [
        "one",
        "two",
        "three",
    ]
    assert max(map(len, searcher.asked)) > 1


def test_a_wrong_filter_costs_others_nothing(serve, searcher):
    client = serve(batching=Batching(wait_seconds=0.2))
    answers = together(client, [{"text": "one"}, {"text": "two", "where": "no sql"}, {"text": "three"}])
    assert [answer.status_code for answer in answers] == [200, 400, 200]
    assert sorted(query.text for asked in searcher.asked for query in asked) == ["one", "three"]


def together(client, bodies, path="/search"):
    answers = [None] * len(bodies)

    def ask(at):
        answers[at] = client.post(path, json=bodies[at])

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_batched_embeddings_equal_those_one_by_one(serve, encoder):
    texts = [f"text number {n}" for n in range(8)]
    batched = together(
        serve(batching=Batching(wait_seconds=0.2)), [{"input": text} for text in texts], "/v1/embeddings"
    )
    assert max(encoder.batches) > 1
    encoder.batches.clear()
    alone = serve(batching=Batching(most=1))
    assert [answer.json() for answer in batched] == [
        alone.post("/v1/embeddings", json={"input": text}).json() for text in texts
    ]
    assert set(encoder.batches) == {1}
    assert encoder.threads == {"foveal-batcher"}


def test_a_full_queue_is_429_with_a_time_to_come_back(serve, searcher):
    searcher.gate = threading.Event()
    client = serve(batching=Batching(queue=1, wait_seconds=0.0))
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post("/search", json={"text": "a"}))) for _ in range(3)
    ]
    threads[0].start()
    while client.get("/health").json()["busy_seconds"] == 0:
        time.sleep(0.01)
    for thread in threads[1:]:
        thread.start()
    while not answers:
        time.sleep(0.01)
    searcher.gate.set()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429]
    assert int(next(a for a in answers if a.status_code == 429).headers["retry-after"]) >= 1


def comes_back(room):
    """True once a room holds nothing, which threads that end soon may take a moment to see."""
    until = time.monotonic() + 10
    while room.held and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    return room.held == 0


def test_decoded_pictures_are_bounded_together_and_their_room_is_given_back(serve):
    one = 40 * 24 * 4  # bytes of a picture in memory, and twice as many while it is decoded
    client = serve(limits=replace(SMALL, picture_bytes=5 * one))
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED}"}}
    room = client.app.state.service._room
    for _ in range(3):
        assert client.post("/v1/embeddings", json={"input": [part] * 3}).status_code == 200
        assert comes_back(room)
        answer = client.post("/v1/embeddings", json={"input": [part] * 4})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert comes_back(room)
    assert client.post("/search", json={"image": base64.b64encode(encoded(size=(90, 90))).decode()}).status_code == 413


def test_openai_s_own_client_is_served(client):
    ours = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", http_client=client, max_retries=0)
    texts = ["a cat", "two small dogs"]
    for form in ("float", "base64", openai.omit):
        answer = ours.embeddings.create(model="fake", input=texts, encoding_format=form)
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == 9
        for text, found in zip(texts, answer.data, strict=True):
            vector = np.frombuffer(base64.b64decode(found.embedding), "<f4") if form == "base64" else found.embedding
            np.testing.assert_allclose(vector, row(f"caption:{text}".encode()), rtol=1e-6)
    with pytest.raises(openai.BadRequestError, match="32 dimensions"):
        ours.embeddings.create(model="fake", input="a", dimensions=8)


def test_embeddings_of_texts_and_pictures_keep_their_order(client):
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED}", "detail": "low"}},
        {"type": "text", "text": "a cat"},
        "a dog",
        {"type": "input_image", "image_url": f"data:image/png;base64,{RED}"},
    ]
    data = client.post("/v1/embeddings", json={"input": parts}).json()["data"]
    picture = row(Image.open(BytesIO(encoded())).tobytes())
    expected = [picture, row(b"caption:a cat"), row(b"caption:a dog"), picture]
    np.testing.assert_allclose([one["embedding"] for one in data], expected, rtol=1e-6)
    assert [one["index"] for one in data] == [0, 1, 2, 3]


def test_long_texts_are_long_captions_unless_told(client):
    long = "ab " * 65
    for body, kind in (({}, "long_caption"), ({"kind": "phrase"}, "phrase")):
        data = client.post("/v1/embeddings", json={"input": long, **body}).json()["data"]
        np.testing.assert_allclose(data[0]["embedding"], row(f"{kind}:{long}".encode()), rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("", 422),
        ([], 422),
        ([1, 2], 422),
        (["a"] * 9, 413),
        ([{"type": "text"}], 400),
        ([{"type": "image_url", "image_url": "http://example.org/a.png"}], 403),
        ([{"type": "image_url", "image_url": "file:///etc/passwd"}], 400),
        ([{"type": "image_url", "image_url": f"data:image/png;base64,{BLACK}"}], 400),
    ],
)
def test_bad_inputs_for_embeddings_are_refused(client, given, status):
    answer = client.post("/v1/embeddings", json={"input": given})
    assert answer.status_code == status
    assert error(answer)


def test_rank_gives_the_cosine_of_each_pair(client):
    green = base64.b64encode(encoded(color=(0, 200, 0))).decode()
    answer = client.post("/rank", json={"texts": ["a", "b", "c"], "pictures": [RED, green]})
    pictures = [row(Image.open(BytesIO(encoded(color=color))).tobytes()) for color in ((200, 30, 30), (0, 200, 0))]
    expected = [[row(f"caption:{text}".encode()) @ picture for picture in pictures] for text in "abc"]
    np.testing.assert_allclose(answer.json()["similarities"], expected, atol=1e-6)


def test_similar_by_id_and_by_picture(client):
    assert [hit["id"] for hit in client.post("/similar", json={"id": "a1"}).json()["hits"]] == ["b2", "c3"]
    assert len(client.post("/similar", json={"image": RED}).json()["hits"]) == 3
    for body, status in (({}, 400), ({"id": "a1", "image": RED}, 400), ({"id": "../a"}, 422), ({"id": "zz"}, 404)):
        assert client.post("/similar", json=body).status_code == status


def test_explain_gives_box_and_heat_of_each_phrase(client):
    answer = client.post("/explain", json={"id": "a1", "phrases": ["a bear", "water"]}).json()
    assert [one["phrase"] for one in answer["explanations"]] == ["a bear", "water"]
    assert answer["explanations"][0]["heat"] == [[0.0, 1.0], [0.25, 0.5]]
    assert client.post("/explain", json={"id": "zz", "phrases": ["a"]}).status_code == 404
    assert client.post("/explain", json={"id": "a1", "phrases": []}).status_code == 422
    assert client.post("/explain", json={"id": "a1", "phrases": ["a"] * 9}).status_code == 413


def test_originals_come_as_they_are_where_a_browser_shows_them(client):
    answer = client.get("/pictures/a1")
    assert answer.content == encoded()
    assert answer.headers["content-type"] == "image/png"
    other = client.get("/pictures/b2")
    assert other.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(other.content)).size == (40, 24)
    assert client.get("/thumbnails/a1").headers["content-type"] == "image/jpeg"


def test_originals_can_be_had_smaller_and_upright(serve, searcher):
    exif = Image.Exif()
    exif[0x0112] = 6
    searcher.files["d4"] = encoded("JPEG", (600, 400), exif=exif)
    searcher.files["wide"] = encoded("PNG", (1000, 400))
    client = serve()
    for name, side, size in (
        ("d4", 300, (200, 300)),
        ("d4", 4096, (400, 600)),
        ("wide", 999, (999, 400)),
        ("wide", 501, (501, 200)),
    ):
        answer = client.get(f"/pictures/{name}?side={side}")
        assert answer.headers["content-type"] == "image/jpeg"
        picture = Image.open(BytesIO(answer.content))
        assert picture.size == size
        assert not picture.getexif()


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fetc%2Fpasswd", "../../etc/passwd", "%00", "a.b", "a" * 129, "zz", "%2e%2e"]
)
def test_no_path_leads_out_of_the_index(client, name):
    for place in ("pictures", "thumbnails", "page"):
        assert client.get(f"/{place}/{name}").status_code in (404, 422)


def test_an_original_that_is_gone_is_404(serve, searcher, tmp_path):
    searcher.files["gone"] = tmp_path / "gone.png"
    searcher.files["odd"] = b"text now"
    searcher.files["broken"] = encoded("TIFF", (400, 300))[:2000]
    client = serve()
    for path in ("/pictures/gone", "/pictures/odd", "/pictures/odd?side=99", "/pictures/broken", "/pictures/zz"):
        assert client.get(path).status_code == 404


def test_an_original_on_disk_is_sent_in_pieces_and_never_held_whole(serve, searcher, tmp_path):
    searcher.files["disk"] = tmp_path / "disk.png"
    searcher.files["disk"].write_bytes(encoded() + bytes(3_000_000))
    answer = serve(limits=replace(SMALL, buffered_bytes=100_000)).get("/pictures/disk")
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"]) == len(encoded()) + 3_000_000


class Telling:
    """A searcher whose every complaint names where its files lie."""

    model_name = "/secret/folder/models/tiny"
    count = 3
    files = ("a1", "broken")

    def __init__(self, folder):
        self.folder = folder
        (folder / "broken.png").write_bytes(b"no picture")

    def search_many(self, queries):
        raise ValueError(f"Filter 'x' is no SQL: lance error at {self.folder}/pictures.lance/data/0.lance: no column x")

    def similar(self, picture, k):
        raise ValueError(f"The index '{self.folder}' has no picture.")

    def picture(self, name):
        if name == "broken":
            return self.folder / "broken.png"
        if name == "denied":
            raise PermissionError(13, "Permission denied", str(self.folder / "denied.png"))
        raise ValueError(f"Picture '{name}' is gone from '{self.folder}'. Run foveal index again.")

    def thumbnail(self, name):
        if name not in self.files:
            raise ValueError(f"The index '{self.folder}' has no picture '{name}'.")
        return b""

    def explain(self, hit, phrases):
        raise ValueError(f"Picture {self.folder}/photo.jpg cannot be read: broken.")


def test_no_answer_tells_where_anything_lies_on_the_server(encoder, tmp_path):
    with TestClient(create_app(Telling(tmp_path), encoder), raise_server_exceptions=False) as client:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED}"}}
        answers = [
            client.post("/search", json={"text": "a", "where": "width > 1"}),
            client.post("/similar", json={"id": "a1"}),
            client.post("/similar", json={"id": "zz"}),
            client.post("/similar", json={"image": RED}),
            client.post("/explain", json={"id": "a1", "phrases": ["a"]}),
            client.post("/explain", json={"id": "zz", "phrases": ["a"]}),
            client.post("/v1/embeddings", json={"input": [picture, "a"]}),
            *(client.get(f"/{kind}/{name}") for kind in ("pictures", "thumbnails") for name in ("a1", "zz", "broken")),
            *(client.get(f"/pictures/{name}?side=99") for name in ("a1", "zz", "broken", "denied")),
            *(client.get(path) for path in ("/health", "/v1/models", "/metrics", "/openapi.json", "/page/zz", "/page")),
        ]
    failed = [answer for answer in answers if answer.status_code >= 400]
    assert len(failed) > 12
    assert {answer.status_code for answer in failed} == {400, 404}
    for answer in answers:
        for place in (str(tmp_path), "secret", "lance/data", str(PAGE)):
            assert place not in answer.text + str(answer.headers)
    assert "no column x" in answers[0].json()["error"]["message"]
    assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"


def test_head_is_answered_wherever_get_is(client):
    described = client.get("/openapi.json").json()["paths"]
    paths = [path for path, verbs in described.items() if "get" in verbs]
    for path in ["/", "/docs", "/openapi.json", "/page/page.js", "/pictures/zz", *paths]:
        path = path.format(picture_id="a1")
        got, head = client.get(path), client.head(path)
        assert head.status_code == got.status_code
        assert head.content == b""
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.headers.get("content-length") == got.headers.get("content-length") or path in (
            "/metrics",
            "/health",
        )
    for path in ("/search", "/rank"):
        assert client.head(path).status_code == client.get(path).status_code == 405
    assert 'path="/pictures/{picture_id}"' in client.get("/metrics").text


def test_the_models_are_listed_as_openai_lists_them(client):
    answer = client.get("/v1/models").json()
    assert answer["object"] == "list"
    [model] = answer["data"]
    assert (model["id"], model["object"], model["owned_by"]) == ("fake", "model", "foveal")
    assert abs(model["created"] - time.time()) < 600
    ours = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", http_client=client, max_retries=0)
    assert [model.id for model in ours.models.list()] == ["fake"]


@pytest.mark.parametrize("kept", [True, False], ids=["path kept", "path taken off"])
def test_it_may_lie_below_a_path_of_a_proxy(serve, kept):
    client = serve(root_path="/photos", api_key="0123456789abcdef")
    before = "/photos" if kept else ""
    for path in ("/", "/docs", "/health", "/page/page.js", "/openapi.json"):
        assert client.get(before + path).status_code == 200
    for path in ("/thumbnails/a1", "/photos/health", "/photos/page/page.js", "/photospage/page.js"):
        assert client.get(before + path).status_code == (401 if kept or "photos/" not in path else 200)
    key = {"x-api-key": "0123456789abcdef"}
    assert client.get(f"{before}/thumbnails/a1", headers=key).status_code == 200
    assert client.post(f"{before}/search", json={"text": "a"}, headers=key).status_code == 200
    assert client.get(f"{before}/openapi.json").json()["servers"] == [{"url": "/photos"}]


def test_a_path_without_its_last_slash_leads_to_the_page(serve):
    answer = serve(root_path="/photos").get("/photos", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/photos/")


def test_the_page_s_addresses_are_relative():
    for file in PAGE.iterdir():
        assert not re.search(r"""(src|href|action)=["']/|fetch\(["'`]/|[(\[]\s*["'`]/\w""", file.read_text())


def test_health_tells_the_truth(client, searcher):
    before = client.get("/health").json()
    assert before["last_batch"] is None
    assert (before["status"], before["model"], before["pictures"], before["queued"]) == ("ok", "fake", 3, 0)
    client.post("/search", json={"text": "a"})
    last = client.get("/health").json()["last_batch"]
    assert (last["work"], last["size"], last["outcome"]) == ("Search", 1, "ok")
    assert abs(last["finished"] - time.time()) < 60
    client.post("/search", json={"text": "crash"})
    assert client.get("/health").json()["last_batch"]["outcome"] == "failed"
    client.app.state.service.batcher.stop()
    stopped = client.get("/health")
    assert (stopped.status_code, stopped.json()["status"]) == (503, "stopping")


def test_an_index_that_was_replaced_is_503_until_the_service_starts_again(client, searcher, monkeypatch):
    def replaced(*_):
        raise OSError(ESTALE, "The index was replaced or deleted since it was opened.")

    for name in ("search_many", "similar", "picture", "thumbnail", "explain"):
        monkeypatch.setattr(searcher, name, replaced)
    answers = [
        client.post("/search", json={"text": "a"}),
        client.post("/similar", json={"id": "a1"}),
        client.post("/explain", json={"id": "a1", "phrases": ["a"]}),
        client.get("/pictures/a1"),
        client.get("/thumbnails/a1"),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert "replaced or deleted under the service. Restart" in answer.json()["error"]["message"]
    monkeypatch.setattr(type(searcher), "count", property(replaced))  # last: whether it is a searcher asks for it
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "no index")
    assert "foveal_pictures NaN" in client.get("/metrics").text


def test_a_stuck_model_is_not_healthy(serve, searcher):
    searcher.gate = threading.Event()
    client = serve(limits=replace(SMALL, answer_seconds=0.1))
    answer = client.post("/search", json={"text": "a"})
    assert answer.status_code == 503
    until = time.monotonic() + 10
    while client.get("/health").status_code == 200 and time.monotonic() < until:
        time.sleep(0.01)
    assert client.get("/health").json()["status"] == "stuck"
    searcher.gate.set()


def test_metrics_count_requests_and_batches(client):
    client.post("/search", json={"text": "a"})
    client.post("/search", json={})
    client.get("/pictures/a1")
    client.get("/made/up")
    text = client.get("/metrics").text
    for line in (
        'foveal_requests_total{path="/search",status="200"} 1.0',
        'foveal_requests_total{path="/search",status="400"} 1.0',
        'foveal_requests_total{path="/pictures/{picture_id}",status="200"} 1.0',
        'foveal_requests_total{path="other",status="404"} 1.0',
        'foveal_batches_total{outcome="ok",work="Search"} 1.0',
        "foveal_pictures 3.0",
        "foveal_queued 0.0",
    ):
        assert line in text


def test_the_page_and_its_documentation_ask_no_other_host_for_anything(client):
    for path in ["/", "/docs", *(f"/page/{file.name}" for file in PAGE.iterdir())]:
        answer = client.get(path)
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text


def test_every_endpoint_is_described(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/search",
        "/similar",
        "/explain",
        "/pictures/{picture_id}",
        "/thumbnails/{picture_id}",
        "/detect",
        "/segment",
        "/v1/embeddings",
        "/v1/models",
        "/rank",
        "/health",
        "/metrics",
    }
    assert set(paths["/search"]["post"]["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert json.dumps(paths)
