import pytest
import torch
import torch.nn.functional as F

from foveal.models.windows import split_windows, truncate

END = 99


def text(length: int, start: bool = True) -> list[int]:
    body = list(range(1, length - (1 if start else 0)))
    return ([98] if start else []) + body + [END]


def rows(*texts: list[int]) -> torch.Tensor:
    longest = max(map(len, texts))
    return torch.tensor([t + [0] * (longest - len(t)) for t in texts])


@pytest.mark.parametrize("length", [3, 9, 10, 11, 12, 17, 40])
@pytest.mark.parametrize("start", [True, False])
def test_windows_keep_every_token_once_and_in_order(length, start):
    ids = rows(text(length, start), text(5, start))
    windows = split_windows(ids, 10, END, start=start)
    assert windows.token_ids.shape[1] <= 10
    tokens, mask = windows.merge_tokens(windows.token_ids[..., None].float())
    assert tokens[0, mask[0], 0].tolist() == text(length, start)
    assert tokens[1, mask[1], 0].tolist() == text(5, start)
    assert windows.weight.sum() == mask.sum()


def test_neighbouring_windows_overlap():
    windows = split_windows(rows(text(40)), 10, END, start=True)
    first, second = windows.token_ids[:2].tolist()
    assert first[0] == second[0] == 98
    assert set(first[1:-1]) & set(second[1:-1])
    assert windows.token_ids[0, -1] == END


def test_a_text_that_fits_is_one_window():
    windows = split_windows(rows(text(10), text(4)), 10, END, start=True)
    assert windows.token_ids.tolist() == rows(text(10), text(4)).tolist()
    assert windows.owner.tolist() == [0, 1]


def test_merged_embeddings_are_averaged_by_length():
    windows = split_windows(rows(text(13), text(4)), 10, END, start=True)
    assert windows.owner.tolist() == [0, 0, 1]
    embeddings = F.normalize(torch.randn(3, 5), dim=-1)
    weights = windows.weight
    expected = F.normalize(weights[0] * embeddings[0] + weights[1] * embeddings[1], dim=0)
    torch.testing.assert_close(windows.merge_embeddings(embeddings), torch.stack([expected, embeddings[2]]))


def test_truncation_ends_longer_texts_and_leaves_shorter_ones():
    cut = truncate(rows(text(12), text(6)), 8, END)
    assert cut.tolist() == [[98, 1, 2, 3, 4, 5, 6, END], [98, 1, 2, 3, 4, END, 0, 0]]
