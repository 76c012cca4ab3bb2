import torch
import torch.nn.functional as F

from foveal.search.token_sets import distinct_tokens, to_int8, token_set
from foveal.similarity import late_interaction


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def test_distinct_tokens_find_each_group():
    centers = torch.eye(4, 6)
    tokens = F.normalize(centers.repeat_interleave(10, dim=0) + 0.02 * torch.randn(40, 6), dim=-1)
    few = distinct_tokens(tokens[torch.randperm(40)][None], 4)[0]
    assert (few @ centers.T).amax(dim=0).min() > 0.99


def test_sets_of_any_size_come_out_at_one_size_and_compare_alike():
    query = unit(1, 5, 8)
    small = unit(3, 8)
    padded = token_set(small, 7)
    assert padded.shape == (7, 8)
    torch.testing.assert_close(late_interaction(query, padded[None]), late_interaction(query, small[None]))
    assert token_set(unit(30, 8), 7).shape == (7, 8)
    torch.testing.assert_close(token_set(small, 3), small)


def test_eight_bits_keep_directions():
    rows = unit(200, 64)
    stored = torch.from_numpy(to_int8(rows)).float()
    assert F.cosine_similarity(stored, rows, dim=-1).min() > 0.9995
    assert to_int8(torch.zeros(1, 4)).tolist() == [[0, 0, 0, 0]]
