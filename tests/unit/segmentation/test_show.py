"""Label maps as pictures, and the command that makes them."""

import pytest
import torch
from PIL import Image

from foveal.cli.main import main
from foveal.data.images import ImageTransform
from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.segmentation import as_table, confidence_picture, labels_picture, overlay, palette
from foveal.types import Segmentation


@pytest.fixture
def segmentation():
    labels = torch.full((20, 40), -1)
    labels[:, 10:30], labels[:, 30:] = 0, 1
    return Segmentation(labels, torch.full((20, 40), 0.5), ("sky", "tree"))


def test_the_palette_is_that_of_pascal_voc():
    assert palette(5).tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert len({tuple(color) for color in palette(256).tolist()}) == 256


def test_labels_are_numbers_with_a_palette(segmentation):
    picture = labels_picture(segmentation)
    assert picture.mode == "P"
    assert [picture.getpixel((x, 5)) for x in (0, 10, 30)] == [0, 1, 2]
    assert picture.convert("RGB").getpixel((30, 5)) == (0, 128, 0)
    many = Segmentation(segmentation.labels + 300, segmentation.confidence, tuple(map(str, range(400))))
    assert labels_picture(many).getpixel((30, 5)) == 302


def test_confidences_are_gray(segmentation):
    assert confidence_picture(segmentation).getpixel((0, 0)) == 128


def test_an_overlay_leaves_background_as_it_is(segmentation):
    drawn = overlay(Image.new("RGB", (400, 200), (200, 200, 200)), segmentation)
    assert drawn.size == (400, 200)
    assert drawn.getpixel((50, 150)) == (200, 200, 200)
    assert drawn.getpixel((200, 150))[0] > drawn.getpixel((200, 150))[1]
    assert drawn.getpixel((390, 150))[1] > drawn.getpixel((390, 150))[0]


def test_a_table_says_how_much_of_a_photo_each_name_has(segmentation, tmp_path):
    assert as_table([tmp_path / "a.jpg"], [segmentation]).splitlines() == [
        "a.jpg   50.0 %  sky  0.50",
        "a.jpg   25.0 %  tree  0.50",
    ]


def test_the_command_writes_labels_overlay_and_confidence(tmp_path, capsys):
    config = tiny()
    transform = ImageTransform(size=config.vision.image_size, patch_size=config.vision.patch_size)
    Encoder(DualEncoder(config).eval(), Tokenizer.clip(), transform).save(tmp_path / "model")
    photo = tmp_path / "photo.png"
    photo.write_bytes(Scenes(count=1, size=48).sample(0).image)
    files = {name: tmp_path / f"{name}.png" for name in ("out", "draw", "confidence")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    words = ["segment", str(tmp_path / "model"), str(photo), "a red tile", "grass|lawn"]
    assert main([*words, *options, "--attention", "clearclip", "--short", "64", "--window", "32"]) == 0
    assert "attention='clearclip'" in capsys.readouterr().out
    for path, mode in zip(files.values(), ("P", "RGB", "L"), strict=True):
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == (mode, (48, 48))
    assert main([*words[:3]]) == 2
    assert "nothing to look for" in capsys.readouterr().err
