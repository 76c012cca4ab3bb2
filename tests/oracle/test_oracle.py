"""What was computed by slow plain code stays what foveal computes, for each family in its published layout."""

import pytest
import torch

from oracle import agreement, preparation
from oracle.agreement import FAMILIES, OTHERS


def alike(made, kept) -> bool:
    """Equal, numbers up to the last of ten digits, which the order of a sum may change."""
    if isinstance(kept, dict):
        return made.keys() == kept.keys() and all(alike(made[key], value) for key, value in kept.items())
    if isinstance(kept, list):
        return len(made) == len(kept) and all(map(alike, made, kept))
    return made == kept or (isinstance(kept, float) and abs(made - kept) < 3e-10)


@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_the_slow_code_still_gives_what_its_file_holds(name):
    assert alike(agreement.made(name), agreement.kept(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_opened_from_its_published_layout_computes_what_the_formulas_give(name, tmp_path):
    encoder = agreement.opened(name, tmp_path)
    assert encoder.protocol.family == ("clip" if name == "open_clip" else name)
    for dtype, most in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        encoder.model.to(dtype)
        apart = agreement.differences(name, encoder)
        assert {"images", "scale"} < apart.keys()
        assert max(apart.values()) < most, apart


@pytest.mark.parametrize("name", FAMILIES)
def test_no_part_of_a_model_is_without_effect_on_what_its_file_holds(name, tmp_path):
    encoder = agreement.opened(name, tmp_path)
    for parameter in encoder.model.parameters():
        parameter.requires_grad_(True)
    found = agreement.measured(encoder, agreement.kept(name)["inputs"])
    kept = [found[key] for key in agreement.kept(name)["outputs"]]
    sum((rows * torch.sin(torch.arange(rows.numel()) + 1.0).view(rows.shape)).sum() for rows in kept).backward()
    idle = {
        key for key, each in encoder.model.named_parameters() if each.grad is None or not each.grad.abs().max() > 1e-9
    }
    assert idle <= {"log_negative_scale", "log_region_scale"}  # of training; FG-CLIP 2 was published without them


def test_hard_texts_have_the_ids_that_the_rules_of_the_vocabulary_give():
    for text, expected, ours in agreement.tokenized():
        assert ours == expected, text


@pytest.mark.parametrize("case", list(preparation.CASES))
def test_prepared_pixels_are_within_a_level_of_plain_sums(case):
    assert agreement.levels_apart(case) <= 1.01
