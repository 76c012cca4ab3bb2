from dataclasses import replace

import pytest
import torch

from foveal.models.dual_encoder import DualEncoder
from foveal.models.positions import stretch_positions
from foveal.models.sizes import fg_clip, finelip, long_text, tiny
from foveal.models.upgrade import upgrade

END = 49407


def texts() -> torch.Tensor:
    ids = torch.randint(1, 400, (3, 19))
    ids[:, -1] = END
    return ids


@pytest.mark.parametrize("variant", [long_text, finelip, fg_clip])
def test_an_upgraded_clip_still_reads_short_texts_and_pictures_as_before(variant):
    clip = DualEncoder(tiny()).eval()
    new = upgrade(clip, variant(tiny())).eval()
    ids, pixels = texts(), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(new.encode_images(pixels), clip.encode_images(pixels))
    for kind in ("caption", "long_caption", "phrase"):  # up to 20 tokens lie on the kept positions
        torch.testing.assert_close(new.encode_texts(ids, kind), clip.encode_texts(ids, kind))


def test_positions_are_stretched_and_copied_scales_follow():
    clip = DualEncoder(tiny())
    clip.log_scale.data.fill_(1.5)
    new = upgrade(clip, fg_clip(tiny()))
    torch.testing.assert_close(new.text.long_positions(), stretch_positions(clip.text.positions()))
    assert new.log_region_scale.item() == new.log_negative_scale.item() == 1.5


def test_the_same_config_gives_the_same_model():
    clip = DualEncoder(tiny())
    assert upgrade(clip, tiny()) is clip


def test_other_towers_are_refused_by_name():
    wider = replace(tiny(), vision=replace(tiny().vision, width=48))
    with pytest.raises(ValueError, match=r"tensors do not fit.*image_projection\.weight"):
        upgrade(DualEncoder(tiny()), wider)


def test_a_length_that_no_stretching_gives_is_refused():
    odd = replace(tiny(), text=replace(tiny().text, context=200, kept_positions=20))
    with pytest.raises(ValueError, match="77 positions cannot be stretched to 200 with 20 kept"):
        upgrade(DualEncoder(tiny()), odd)
