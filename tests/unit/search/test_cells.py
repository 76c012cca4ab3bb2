import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.search import cells as module
from foveal.search.cells import Cells, Postings, taught
from foveal.similarity import late_interaction


@pytest.fixture(scope="module")
def sets():
    """Token sets of 300 pictures, gathered around 40 directions."""
    generator = torch.Generator().manual_seed(0)
    centers = F.normalize(torch.randn(40, 16, generator=generator), dim=-1)
    which = torch.randint(40, (300, 6), generator=generator)
    return F.normalize(centers[which] + 0.15 * torch.randn(300, 6, 16, generator=generator), dim=-1)


@pytest.fixture(scope="module")
def cells(sets):
    return Cells.learn(sets.flatten(0, 1), 40 * module.PER_CELL)


def test_every_token_lies_in_the_best_cell_of_its_best_groups(sets, cells):
    tokens = sets.flatten(0, 1)
    found = cells.of(tokens)
    group_of = torch.arange(len(cells.sizes)).repeat_interleave(torch.tensor(cells.sizes))
    for token, cell in zip(tokens[:100], found[:100], strict=True):
        near = (cells.groups @ token).topk(min(module.GROUPS, len(cells.groups))).indices
        own = torch.isin(group_of, near).nonzero()[:, 0]
        assert cells.centers[cell] @ token == pytest.approx((cells.centers[own] @ token).max().item())
        assert group_of[cell] in near
    assert len(cells.centers) == sum(cells.sizes)
    torch.testing.assert_close(cells.centers.norm(dim=1), torch.ones(len(cells.centers)))


def test_the_first_pass_is_late_interaction_with_centers(sets, cells, monkeypatch):
    """With every cell looked into, against the plain computation."""
    monkeypatch.setattr(module, "PROBES", 10**6)
    codes = cells.of(sets.flatten(0, 1)).view(300, 6)
    query = sets[17, :4]
    best = late_interaction(query[None], cells.centers[codes])[0].argsort(descending=True, stable=True)
    found = Postings(cells, codes.numpy().astype(np.uint16)).nearest(query, 20)
    scores = late_interaction(query[None], cells.centers[codes])[0]
    torch.testing.assert_close(scores[torch.tensor(found)], scores[best[:20]])


def test_few_cells_find_the_best_too(sets, cells, monkeypatch):
    monkeypatch.setattr(module, "PROBES", 8)
    codes = cells.of(sets.flatten(0, 1)).view(300, 6).numpy().astype(np.uint16)
    postings = Postings(cells, codes)
    for own in range(0, 300, 10):
        truth = late_interaction(sets[own][None], sets)[0].topk(5).indices.tolist()
        found = postings.nearest(sets[own], 60).tolist()
        assert own in found[:5]
        assert len(set(truth) & set(found)) >= 4


def test_numbers_of_cells_and_of_tokens_they_are_learnt_from():
    assert taught(100) == 100
    assert taught(16 * 10**6) == 60_000 * module.TAUGHT


def test_fewer_tokens_than_cells_are_no_obstacle():
    tokens = F.normalize(torch.randn(3, 8), dim=-1)
    assert Cells.learn(tokens, 3).of(tokens).shape == (3,)
