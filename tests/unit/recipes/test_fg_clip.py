import pytest

from foveal.recipes.fg_clip import Objective, stage1, stage2


def test_global_regional_and_hard_terms_are_weighted_as_in_the_paper(output, info_nce, near_misses, same_terms):
    block = (
        output.regions,
        output.texts["phrase"].embedding,
        output.texts["negative"].embedding,
        output.texts["negative"].owner,
    )
    expected = {
        "caption": info_nce(output.image, output.texts["caption"].embedding, 4.0),
        "long_caption": info_nce(output.image, output.texts["long_caption"].embedding, 4.0),
        "region": 0.1 * info_nce(output.regions, output.texts["phrase"].embedding, 5.0),
        "hard_negative": 0.5 * near_misses(*block, 6.0),
    }
    same_terms(Objective()(output), expected)


def test_weights_are_those_that_were_set(output):
    plain, heavy = Objective(alpha=1.0, beta=1.0)(output), Objective(alpha=3.0, beta=2.0)(output)
    assert heavy["region"] == 3 * plain["region"]
    assert heavy["hard_negative"] == 2 * plain["hard_negative"]


def test_regions_with_one_phrase_need_not_be_told_apart(output, info_nce):
    keys = output.texts["phrase"].key
    loss = Objective(alpha=1.0, drop_same_phrase=True)(output)["region"]
    assert loss.item() == pytest.approx(
        info_nce(output.regions, output.texts["phrase"].embedding, 5.0, keys=keys).item()
    )
    assert loss < Objective(alpha=1.0)(output)["region"]


def test_what_was_not_asked_for_has_no_term(output, without, without_regions):
    assert set(Objective()(without_regions)) == {"caption", "long_caption"}
    no_negatives = without(output, "negative")
    assert set(Objective()(no_negatives)) == {"caption", "long_caption", "region"}


def test_a_batch_without_regions_costs_nothing(without_rows):
    terms = Objective()(without_rows)
    assert terms["region"] == terms["hard_negative"] == 0


def test_stages_differ_in_data_and_schedule_alone():
    first, second = stage1(), stage2()
    assert (first.data.regions, second.data.regions, second.data.negatives) == (0, 4, 10)
    assert (first.model, first.objective) == (second.model, second.objective)
