from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from foveal.data.images import ImageTransform, open_upright
from foveal.data.png import lean

XMP = '<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
LONG = '{"nodes": []}' * 250_000


def png(*texts, **options):
    """A PNG of 8 x 4 random pixels with texts (keyword, text, how)."""
    info = PngImagePlugin.PngInfo()
    for keyword, text, how in texts:
        if how == "international":
            info.add_itxt(keyword, text, zip=True)
        else:
            info.add_text(keyword, text, zip=how == "packed")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG", pnginfo=info, **options)
    return content.getvalue(), pixels


@pytest.mark.parametrize("how", ["packed", "international", "plain"])
def test_a_text_of_any_length_costs_no_picture(how):
    """Pillow refuses packed texts beyond 1 MiB, as pictures of generators and editors have them."""
    content, pixels = png(("workflow", LONG, how))
    np.testing.assert_array_equal(open_upright(content, 8)[0], pixels)


def test_a_text_behind_the_pixels_costs_no_picture():
    content, pixels = png(("workflow", LONG, "packed"))
    start = content.index(b"zTXt") - 4
    stop = start + 12 + int.from_bytes(content[start : start + 4], "big")
    end = content.index(b"IEND") - 4
    moved = content[:start] + content[stop:end] + content[start:stop] + content[end:]
    np.testing.assert_array_equal(open_upright(moved, 8)[0], pixels)


def test_a_large_color_profile_costs_no_picture():
    content, pixels = png(icc_profile=bytes(3 * 2**20))
    np.testing.assert_array_equal(open_upright(content, 8)[0], pixels)


def test_a_bomb_of_pixels_is_still_refused():
    content = BytesIO()
    Image.new("1", (9_500, 9_500)).save(content, "PNG")
    with pytest.raises(ValueError, match="cannot be read"):
        ImageTransform()(content.getvalue())


def test_the_limit_of_the_process_stays_as_it_was():
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    open_upright(png(("workflow", LONG, "packed"))[0], 8)
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


@pytest.mark.parametrize("how", ["packed", "international", "plain"])
def test_texts_that_say_how_the_picture_was_held_stay(how):
    content, pixels = png(("XML:com.adobe.xmp", XMP, how), ("workflow", LONG, "packed"))
    assert Image.open(BytesIO(lean(content))).getexif()[ExifTags.Base.Orientation] == 6
    np.testing.assert_array_equal(open_upright(content, 8)[0], np.rot90(pixels, -1))


def test_a_text_about_how_it_was_held_that_unpacks_to_too_much_goes():
    content, pixels = png(("XML:com.adobe.xmp", XMP + " " * 2**21, "packed"))
    np.testing.assert_array_equal(open_upright(content, 8)[0], pixels)


def test_what_holds_no_text_comes_back_as_it_is():
    content = png()[0]
    assert lean(content) is content
    assert lean(b"zTXt") == b"zTXt"


def test_every_cut_of_a_file_is_taken():
    content = png(("workflow", "short", "packed"), ("other", "text", "plain"))[0]
    for length in range(len(content)):
        assert lean(content[:length]).startswith(content[:8][:length])
