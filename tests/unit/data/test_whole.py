import random
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from foveal.data import whole
from foveal.data.images import open_upright
from foveal.data.whole import check_whole


def picture(kind="JPEG", **options):
    colors = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    data = BytesIO()
    Image.fromarray(colors).resize((160, 120), Image.Resampling.BICUBIC).save(data, kind, **options)
    return data.getvalue()


def is_decoded(content):
    try:
        open_upright(content, 1)
    except ValueError:
        return False
    return True


def passes(content):
    try:
        check_whole(content)
    except ValueError:
        return False
    return True


def damaged(content, chance):
    """The bytes with something done to them: changed, cut off, zeroed, lost or doubled."""
    hurt, at = bytearray(content), chance.randrange(len(content))
    how = chance.choice(["bytes", "head", "cut", "zero", "drop", "double"])
    if how == "bytes":
        for place in chance.choices(range(len(hurt)), k=10):
            hurt[place] = chance.randrange(256)
    elif how == "head":
        hurt[chance.randrange(min(700, len(hurt)))] = chance.randrange(256)
    elif how == "cut":
        del hurt[at:]
    elif how == "zero":
        hurt[at : at + 400] = bytes(len(hurt[at : at + 400]))
    elif how == "drop":
        del hurt[at : at + chance.randrange(1, 900)]
    else:
        hurt[at:at] = hurt[at : at + 500]
    return bytes(hurt)


@pytest.mark.parametrize("options", [{}, {"quality": 95, "subsampling": 0}, {"restart_marker_blocks": 4}])
@pytest.mark.filterwarnings("ignore")  # Pillow's, of broken EXIF
def test_what_passes_unseen_is_what_a_decoder_takes(options, monkeypatch):
    content, chance = picture(**options), random.Random(0)
    seen = []
    monkeypatch.setattr(whole, "open_upright", lambda one, side: seen.append(len(one)) or open_upright(one, side))
    check_whole(content)
    assert seen == [whole._pixels(content) + 2]  # the pixels were not decoded
    outcomes = {True: 0, False: 0}
    for _ in range(1500):
        hurt = damaged(content, chance)
        assert passes(hurt) == is_decoded(hurt)
        outcomes[passes(hurt)] += 1
    assert min(outcomes.values()) > 100


@pytest.mark.parametrize("content", [picture(progressive=True), picture("PNG"), picture("WEBP"), picture() + b"more"])
def test_others_are_decoded(content, monkeypatch):
    seen = []
    monkeypatch.setattr(whole, "open_upright", lambda one, side: seen.append(one) or open_upright(one, side))
    check_whole(content)
    assert seen == [content]


@pytest.mark.parametrize("content", [b"", b"no picture", picture()[:-300], picture("PNG")[:-300]])
def test_what_is_broken_is_said(content):
    with pytest.raises(ValueError, match="cannot be read"):
        check_whole(content)
