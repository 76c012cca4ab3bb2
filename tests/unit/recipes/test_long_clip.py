import pytest
import torch

from foveal.data.texts import FirstSentence
from foveal.recipes.long_clip import Objective, demo, long_clip


def reduced(rows, components):
    """Rows kept to the principal components of all, by singular values."""
    mean = rows.mean(dim=0)
    vectors = torch.linalg.svd(rows - mean)[2][:components]
    return mean + (rows - mean) @ vectors.T @ vectors


def test_long_captions_fit_the_image_and_short_ones_its_components(output, info_nce, same_terms):
    expected = {
        "long_caption": info_nce(output.image, output.texts["long_caption"].embedding, 4.0, 0.1),
        "principal_component": 0.3 * info_nce(reduced(output.image, 2), output.texts["caption"].embedding, 4.0, 0.1),
    }
    same_terms(Objective(components=2, short=0.3)(output), expected)


def test_with_as_many_components_as_images_they_are_the_images(output, info_nce, same_terms):
    expected = {
        "long_caption": info_nce(output.image, output.texts["long_caption"].embedding, 4.0),
        "principal_component": info_nce(output.image, output.texts["caption"].embedding, 4.0),
    }
    same_terms(Objective(components=32, label_smoothing=0.0)(output), expected)


@pytest.mark.parametrize("missing", ["caption", "long_caption"])
def test_both_texts_are_needed(output, without, missing):
    with pytest.raises(ValueError, match=f"--set data.{missing}s=true."):
        Objective()(without(output, missing))


def test_positions_are_stretched_and_the_first_20_frozen_but_not_where_all_is_fresh():
    text, small = long_clip().model.text, demo().model.text
    assert (text.context, text.kept_positions, text.freeze_kept) == (248, 20, True)
    assert (small.context, small.kept_positions, small.freeze_kept) == (248, 20, False)


def test_the_short_caption_is_the_first_sentence_but_the_datas_own_in_the_demo():
    assert long_clip().data.edits == (FirstSentence(),)
    assert demo().data.edits == ()
