import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.search.store import cells as module
from foveal.search.store.cells import Cells, Postings, remainder_bytes, remainders, taught
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


@pytest.fixture(scope="module")
def postings(sets, cells):
    return posted(sets, cells)


def posted(sets, cells):
    codes = cells.of(sets.flatten(0, 1))
    left = remainders(sets.flatten(0, 1), cells.centers[codes])
    shape = sets.shape[:2]
    return Postings(cells, codes.view(shape).numpy().astype(np.uint16), left.reshape(*shape, -1))


def test_pictures_are_found_by_what_their_tokens_gain_in_near_cells(sets, cells, postings, monkeypatch):
    """Against the plain loop."""
    monkeypatch.setattr(module, "PROBES", 8)
    monkeypatch.setattr(module, "FEWEST", 0)
    monkeypatch.setattr(module, "CLOSER", 0)
    codes = cells.of(sets.flatten(0, 1)).view(300, 6)
    query = sets[17, :4]
    gained = torch.zeros(300)
    for token in query:
        alike = cells.centers @ token
        first = alike.sort(descending=True)
        for cell in first.indices[:8]:
            gained += (codes == cell).sum(dim=1) * (alike[cell] - first.values[8])
    found = postings.nearest(query, 20)
    best = gained[torch.tensor(found)].sort(descending=True).values  # these are put in order by remainders
    torch.testing.assert_close(best, gained.sort(descending=True).values[:20])


def rebuilt(left, width):
    """Remainders from their bytes, number by number."""
    lengths = left[..., :1] / module.LENGTHS
    twos = np.stack([left[..., 1:] >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1).reshape(*left.shape[:-1], -1)
    directions = module._directions(width)
    numbers = torch.tensor(module.LEVELS)[torch.from_numpy(twos[..., : directions.shape[1]].astype(np.int64))]
    return torch.from_numpy(lengths).float() * numbers @ directions.T / width**0.5


def test_remainders_are_compared_as_late_interaction_with_what_their_bytes_say(sets, cells, postings, monkeypatch):
    """With every picture looked at, against the plain computation."""
    monkeypatch.setattr(module, "PROBES", 10**6)
    codes = cells.of(sets.flatten(0, 1))
    left = remainders(sets.flatten(0, 1), cells.centers[codes])
    query = sets[17, :4]
    near = (cells.centers[codes] + rebuilt(left, 16)).view(300, 6, 16)
    scores = late_interaction(query[None], near)[0]
    found = postings.nearest(query, 20)
    torch.testing.assert_close(scores[torch.tensor(found)], scores.sort(descending=True).values[:20])


@pytest.mark.parametrize("width", [6, 16, 128, 384])
def test_remainders_keep_most_of_what_they_have_room_for(width):
    """Two bits leave 0.1175 of a normal distribution's variance (Max, 1960), and less where directions are few."""
    generator = torch.Generator().manual_seed(0)
    tokens, centers = F.normalize(torch.randn(2, 2000, width, generator=generator), dim=-1)
    left = remainders(tokens, centers)
    assert left.shape == (2000, remainder_bytes(width))
    directions = module._directions(width)
    torch.testing.assert_close(directions.T @ directions, torch.eye(directions.shape[1]), atol=1e-5, rtol=0)
    true = tokens - centers
    lost = (true - rebuilt(left, width)).pow(2).sum() / true.pow(2).sum()
    outside = 1 - directions.shape[1] / width
    assert lost.item() == pytest.approx(outside + 0.1175 * (1 - outside), abs=0.03)


def test_a_token_at_the_center_of_its_cell_leaves_nothing():
    tokens = F.normalize(torch.randn(3, 16), dim=-1)
    left = remainders(tokens, tokens)
    assert not left[:, 0].any()
    assert not rebuilt(left, 16).any()


def test_few_cells_find_the_best_too(sets, postings, monkeypatch):
    monkeypatch.setattr(module, "PROBES", 8)
    for own in range(0, 300, 10):
        truth = late_interaction(sets[own][None], sets)[0].topk(5).indices.tolist()
        found = postings.nearest(sets[own], 60).tolist()
        assert own in found[:5]
        assert len(set(truth) & set(found)) >= 4


def test_remainders_tell_pictures_of_one_cell_apart(monkeypatch):
    tokens = F.normalize(torch.randn(500, 4, 384, generator=torch.Generator().manual_seed(0)), dim=-1)
    one = Cells(tokens[0, :1], tokens[0, :2], (2,))
    query = F.normalize(tokens[123] + 0.7 * tokens[7], dim=-1)
    assert posted(tokens, one).nearest(query, 5)[0] == 123
    monkeypatch.setattr(module, "FEWEST", 0)
    monkeypatch.setattr(module, "CLOSER", 0)
    assert 123 not in posted(tokens, one).nearest(query, 5)


def test_numbers_of_cells_and_of_tokens_they_are_learnt_from():
    assert taught(100) == 100
    assert taught(16 * 10**6) == 60_000 * module.TAUGHT


def test_fewer_tokens_than_cells_are_no_obstacle():
    tokens = F.normalize(torch.randn(3, 8), dim=-1)
    assert Cells.learn(tokens, 3).of(tokens).shape == (3,)


def test_a_share_of_the_index_is_compared_closely(sets, postings, monkeypatch):
    """Bounded below and above, more of it at a higher accuracy, and as many as are asked for at least."""
    compared = []

    def counted(left, tokens, original=module._on_remainders):
        compared.append(len(left))
        return original(left, tokens)

    monkeypatch.setattr(module, "_on_remainders", counted)
    for name, value in (("FEWEST", 10), ("CLOSER", 0.1), ("MOST", 200), ("PROBES", 64)):
        monkeypatch.setattr(module, name, value)
    for limit, accuracy, count in ((5, 1.0, 30), (5, 2.0, 60), (5, 0.1, 5), (40, 1.0, 40)):
        assert len(postings.nearest(sets[3], limit, accuracy)) == limit
        assert compared.pop() == count
    for share, count in ((0.0, 10), (0.9, 200)):
        monkeypatch.setattr(module, "CLOSER", share)
        postings.nearest(sets[3], 5)
        assert compared.pop() == count
