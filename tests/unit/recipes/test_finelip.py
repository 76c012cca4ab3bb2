from dataclasses import replace

import pytest

from foveal.recipes.finelip import Objective, demo, finelip, released
from foveal.similarity import clim


def triplet(output, margin):
    """Every other image and every other text of each pair, by loops over pairs; as a sum."""
    sets = (
        output.texts["long_caption"].tokens,
        output.image_tokens,
        output.texts["long_caption"].token_mask,
        output.image_token_mask,
    )
    s = clim(*sets, leak=0.1)
    pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if i != j]
    return sum((margin + s[i, j] - s[i, i]).relu() + (margin + s[i, j] - s[j, j]).relu() for i, j in pairs)


def test_pairs_are_told_apart_token_by_token_in_a_sum(output, same_terms):
    same_terms(Objective()(output), {"token_triplet": triplet(output, 0.2)})


def test_a_mean_is_the_sum_by_the_number_of_pairs(output, same_terms):
    expected = {"token_triplet": triplet(output, 0.5) / 20}
    same_terms(Objective(margin=0.5, reduction="mean")(output), expected)


def test_the_hardest_alone_are_fewer(output):
    assert Objective(hardest=True)(output)["token_triplet"] < Objective()(output)["token_triplet"]


def test_a_global_term_joins_where_it_has_a_weight(output, info_nce, same_terms):
    expected = {
        "token_triplet": triplet(output, 0.2),
        "long_caption": 0.5 * info_nce(output.image, output.texts["long_caption"].embedding, 4.0),
    }
    same_terms(Objective(contrastive=0.5)(output), expected)


@pytest.mark.parametrize(
    ("missing", "setting"),
    [
        ("long_caption.tokens", "--set model.tokens=raw."),
        ("image_tokens", "--set model.tokens=raw."),
        ("long_caption", "--set data.long_captions=true."),
    ],
)
def test_token_sets_and_long_captions_are_needed(output, without, missing, setting):
    with pytest.raises(ValueError, match=setting):
        Objective()(without(output, missing))


def test_the_release_differs_in_its_schedule_alone():
    ours, theirs = finelip(), released()
    assert theirs.optimizer.schedule == "finelip_release"
    optimizer = replace(theirs.optimizer, schedule=ours.optimizer.schedule)
    assert replace(theirs, name=ours.name, optimizer=optimizer) == ours


def test_refinement_learns_200_times_faster_and_all_alike_from_nothing():
    assert set(finelip().optimizer.lr_factors) == {("image_refiner", 200.0), ("text_refiner", 200.0)}
    assert demo().optimizer.lr_factors == ()
