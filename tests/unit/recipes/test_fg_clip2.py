import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.recipes.fg_clip2 import Objective, demo, stage2, stage2_paper

WEIGHTS = Objective(region=0.2, hard_negative=1.5, intra_modal=0.1, ranking=0.4, pooled=0.3)


def sigmoid(left, right, scale, bias):
    """A yes for every pair and a no for all others, by a loop."""
    total = 0
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            logit = scale * one @ other + bias
            total = total + F.softplus(-logit if i == j else logit)
    return total / len(left)


def leads(output):
    """By how much each hard negative's region prefers its phrase, in logits."""
    owner = output.texts["negative"].owner
    right = (output.regions * output.texts["phrase"].embedding).sum(1)[owner]
    return 6.0 * (right - (output.regions[owner] * output.texts["negative"].embedding).sum(1))


def apart(phrases):
    """Log sum exp of each phrase's similarities but the least of them; its own and those above 0.95 count as zero."""
    rows = []
    for i, one in enumerate(phrases):
        row = [0.0 if i == j or one @ other > 0.95 else (one @ other).item() for j, other in enumerate(phrases)]
        rows.append(math.log(sum(map(math.exp, sorted(row)[1:]))))
    return sum(rows) / len(rows)


def pooled(output):
    """Regions with hard negatives find their phrase among all texts, phrases their region."""
    part = output.texts["negative"].owner.unique()
    regions, phrases = output.regions[part], output.texts["phrase"].embedding[part]
    target = torch.arange(len(part))
    forth = F.cross_entropy(6.0 * regions @ torch.cat([phrases, output.texts["negative"].embedding]).T, target)
    return (forth + F.cross_entropy(6.0 * phrases @ regions.T, target)) / 2


def test_every_term_is_its_equation(output, info_nce, near_misses, same_terms):
    block = (
        output.regions,
        output.texts["phrase"].embedding,
        output.texts["negative"].embedding,
        output.texts["negative"].owner,
    )
    objective = WEIGHTS.start()
    expected = {
        "caption": sigmoid(output.image, output.texts["caption"].embedding, 4.0, -2.0),
        "long_caption": sigmoid(output.image, output.texts["long_caption"].embedding, 4.0, -2.0),
        "region": 0.2 * info_nce(output.regions, output.texts["phrase"].embedding, 5.0),
        "intra_modal": 0.1 * apart(output.texts["phrase"].embedding),
        "hard_negative": 1.5 * near_misses(*block, 6.0),
        "ranking": 0.4 * (-leads(output)).relu().mean(),
        "pooled": 0.3 * pooled(output),
    }
    same_terms(objective(output), expected)


def test_the_next_step_wants_the_lead_that_this_one_had(output):
    leading = replace(output.texts["phrase"], embedding=output.regions)
    output = replace(output, texts={**output.texts, "phrase": leading})
    objective = WEIGHTS.start()
    objective(output)
    lead = leads(output).mean().clamp(0, 10)
    assert objective.threshold.value.item() == pytest.approx(lead.item())
    second = objective(output)["ranking"]
    assert second.item() == pytest.approx(0.4 * (lead - leads(output)).relu().mean().item())
    assert lead > 0


def test_the_threshold_is_saved_and_taken_up(output):
    first, second = WEIGHTS.start(), WEIGHTS.start()
    first.load_state_dict({"value": torch.tensor(2.5)})
    second.load_state_dict(first.state_dict())
    assert second.threshold.value == 2.5
    assert second(output)["ranking"] == first(output)["ranking"]


def test_every_training_begins_with_a_threshold_of_its_own(output):
    first = WEIGHTS.start()
    first.load_state_dict({"value": torch.tensor(2.5)})
    assert WEIGHTS.start().threshold.value == 0


def test_what_was_not_asked_for_has_no_term(without_regions):
    assert set(WEIGHTS.start()(without_regions)) == {"caption", "long_caption"}


def test_a_batch_without_regions_costs_nothing_and_leaves_the_threshold(without_rows):
    objective = WEIGHTS.start()
    objective.load_state_dict({"value": torch.tensor(2.5)})
    terms = objective(without_rows)
    assert [terms[name].item() for name in ("region", "intra_modal", "hard_negative", "ranking", "pooled")] == [0] * 5
    assert objective.threshold.value == 2.5


def test_paper_and_code_differ_in_weights_alone():
    paper, code = stage2_paper(), stage2()
    assert paper.objective != code.objective
    assert paper.objective.pooled == 0
    assert (paper.model, paper.data, paper.optimizer) == (code.model, code.data, code.optimizer)


def test_the_published_run_refuses_clips_tokenizer_which_the_demo_has():
    run, small = stage2(), demo()
    with pytest.raises(ValueError, match=r"ends texts with 49407, the model wants 1\. Set data\.tokenizer\.path"):
        run.data.batcher(run.model)
    assert small.data.batcher(small.model).tokenizer.path is None
