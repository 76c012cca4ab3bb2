import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import foveal
from foveal.detection.detect import OF_DENSE
from foveal.segmentation import labels_picture
from foveal.serving import Batching, Settings, create_app

from .conftest import SMALL, encoded
from .test_guard import error

NAMES = ["a red square", "a green field"]
PATHS = ["/detect", "/segment"]


def scene(color=(200, 30, 30)):
    pixels = np.full((96, 128, 3), (40, 160, 60), dtype=np.uint8)
    pixels[24:72, 16:64] = color
    return Image.fromarray(pixels)


def png(picture):
    content = BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def asked(client, path, content, names=NAMES, **fields):
    return client.post(path, json={"image": base64.b64encode(content).decode(), "names": names, **fields})


@pytest.fixture(scope="module")
def starter():
    return foveal.load("starter", device="cpu")


@pytest.fixture
def locate(searcher, starter):
    settings = Settings(limits=SMALL, batching=Batching(wait_seconds=0.2))
    with TestClient(create_app(searcher, starter, settings), raise_server_exceptions=False) as client:
        yield client


def test_boxes_are_those_of_detect(locate, starter):
    answer = asked(locate, "/detect", png(scene()), k=5, threshold=0.01)
    assert answer.status_code == 200
    rescoring = replace(OF_DENSE, top=5, threshold=0.01)
    boxes = foveal.detect(starter, [scene()], NAMES, rescoring=rescoring)[0]
    rows = answer.json()["boxes"]
    assert 0 < len(rows) <= 5
    assert [row["name"] for row in rows] == [NAMES[label] for label in boxes.label]
    np.testing.assert_allclose([row["box"] for row in rows], boxes.boxes.numpy(), atol=1e-6)
    np.testing.assert_allclose([row["score"] for row in rows], boxes.score.numpy(), atol=1e-5)


def test_labels_are_those_of_segment(locate, starter):
    answer = asked(locate, "/segment", png(scene()), background=["a wall"]).json()
    segmentation = starter.segment([scene()], NAMES, background=["a wall"])[0]
    labels = Image.open(BytesIO(base64.b64decode(answer["labels"])))
    assert labels.size == (answer["width"], answer["height"]) == (128, 96)
    np.testing.assert_array_equal(np.asarray(labels), np.asarray(labels_picture(segmentation)))
    shares = {NAMES[label]: float((segmentation.labels == label).float().mean()) for label in range(2)}
    assert {area["name"]: area["share"] for area in answer["areas"]} == pytest.approx(
        {name: share for name, share in shares.items() if share}
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_form_is_answered_as_json_is(locate, path):
    form = locate.post(path, data={"names": NAMES, "threshold": "0.01"}, files={"image": ("a.png", png(scene()))})
    as_json = asked(locate, path, png(scene()), threshold=0.01)
    assert form.status_code == as_json.status_code == 200
    assert {**form.json(), "seconds": 0} == {**as_json.json(), "seconds": 0}


@pytest.mark.parametrize("path", PATHS)
def test_a_form_may_give_one_name(locate, path):
    answer = locate.post(path, data={"names": "a dog"}, files={"image": ("a.png", png(scene()))})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_requests_for_the_same_names_share_a_batch(locate, path):
    scenes = [png(scene()), png(scene((30, 30, 200)))]
    with ThreadPoolExecutor(2) as pool:
        together = [answer.json() for answer in pool.map(lambda content: asked(locate, path, content), scenes)]
    assert locate.app.state.service.batcher.state().last.size == 2
    for answer, content in zip(together, scenes, strict=True):
        alone = asked(locate, path, content).json()
        if path == "/detect":
            assert [box["name"] for box in answer["boxes"]] == [box["name"] for box in alone["boxes"]]
        else:
            assert [area["name"] for area in answer["areas"]] == [area["name"] for area in alone["areas"]]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"names": None}, 422, "names"),
        ({"names": []}, 422, "names"),
        ({"names": [""]}, 422, "names"),
        ({"names": [" "]}, 400, "A name is empty"),
        ({"names": ["a dog", "A dog"]}, 400, "given 2 times"),
        ({"names": [f"name {number}" for number in range(1000)]}, 413, "1000 names are more than 8"),
        ({"names": [f"name {number}" for number in range(5000)]}, 413, "more than 1536 values"),
        ({"names": ["a" * 201]}, 413, "201"),
        ({"threshold": 2}, 422, "threshold"),
        ({"image": None}, 400, "A picture is missing"),
        ({"image": ""}, 400, "empty"),
        ({"image": "?"}, 400, "base64"),
        ({"image": base64.b64encode(b"text").decode()}, 400, "no picture"),
        ({"image": base64.b64encode(png(scene())[:150]).decode()}, 400, "broken"),
        ({"nmaes": ["a dog"]}, 422, "nmaes"),
    ],
)
def test_bad_requests_are_one_line(locate, path, changes, status, message):
    body = {"image": base64.b64encode(png(scene())).decode(), "names": NAMES} | changes
    answer = locate.post(path, json={field: value for field, value in body.items() if value is not None})
    assert answer.status_code == status
    assert message in error(answer)


def test_boxes_in_one_pixel_are_refused_and_its_label_is_given(locate):
    answer = asked(locate, "/detect", encoded(size=(1, 1)))
    assert answer.status_code == 400
    assert "1 x 1 pixels" in error(answer)
    assert asked(locate, "/segment", encoded(size=(1, 1))).json()["areas"][0]["share"] == 1


def test_alternatives_of_a_name_count_as_names(locate):
    answer = asked(locate, "/segment", png(scene()), ["|".join(f"n{number}" for number in range(9))])
    assert answer.status_code == 413
    assert "9 names" in error(answer)


def test_more_boxes_than_the_limit_are_refused(locate):
    answer = asked(locate, "/detect", png(scene()), k=51)
    assert answer.status_code == 413
    assert "50 boxes" in error(answer)


@pytest.mark.parametrize("path", PATHS)
def test_a_broken_upload_is_one_line(locate, path):
    answer = locate.post(path, content=b"nonsense", headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 400
    assert error(answer)
    cut = locate.post(path, data={"names": NAMES}, files={"image": ("a.png", png(scene())[:150])})
    assert cut.status_code == 400
    assert "broken" in error(cut)
