import math
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveal.data.formats.boxes import Frame, checked_box, frame_of, turned
from foveal.data.images import ImageTransform, stored_frame


def photo(turn, size=(400, 200), kind="JPEG"):
    """A red square in the upper left corner of the stored picture."""
    pixels = np.full((size[1], size[0], 3), 30, np.uint8)
    pixels[10:90, 10:90] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x112] = turn
    data = BytesIO()
    Image.fromarray(pixels).save(data, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    return data.getvalue()


def test_boxes_in_fractions_are_cut_to_the_image():
    assert checked_box([-0.1, 0.25, 1.005, 0.5]) == (0.0, 0.25, 1.0, 0.5)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, 1], "four numbers"),
        ("0011", "four numbers"),
        ([0, 0, 1, float("nan")], "four numbers"),
        ([0, 0, 1, None], "four numbers"),
        ([0, 0, 1, True], "four numbers"),
        ([0, 0, 1, 10**400], "four numbers"),
        ([0, 0, 20, 10], "not pixels"),
        ([-0.9, 0, 0.5, 1], "outside"),
        ([0.5, 0, 0.5, 1], "without area"),
        ([0, 0.6, 1, 0.5], "without area"),
        ([1.001, 0, 1.005, 1], "outside"),
    ],
)
def test_what_is_no_box_is_refused(box, message):
    with pytest.raises(ValueError, match=message):
        checked_box(box)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([-20, 10, 60, 50], (0.0, 0.1, 0.4, 0.6)),
        ([80, 10, 40, 50], (0.8, 0.1, 1.0, 0.6)),
        ([81, 10, 40, 50], "outside"),
        ([9.98, 88.56, 5.54, 0.0], "without area"),
        ([10, 10, -5, 20], "without area"),
        ([], "four numbers"),
        ({}, "four numbers"),
    ],
)
def test_pixel_boxes_over_the_edge_are_cut_where_half_is_left(box, expected):
    if isinstance(expected, tuple):
        assert Frame(100, 100).box(box) == pytest.approx(expected)
        return
    with pytest.raises(ValueError, match=expected):
        Frame(100, 100).box(box)


@given(st.lists(st.floats(-300, 300, width=32), min_size=4, max_size=4), st.integers(1, 8))
def test_a_box_that_is_taken_lies_in_the_image_and_has_area(values, turn):
    try:
        x0, y0, x1, y1 = Frame(200, 100, turn).box(values)
    except ValueError:
        return
    assert 0 <= x0 < x1 <= 1
    assert 0 <= y0 < y1 <= 1


def test_a_box_whose_area_is_lost_in_turning_is_none():
    with pytest.raises(ValueError, match="box without area"):
        Frame(200, 100, 3).box([0, 0, 1, 3.55e-15])


@given(st.integers(1, 8))
def test_turning_a_box_is_turning_the_picture(turn):
    box = (0.1, 0.2, 0.4, 0.9)
    back = {6: 8, 8: 6}.get(turn, turn)
    assert turned(turned(box, turn), back) == pytest.approx(box)


@pytest.mark.parametrize(
    ("turn", "kind"), [*product(range(1, 9), ["JPEG"]), (6, "PNG"), (7, "WEBP"), (5, "TIFF"), (8, "TIFF")]
)
@pytest.mark.parametrize("upright", [False, True])
def test_boxes_land_on_what_they_were_drawn_around(turn, kind, upright):
    """Boxes were taken to be drawn on the upright picture, and landed elsewhere where they were not."""
    data = photo(turn, kind=kind)
    sizes = (200, 400) if upright and turn >= 5 else (400, 200)
    if turn in (2, 3, 4):
        with pytest.raises(ValueError, match=rf"turned \(EXIF {turn}\).*do not say which way"):
            frame_of(data, *sizes)
        return
    stored = (10 / 400, 10 / 200, 90 / 400, 90 / 200)
    x0, y0, x1, y1 = turned(stored, turn) if upright else stored
    box = frame_of(data, *sizes).box([x0 * sizes[0], y0 * sizes[1], (x1 - x0) * sizes[0], (y1 - y0) * sizes[1]])
    view = ImageTransform(mode="squash", size=224)(data, [box])
    x0, y0, x1, y1 = (round(224 * end) for end in view.boxes[0])
    assert view.pixels[y0:y1, x0:x1].mean((0, 1)) == pytest.approx((255, 0, 0), abs=20)
    around = view.pixels.astype(int).sum((0, 1))[0] - view.pixels[y0:y1, x0:x1].astype(int).sum((0, 1))[0]
    assert around / (224 * 224 - (y1 - y0) * (x1 - x0)) < 40


@pytest.mark.parametrize(
    ("turn", "noted", "frame"),
    [
        (1, (None, None), Frame(400, 200)),
        (1, (0, 0), Frame(400, 200)),
        (1, ("400", 200), Frame(400, 200)),
        (1, (800, 400), Frame(800, 400)),
        (1, (224, 224), Frame(224, 224)),
        (1, (200, 400), "turned after its boxes were drawn: 200 x 400 are noted, 400 x 200 stored"),
        (6, (None, None), "no width and height say"),
        (6, (800, 401), Frame(800, 401, 6)),
        (6, (401, 800), Frame(401, 800)),
        (6, (300, 300), "do not say which way"),
    ],
)
def test_the_sizes_noted_say_in_which_frame_boxes_were_drawn(turn, noted, frame):
    if isinstance(frame, Frame):
        assert frame_of(photo(turn), *noted) == frame
        return
    with pytest.raises(ValueError, match=frame):
        frame_of(photo(turn), *noted)


def test_sizes_that_are_nearly_square_are_told_apart_where_they_are_exact():
    assert frame_of(photo(6, (101, 100)), 101, 100).turn == 6
    assert frame_of(photo(6, (101, 100)), 100, 101).turn == 1
    with pytest.raises(ValueError, match="do not say"):
        frame_of(photo(6, (101, 100)), 202, 201)


def test_pictures_that_are_not_there_are_taken_to_stand_upright(tmp_path):
    assert frame_of(tmp_path / "none.jpg", 40, 20) == Frame(40, 20)
    with pytest.raises(ValueError, match="no width and height are given"):
        frame_of(tmp_path / "none.jpg", None, math.nan)


def test_only_the_header_of_a_picture_is_read():
    data = photo(6)
    assert stored_frame(data[: len(data) // 2]) == (400, 200, 6)
