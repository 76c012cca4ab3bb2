"""Labels of pixels: in pieces as whole, windows as without, and names in any order."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from foveal.data.images import ImageTransform
from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, segmenting
from foveal.encoder.segmenting import Placed, Segmenting, best_queries
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny

NAMES = ["sky", "tree", "dog"]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    config = tiny()
    transform = ImageTransform(size=config.vision.image_size, patch_size=config.vision.patch_size)
    return Encoder(DualEncoder(config).eval(), Tokenizer.clip(), transform)


@pytest.fixture
def photo():
    return Image.effect_noise((50, 40), 90).convert("RGB")


def whole(similarity, size, scale):
    logits = scale * F.interpolate(similarity.permute(2, 0, 1)[None], size[::-1], mode="bilinear")[0]
    likely = logits.softmax(dim=0).max(dim=0)
    return likely.indices, likely.values


def test_parity_classes_in_blocks_are_all_at_once(monkeypatch):
    similarity = torch.randn(7, 9, 23)
    view = Placed(similarity, (0, 0, 7, 9))
    expected = whole(similarity, (31, 20), 5.0)
    for numbers in (1, 3 * 31 * 20, 2**22):
        monkeypatch.setattr(segmenting, "_NUMBERS", numbers)
        best, confidence = best_queries([view], (7, 9), (31, 20), 5.0)
        assert torch.equal(best, expected[0])
        torch.testing.assert_close(confidence, expected[1])


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                self.bytes = max(self.bytes, value.untyped_storage().nbytes())
        return result


def test_many_classes_take_little_memory():
    """847 classes at 640 x 480 were 1 GB of logits; a block of them, its upsampling and what is carried stay small."""
    view = Placed(torch.randn(28, 28, 847), (0, 0, 448, 448))
    with Largest() as largest:
        best_queries([view], (448, 448), (640, 480), 10.0)
    assert largest.bytes <= 20 * 2**20  # ten of these live at once at most: within 300 MiB


def test_a_window_of_the_whole_picture_is_no_window(encoder):
    square = Image.effect_noise((40, 40), 90).convert("RGB")
    plain = encoder.segment([square], NAMES, settings=Segmenting(short=32))[0]
    windowed = encoder.segment([square], NAMES, settings=Segmenting(short=32, window=32))[0]
    assert torch.equal(plain.labels, windowed.labels)
    torch.testing.assert_close(plain.confidence, windowed.confidence)


def test_overlapping_windows_are_averaged():
    flat = [torch.full((2, 2, 1), value) for value in (0.0, 1.0)]
    views = [Placed(flat[0], (0, 0, 4, 4)), Placed(flat[1], (0, 2, 4, 4))]
    upsampled = segmenting._upsampled(views, (4, 6), (6, 4))
    assert upsampled[0, 0].tolist() == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]


def test_windows_cover_all_of_a_picture():
    views, canvas = Segmenting(short=64, window=32, stride=24).views(Image.new("RGB", (100, 50)), ImageTransform())
    covered = torch.zeros(canvas)
    for _, (top, left, height, width) in views:
        covered[top : top + height, left : left + width] += 1
    assert canvas == (64, 128)
    assert covered.min() >= 1


def test_labels_have_the_size_of_the_photo(encoder, photo):
    turned = photo.copy()
    turned.getexif()[0x0112] = 6
    for settings in (Segmenting(), Segmenting(short=48), Segmenting(short=48, window=32)):
        upright, sideways = encoder.segment([photo, turned], NAMES, settings=settings)
        assert upright.labels.shape == upright.confidence.shape == (40, 50)
        assert sideways.labels.shape == (50, 40)
        assert set(upright.labels.unique().tolist()) <= {0, 1, 2}
        assert ((upright.confidence > 0) & (upright.confidence <= 1)).all()


def test_one_name_takes_all_and_is_sure(encoder, photo):
    only = encoder.segment([photo], ["sky"])[0]
    assert not only.labels.any()
    torch.testing.assert_close(only.confidence, torch.ones(40, 50))


def test_permuting_names_permutes_labels(encoder, photo):
    labels = encoder.segment([photo], NAMES)[0].labels
    turned = encoder.segment([photo], NAMES[::-1])[0].labels
    assert torch.equal(labels, 2 - turned)


@pytest.mark.parametrize("attention", ["identity", "maskclip", "sclip", "clearclip"])
def test_other_readings_give_other_maps_of_the_same_size(encoder, photo, attention):
    plain, other = (
        encoder.segment([photo], NAMES, settings=Segmenting(attention=kind))[0] for kind in ("model", attention)
    )
    assert other.labels.shape == plain.labels.shape
    assert not torch.allclose(other.confidence, plain.confidence)


def test_background_is_what_its_names_win_or_what_nobody_is_sure_of(encoder, photo):
    plain = encoder.segment([photo], NAMES)[0]
    named = encoder.segment([photo], ["sky", "dog"], background=["tree"])[0]
    assert torch.equal(named.labels == -1, plain.labels == 1)
    middle = float(plain.confidence.median())
    unsure = encoder.segment([photo], NAMES, settings=Segmenting(threshold=middle))[0]
    assert torch.equal(unsure.labels == -1, plain.confidence < middle)


def test_the_best_of_several_words_stands_for_a_name(encoder, photo):
    plain = encoder.segment([photo], NAMES)[0]
    joined = encoder.segment([photo], ["sky|tree", "dog"])[0]
    assert torch.equal(joined.labels == 1, plain.labels == 2)
    torch.testing.assert_close(joined.confidence, plain.confidence)


def test_nonsense_is_refused_in_one_line(encoder, photo):
    for names, said in (([], "nothing to look for"), (["sky", "Sky"], "is given 2 times")):
        with pytest.raises(ValueError, match=said):
            encoder.segment([photo], names)
    for names, said in ((["dog|"], "A name is empty"), (["dog|puppy", "puppy"], "'puppy' is given 2 times")):
        with pytest.raises(ValueError, match=said):
            encoder.segment([photo], names)
    with pytest.raises(ValueError, match="is given 2 times"):
        encoder.segment([photo], ["sky"], background=["sky"])
    with pytest.raises(ValueError, match="Give a short that holds a window"):
        Segmenting(window=32)


def test_a_model_of_native_aspect_labels_no_padding():
    config = tiny()
    vision = replace(config.vision, pooling="attention", dense="attention_head", input_norm=False, patch_bias=True)
    config = replace(config, vision=vision)
    transform = ImageTransform(mode="native", patch_size=config.vision.patch_size, max_patches=16)
    encoder = Encoder(DualEncoder(config).eval(), Tokenizer.clip(), transform)
    pictures = [Scenes(count=1, size=32).sample(0).image, Image.new("RGB", (60, 20))]
    tall, wide = encoder.segment(pictures, NAMES)
    assert tall.labels.shape == (32, 32)
    assert wide.labels.shape == (20, 60)
