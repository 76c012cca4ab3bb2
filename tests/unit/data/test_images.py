import io
import json
import math
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from foveal.data import images as module
from foveal.data.images import (
    CLIP_MEAN,
    CLIP_STD,
    Augmentation,
    ImageTransform,
    View,
    fit_patches,
    open_upright,
    stored_size,
)
from foveal.data.whole import check_whole
from foveal.types import PatchedPixels


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture with detail everywhere and no two places alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def plain(**fields) -> ImageTransform:
    return ImageTransform(scaled_decoding=False, **{"size": 32, **fields})


def cut_begins(side: int, size: int, rounding: str) -> int:
    """Where the middle of a side begins, found among all places.

    The published rules: (side - size) / 2, rounded to the nearest whole number and halves to the even one
    (torchvision's `CenterCrop`), or rounded down (`transformers`).
    """
    if rounding == "floor":
        return max(begin for begin in range(side) if 2 * begin <= side - size)
    return min(range(side), key=lambda begin: (abs(2 * begin - (side - size)), begin % 2))


def slow_crop(picture: Image.Image, size: int, rounding: str) -> np.ndarray:
    """The short side becomes `size`, the long one its share of it, rounded down; the middle is cut out."""
    short = min(picture.size)
    columns, rows = int(size * picture.width / short), int(size * picture.height / short)
    left, top = cut_begins(columns, size, rounding), cut_begins(rows, size, rounding)
    whole = picture.resize((columns, rows), Image.Resampling.BICUBIC)
    return np.asarray(whole)[top : top + size, left : left + size]


@pytest.mark.parametrize("rounding", ["floor", "half_even"])
@pytest.mark.parametrize("size", [(64, 48), (48, 64), (100, 33), (33, 100), (32, 32), (20, 31), (7, 9), (427, 640)])
def test_parity_of_the_crop_with_scaling_all_and_cutting(size, rounding):
    picture = smooth(*size)
    view = plain(mode="crop", crop_rounding=rounding)(encoded(picture))
    np.testing.assert_array_equal(view.pixels, slow_crop(picture, 32, rounding))


@pytest.mark.parametrize("target", [31, 32])
def test_parity_of_both_roundings_at_every_surplus(target):
    """A surplus of 3 is where they part first: 1.5 is 1 or 2. At 1 and 5 the even neighbor is the lower one."""
    parted = set()
    for surplus in range(14):
        for size in ((target + surplus, target), (target, target + surplus)):
            views = {}
            for rounding in ("floor", "half_even"):
                picture = smooth(*size)
                views[rounding] = plain(size=target, mode="crop", crop_rounding=rounding)(picture).pixels
                np.testing.assert_array_equal(views[rounding], slow_crop(picture, target, rounding))
            if (views["floor"] != views["half_even"]).any():
                parted.add(surplus)
    assert parted == {3, 7, 11}


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 90), st.integers(3, 90), st.integers(8, 33), st.sampled_from(["floor", "half_even"]))
def test_parity_of_crops_of_any_size_and_aspect(width, height, size, rounding):
    view = plain(size=size, mode="crop", crop_rounding=rounding)(picture := smooth(width, height))
    short = min(width, height)
    if int(size * width / short) * int(size * height / short) <= module._WHOLE * size * size:
        np.testing.assert_array_equal(view.pixels, slow_crop(picture, size, rounding))
    else:  # a needle: its window alone is scaled, see `_WHOLE`
        assert np.abs(view.pixels.astype(int) - slow_crop(picture, size, rounding)).max() <= 5


def test_parity_of_random_sizes_with_the_image_processor_of_transformers():
    processors = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    draw = np.random.default_rng(0)
    for _ in range(20):
        size, width, height = (int(value) for value in draw.integers((20, 8, 8), (40, 120, 120)))
        theirs = processors.CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        )
        picture, transform = smooth(width, height), plain(size=size, mode="crop", crop_rounding="floor")
        expected = theirs(picture, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(transform.stack([transform(picture)]), expected, atol=1e-5, rtol=0)


def test_parity_with_the_image_processor_of_transformers():
    processors = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    theirs = processors.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pictures = [smooth(70, 50), smooth(41, 90, 1), smooth(32, 33, 2)]
    transform = plain(mode="crop")
    ours = transform.stack([transform(picture) for picture in pictures])
    expected = torch.cat([theirs(picture, return_tensors="pt")["pixel_values"] for picture in pictures])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_parity_of_squashing_with_plain_pillow():
    picture = smooth(60, 45)
    expected = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(plain()(encoded(picture)).pixels, expected)


def test_a_picture_of_mean_color_gives_zeros_and_white_its_closed_form():
    mean = tuple(round(255 * value) for value in CLIP_MEAN)
    transform = plain()
    pixels = transform.stack([transform(Image.new("RGB", (9, 9), mean)), transform(Image.new("RGB", (9, 9), "white"))])
    assert pixels[0].abs().max() < 0.5 / 255 / min(CLIP_STD)
    for channel in range(3):
        white = (1 - CLIP_MEAN[channel]) / CLIP_STD[channel]
        torch.testing.assert_close(pixels[1, channel], torch.full((32, 32), white))


def test_a_row_of_a_batch_is_a_batch_of_one():
    transform = plain()
    views = [transform(smooth(40, 30, seed)) for seed in range(3)]
    pixels = transform.stack(views)
    assert isinstance(pixels, torch.Tensor)
    assert pixels.is_contiguous()
    for row, view in zip(pixels, views, strict=True):
        torch.testing.assert_close(row[None], transform.stack([view]), atol=0, rtol=0)


def test_a_file_its_bytes_and_an_open_picture_are_seen_alike(tmp_path):
    picture = smooth(40, 30)
    path = tmp_path / "one.png"
    picture.save(path)
    from_file, from_bytes, from_open = (plain()(given).pixels for given in (path, path.read_bytes(), picture))
    np.testing.assert_array_equal(from_file, from_bytes)
    np.testing.assert_array_equal(from_file, from_open)


# Scaled decoding


def test_without_scaled_decoding_a_large_jpeg_is_seen_as_by_plain_pillow():
    content = encoded(smooth(1920, 1440), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    np.testing.assert_array_equal(plain(mode="crop")(content).pixels, slow_crop(whole, 32, "floor"))
    assert (ImageTransform(size=32, mode="crop")(content).pixels != slow_crop(whole, 32, "floor")).any()


def test_scaled_decoding_changes_colors_little():
    content = encoded(smooth(1600, 1200), "JPEG", quality=95)
    for mode in ("squash", "crop", "native"):
        fast, slow = ImageTransform(mode=mode), ImageTransform(mode=mode, scaled_decoding=False)
        difference = fast(content).pixels.astype(float) - slow(content).pixels.astype(float)
        assert np.abs(difference).mean() < 1
        assert np.abs(difference).max() < 12


def decoded_sizes(monkeypatch) -> list[tuple[int, int]]:
    seen = []
    original = module._rgb

    def spy(picture):
        rgb = original(picture)
        seen.append(rgb.size)
        return rgb

    monkeypatch.setattr(module, "_rgb", spy)
    return seen


def test_large_jpegs_are_decoded_small_but_never_smaller_than_needed(monkeypatch):
    seen = decoded_sizes(monkeypatch)
    content = encoded(smooth(1600, 1200), "JPEG")
    for size, expected in ((64, (200, 150)), (224, (800, 600)), (190, (400, 300)), (500, (1600, 1200))):
        ImageTransform(size=size)(content)
        assert seen[-1] == expected
    ImageTransform(size=64, scaled_decoding=False)(content)
    assert seen[-1] == (1600, 1200)


def test_a_small_crop_is_decoded_large_enough(monkeypatch):
    seen = decoded_sizes(monkeypatch)
    content = encoded(smooth(1600, 1200), "JPEG")
    transform = ImageTransform(size=64, augmentation=Augmentation(smallest_crop=0.01))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        window, _ = transform._plan(1600, 1200, np.random.default_rng(seed))
        transform(content, rng=rng)
        assert seen[-1] == (1600, 1200) or seen[-1][0] * (window[2] - window[0]) >= 64


def dotted(width: int, height: int, **options) -> bytes:
    """A JPEG of one color but for a dark dot in its first corner."""
    picture = Image.new("RGB", (width, height), (40, 160, 90))
    picture.paste((0, 0, 0), (0, 0, width // 4, height // 4))
    return encoded(picture, "JPEG", quality=40, **options)


@pytest.fixture(scope="module")
def photos_of_108_megapixels(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("one_scan", "progressive"):
        (folder / name).write_bytes(dotted(12_000, 9_000, progressive=name == "progressive"))
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(params=["one_scan", "progressive"])
def photo_of_108_megapixels(request, photos_of_108_megapixels) -> Path:
    return photos_of_108_megapixels[request.param]


def test_a_photo_of_108_megapixels_is_read_at_a_part_of_its_size(photo_of_108_megapixels, monkeypatch):
    """By every way that a picture is read: for a model, for a thumbnail or an assistant, and to see if it is whole."""
    seen = decoded_sizes(monkeypatch)
    content = photo_of_108_megapixels.read_bytes()
    modes = (("squash", 224), ("crop", 224), ("native", 256))
    for mode, side in modes if photo_of_108_megapixels.name == "one_scan" else modes[:1]:
        pixels = ImageTransform(mode=mode)(content).pixels
        assert seen.pop() == (1500, 1125)
        corner, opposite = pixels[side // 16, side // 16].astype(int), pixels[-9, -9].astype(int)
        assert corner.max() < 10 and np.abs(opposite - (40, 160, 90)).max() <= 4
    assert open_upright(content, 512)[0].size == (512, 384)
    assert stored_size(content) == (12_000, 9_000)
    check_whole(content)
    with pytest.raises(ValueError, match="cannot be read"):
        check_whole(content[:-300])


def test_a_photo_of_108_megapixels_is_not_decoded_at_its_full_size(photo_of_108_megapixels):
    for transform in (plain(), ImageTransform(size=5000)):
        way_out = "" if transform.scaled_decoding else r"; scaled_decoding=True \(foveal eval --scaled-decoding\) .*"
        with pytest.raises(ValueError, match=rf"12000 x 9000 pixels to decode are more than 89478485{way_out}\. Rep"):
            transform(photo_of_108_megapixels)
    with pytest.raises(ValueError, match="12000 x 9000 pixels to decode are more"):
        open_upright(photo_of_108_megapixels, 10_000)


def test_reading_a_photo_of_108_megapixels_takes_less_memory_than_its_pixels(photos_of_108_megapixels):
    """324 MB of pixels. A progressive file keeps 2 bytes of each of its 1.5 numbers a pixel, whatever comes out."""
    script = """if True:
        import resource, sys
        from pathlib import Path
        from foveal.data.images import ImageTransform
        transform = ImageTransform()
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        before = peak()
        for photo in sys.argv[1:]:
            transform(Path(photo))
            print(peak() - before)
    """
    photos = [str(photos_of_108_megapixels[name]) for name in ("one_scan", "progressive")]
    run = [sys.executable, "-W", "error", "-c", script, *photos]
    one_scan, progressive = map(int, subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    assert one_scan < 60
    assert progressive < 400


def with_size(content: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    frame = next(place for place in range(2, len(content)) if content[place : place + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return content[: frame + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[frame + 9 :]


def in_scans_of_one_color(content: bytes) -> bytes:
    """A JPEG whose first scan claims to hold one color of three, so that a decoder must keep everything."""
    scan = content.index(b"\xff\xda")
    return content[: scan + 4] + b"\x01" + content[scan + 5 :]


@pytest.mark.parametrize(
    ("content", "most"),
    [
        (with_size(dotted(64, 48), 65_000, 65_000), 16 * 89_478_485),
        (with_size(dotted(64, 48, progressive=True), 12_000, 12_000), 134_217_727),
        (in_scans_of_one_color(with_size(dotted(64, 48), 12_000, 12_000)), 134_217_727),
        (with_size(b"\xff\xd8\xff" + dotted(64, 48)[2:], 12_000, 12_000), 134_217_727),
    ],
    ids=["one_scan", "progressive", "color_by_color", "filled_up"],
)
def test_a_jpeg_that_no_part_makes_small_is_refused_by_its_header(content, most, monkeypatch):
    """Also where only the marks before its pixels leave a doubt about how much memory it takes."""
    seen = decoded_sizes(monkeypatch)
    for read in (ImageTransform(), lambda given: open_upright(given, 64), stored_size, check_whole):
        with pytest.raises(ValueError, match=f"pixels are more than {most}"):
            read(content)
    assert seen == []


def test_a_few_bytes_that_claim_a_billion_pixels_take_no_more_than_a_photo_does(monkeypatch):
    seen = decoded_sizes(monkeypatch)
    for read in (ImageTransform(), lambda given: open_upright(given, 64)):
        read(with_size(dotted(64, 48), 37_000, 37_000))
        assert seen.pop() == (4625, 4625)


def test_limits_leave_a_part_of_every_photo_that_is_let_in():
    """At an eighth, 16 times the limit are a quarter of it."""
    assert module.MAX_STORED / 64 <= 1
    assert module.MAX_STORED_IN_SCANS / 4 <= 1


# Any kind of picture


def test_of_several_pictures_in_a_jpeg_the_first_is_seen():
    """As phones write them (MPO)."""
    first, second = smooth(64, 48), smooth(64, 48, 1)
    several = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    np.testing.assert_array_equal(plain()(several).pixels, plain()(encoded(first, "JPEG", quality=95)).pixels)


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_are_turned_upright(turn):
    upright = smooth(60, 40)
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    held = upright.transpose(inverse[turn]) if turn in inverse else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    for mode in ("crop", "native"):
        view = plain(mode=mode)(encoded(held, "PNG", exif=exif))
        np.testing.assert_array_equal(view.pixels, plain(mode=mode)(upright).pixels)


def test_a_turned_jpeg_is_decoded_small_too(monkeypatch):
    seen = decoded_sizes(monkeypatch)
    exif = Image.Exif()
    exif[0x0112] = 6
    view = ImageTransform(mode="native")(encoded(smooth(1600, 800), "JPEG", exif=exif))
    assert seen == [(800, 400)]
    assert view.pixels.shape[0] > view.pixels.shape[1]


def test_a_broken_exif_block_does_not_spoil_a_picture():
    content = encoded(smooth(40, 30), "JPEG", exif=b"Exif\x00\x00" + b"II*\x00\xff\xff\xff\x7f" + b"\x00" * 9)
    with pytest.warns(UserWarning, match="EXIF"):
        view = plain()(content)
    np.testing.assert_array_equal(view.pixels, plain()(encoded(smooth(40, 30), "JPEG")).pixels)


def gray16() -> Image.Image:
    return Image.fromarray(np.full((9, 9), 200 * 257, dtype=np.uint16))


@pytest.mark.parametrize(
    ("picture", "kind", "color"),
    [
        (Image.new("L", (9, 9), 200), "PNG", (200, 200, 200)),
        (Image.new("1", (9, 9), 1), "PNG", (255, 255, 255)),
        (Image.new("LA", (9, 9), (200, 0)), "PNG", (200, 200, 200)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 0)), "PNG", (10, 20, 30)),
        (Image.new("RGB", (9, 9), (10, 20, 30)).quantize(4), "PNG", (10, 20, 30)),
        (Image.new("RGB", (9, 9), (10, 20, 30)).quantize(4), "GIF", (10, 20, 30)),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (gray16(), "PNG", (200, 200, 200)),
        (gray16(), "TIFF", (200, 200, 200)),
        (Image.new("RGB", (9, 9), (10, 20, 30)), "WEBP", (10, 20, 30)),
        (Image.new("RGB", (9, 9), (10, 20, 30)), "BMP", (10, 20, 30)),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "mode", ""),
)
def test_every_kind_of_picture_becomes_red_green_blue(picture, kind, color):
    content = encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.abs(plain()(content).pixels.astype(int) - np.array(color)).max() <= 3


def test_a_palette_with_transparent_colors_is_read_without_a_warning():
    picture = Image.new("RGB", (9, 9), (10, 20, 30)).quantize(4)
    content = encoded(picture, transparency=bytes([0, 255, 255, 255]))
    assert np.abs(plain()(content).pixels.astype(int) - np.array([10, 20, 30])).max() == 0


# Bad input


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not a picture", "none of JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "none of JPEG"),
        (encoded(smooth(40, 30), "JPEG")[:-200], "truncated"),
        (encoded(smooth(40, 30), "PNG")[:-200], "truncated"),
        (encoded(Image.new("F", (9, 9), 0.5), "TIFF"), "floating-point"),
    ],
    ids=["empty", "text", "postscript", "cut_jpeg", "cut_png", "float"],
)
def test_what_is_no_sound_picture_is_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad\.jpg cannot be read: .*{reason}"):
        plain()(path)
    with pytest.raises(ValueError, match=rf"{len(content)} bytes cannot be read: .*{reason}"):
        plain()(content)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jpg cannot be read: No such file"):
        plain()(tmp_path / "none.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    bomb = encoded(Image.new("1", (9_500, 9_500)))
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="cannot be read"):
        plain()(bomb)


def test_a_picture_above_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="40 x 30 pixels are more than 1000"):
        plain()(encoded(smooth(40, 30)))


def test_broken_bytes_are_read_or_refused_but_nothing_else():
    draw = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    outcomes = {"read": 0, "refused": 0}
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"):
        whole = encoded(smooth(24, 16), kind, **({} if kind in ("PPM", "BMP", "GIF") else {"exif": exif}))
        for _ in range(60):
            broken = np.frombuffer(whole, dtype=np.uint8).copy()
            head = draw.random() < 0.5
            places = draw.integers(0, min(len(broken), 120) if head else len(broken), draw.integers(1, 6))
            broken[places] = draw.integers(0, 256, len(places))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    view = plain()(broken.tobytes())
                except ValueError:
                    outcomes["refused"] += 1
                else:
                    assert view.pixels.shape == (32, 32, 3)
                    outcomes["read"] += 1
    assert min(outcomes.values()) > 30


def test_a_needle_of_a_picture_costs_no_more_than_another():
    needle = encoded(Image.new("L", (60_000, 2), 100))
    for mode in ("squash", "crop", "native"):
        assert (plain(mode=mode)(needle).pixels == 100).all()


# Boxes


def test_a_square_stays_in_its_box():
    """The picture is black but for a white square in the box; so is what comes out, whatever was done to it."""
    box = (0.3, 0.4, 0.6, 0.8)
    picture = Image.new("RGB", (300, 200))
    ImageDraw.Draw(picture).rectangle((90, 80, 179, 159), fill="white")
    for mode in ("squash", "crop", "native"):
        transform = plain(size=160, mode=mode, visible=0.01, augmentation=Augmentation(flip=0.5, smallest_crop=0.3))
        for seed in range(8):
            view = transform(picture, [box], np.random.default_rng(seed))
            rows, columns = view.pixels.shape[:2]
            (moved,) = view.boxes
            white = view.pixels[..., 0] > 127
            if moved is None:
                assert white.mean() < 0.02
                continue
            where = np.argwhere(white)
            found = (*where.min(0)[::-1], *(where.max(0)[::-1] + 1))
            expected = (moved[0] * columns, moved[1] * rows, moved[2] * columns, moved[3] * rows)
            assert np.abs(np.subtract(found, expected)).max() <= 1.5


def test_a_mirrored_picture_has_mirrored_boxes():
    picture, boxes = smooth(40, 30), [(0.1, 0.2, 0.5, 0.9)]
    mirror = plain(augmentation=Augmentation(flip=1.0))(picture, boxes, np.random.default_rng(0))
    straight = plain()(picture, boxes)
    np.testing.assert_array_equal(mirror.pixels, straight.pixels[:, ::-1])
    assert mirror.boxes[0] == pytest.approx((0.5, 0.2, 0.9, 0.9))


def test_squashing_moves_no_box():
    boxes = [(0.1, 0.2, 0.5, 0.9), (0.0, 0.0, 1.0, 1.0)]
    assert plain()(smooth(40, 30), boxes).boxes == tuple(boxes)


def test_the_middle_square_of_a_wide_picture_moves_boxes_in_closed_form():
    """Of 80 x 40 the middle half is seen: x becomes 2 (x - 1/4)."""
    boxes = [(0.25, 0.0, 0.75, 1.0), (0.0, 0.5, 0.5, 1.0), (0.0, 0.0, 0.2, 1.0), (0.0, 0.0, 0.3, 1.0)]
    moved = plain(mode="crop", visible=0.5)(smooth(80, 40), boxes).boxes
    assert moved[0] == pytest.approx((0, 0, 1, 1))
    assert moved[1] == pytest.approx((0, 0.5, 0.5, 1))
    assert moved[2:] == (None, None)
    assert plain(mode="crop", visible=0.1)(smooth(80, 40), boxes).boxes[3] == pytest.approx((0, 0, 0.1, 1))


def test_boxes_are_cut_at_the_picture_and_empty_ones_refused():
    assert plain()(smooth(40, 30), [(-0.01, 0.5, 0.5, 1.02)]).boxes == ((0.0, 0.5, 0.5, 1.0),)
    for box in [(0.5, 0.1, 0.5, 0.9), (0.6, 0.1, 0.5, 0.9), (10.0, 20.0, 30.0, 40.0), (0.1, math.nan, 0.5, 0.9)]:
        with pytest.raises(ValueError, match="is empty; give"):
            plain()(smooth(40, 30), [box])


# Randomness


def test_without_randomness_there_is_no_augmentation():
    changing = plain(augmentation=Augmentation(flip=1.0, smallest_crop=0.1))
    np.testing.assert_array_equal(changing(smooth(40, 30)).pixels, plain()(smooth(40, 30)).pixels)


def test_the_same_randomness_gives_the_same_view():
    transform = plain(augmentation=Augmentation(flip=0.5, smallest_crop=0.1))
    views = [transform(smooth(40, 30), rng=np.random.default_rng(seed)).pixels for seed in (3, 3, 4)]
    np.testing.assert_array_equal(views[0], views[1])
    assert (views[0] != views[2]).any()


def test_crops_keep_the_share_asked_for_and_lie_inside():
    transform = plain(augmentation=Augmentation(smallest_crop=0.25))
    windows = [transform._plan(300, 200, np.random.default_rng(seed))[0] for seed in range(200)]
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in windows]
    assert 0.25 <= min(areas) < 0.3
    assert 0.95 < max(areas) <= 1
    assert np.mean(areas) == pytest.approx(0.625, abs=0.05)
    assert all(low >= 0 and high <= 1 for window in windows for low, high in zip(window[:2], window[2:], strict=True))


@pytest.mark.parametrize("fields", [{"flip": 1.5}, {"flip": -0.1}, {"smallest_crop": 0.0}, {"smallest_crop": 2.0}])
def test_impossible_augmentations_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Augmentation(**fields)


def test_a_transform_crosses_to_a_worker_as_its_fields():
    transform = plain(mode="native", augmentation=Augmentation(flip=0.5))
    assert pickle.loads(pickle.dumps(transform)) == transform  # noqa: S301


# Native aspect


def slow_fit(width: int, height: int, most: int) -> tuple[int, int]:
    """Goes through all grids: the largest scale at which the picture needs no more patches than allowed."""
    best = (0.0, (1, 1))
    for side in (width, height):
        for n in range(1, most + 1):
            scale = n / side
            grid = tuple(math.ceil(round(length * scale, 9)) for length in (height, width))
            if math.prod(grid) <= most:
                best = max(best, (scale, grid))
    return best[1]


def test_parity_of_patch_grids_with_trying_all():
    draw = np.random.default_rng(0)
    for _ in range(150):
        width, height = (int(value) for value in draw.integers(1, 2000, 2))
        most = int(draw.integers(1, 400))
        assert fit_patches(float(width), float(height), most) == slow_fit(width, height, most), (width, height, most)


def test_parity_of_patch_grids_with_transformers():
    siglip2 = pytest.importorskip("transformers.models.siglip2.image_processing_pil_siglip2")
    draw = np.random.default_rng(0)
    for _ in range(200):
        width, height = (int(value) for value in draw.integers(40, 2000, 2))
        rows, columns = siglip2.get_image_size_for_max_num_patches(height, width, 16, 256)
        assert fit_patches(float(width), float(height), 256) == (rows // 16, columns // 16)


@pytest.mark.parametrize(
    ("size", "grid"), [((9.0, 9.0), (16, 16)), ((2.0, 1.0), (11, 22)), ((1e4, 1.0), (1, 256)), ((1.0, 1e4), (256, 1))]
)
def test_patch_grids_of_known_pictures(size, grid):
    assert fit_patches(*size, 256) == grid


def test_parity_of_patches_with_a_loop():
    transform = plain(mode="native", patch_size=4, max_patches=12)
    views = [transform(smooth(40, 30)), transform(smooth(10, 90, 1)), transform(smooth(7, 7, 2))]
    patched = transform.stack(views)
    assert isinstance(patched, PatchedPixels)
    for index, view in enumerate(views):
        rows, columns = patched.grid[index].tolist()
        assert view.pixels.shape == (rows * 4, columns * 4, 3)
        assert patched.mask[index].tolist() == [n < rows * columns for n in range(patched.mask.shape[1])]
        for n in range(rows * columns):
            y, x = divmod(n, columns)
            block = view.pixels[y * 4 : y * 4 + 4, x * 4 : x * 4 + 4] / 255
            expected = torch.tensor((block - CLIP_MEAN) / CLIP_STD).float().flatten()
            torch.testing.assert_close(patched.values[index, n], expected, atol=1e-5, rtol=0)
        assert (patched.values[index, rows * columns :] == 0).all()


def test_patches_of_a_mirrored_view_are_read_as_well():
    transform = plain(mode="native", patch_size=4, max_patches=12, augmentation=Augmentation(flip=1.0))
    picture = smooth(40, 30)
    mirrored = transform.stack([transform(picture, rng=np.random.default_rng(0))])
    straight = transform.stack([View(np.ascontiguousarray(transform(picture).pixels[:, ::-1]))])
    torch.testing.assert_close(mirrored.values, straight.values, atol=0, rtol=0)


# Real photos


def test_the_two_roundings_part_on_a_quarter_of_real_photos(shared_data: Path):
    photos = sorted((shared_data / "coco" / "images").glob("*.jpg"))
    parted = 0
    for photo in photos:
        columns, rows = (int(224 * side / min(stored_size(photo))) for side in stored_size(photo))
        begins = {}
        for rounding in ("floor", "half_even"):
            begins[rounding] = [cut_begins(side, 224, rounding) for side in (columns, rows)]
            window, _ = ImageTransform(mode="crop", crop_rounding=rounding)._plan(*stored_size(photo), None)
            assert [round(window[0] * columns, 6), round(window[1] * rows, 6)] == begins[rounding]
        parted += begins["floor"] != begins["half_even"]
    assert 0.2 < parted / len(photos) < 0.35


def test_real_photos_are_seen_as_transformers_sees_them(shared_data: Path):
    processors = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    theirs = processors.CLIPImageProcessorPil()
    entries = json.loads((shared_data / "coco" / "annotations.json").read_text(encoding="utf-8"))["images"]
    photos = [shared_data / "coco" / "images" / f"{entry['id']:012d}.jpg" for entry in entries[:8]]
    transform = ImageTransform(mode="crop")
    ours = transform.stack([transform(photo) for photo in photos])
    expected = torch.cat([theirs(Image.open(p).convert("RGB"), return_tensors="pt")["pixel_values"] for p in photos])
    torch.testing.assert_close(ours, expected, atol=1e-2, rtol=0)


def test_what_patches_leave_over_is_cut_off_right_and_below():
    """27 patches of 14 pixels in 384; here 3 of 8 in 30."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    whole = ImageTransform(size=30)(photo)
    cut = ImageTransform(size=30, cut=6)(photo, [(0.4, 0.4, 0.8, 0.8), (0.9, 0.9, 1.0, 1.0)])
    assert np.array_equal(cut.pixels, whole.pixels[:24, :24])
    assert cut.boxes == (pytest.approx((0.5, 0.5, 1.0, 1.0)), None)


@pytest.mark.parametrize(
    ("size", "patches"),
    [((160, 160), 128), ((176, 192), 256), ((256, 256), 256), ((272, 256), 576), ((900, 900), 1024)],
)
def test_a_picture_comes_near_the_bucket_that_holds_its_own_patches(size, patches):
    """FG-CLIP 2's rule: more than 784 patches of 16 pixels make 1024, more than 576 make 784, and so on."""
    photo = Image.new("RGB", size)
    buckets = ImageTransform(mode="native", max_patches=1024, buckets=(128, 256, 576, 784, 1024))
    expected = ImageTransform(mode="native", max_patches=patches)
    assert buckets(photo).pixels.shape == expected(photo).pixels.shape


def test_boxes_in_pixels_are_fractions_of_the_picture():
    transform, photo = ImageTransform(size=32), Image.new("RGB", (200, 100))
    pixels = transform(photo, [(50.0, 25.0, 100.0, 75.0)], units="pixels")
    assert pixels.boxes == (pytest.approx((0.25, 0.25, 0.5, 0.75)),)
