import pytest
import torch

from foveal.models.positions import Positions, grid_positions, resize_grid, stretch_positions


@pytest.mark.parametrize(("old", "new"), [(77, 248), (64, 196)])
def test_parity_stretching_matches_a_loop(old, new):
    table = torch.randn(old, 8, dtype=torch.double)
    rows = list(table[:20])
    for i in range(20, old):
        step = table[i + 1] - table[i] if i < old - 1 else table[-1] - table[-2]
        rows += [table[i] + part * step / 4 for part in range(4)]
    torch.testing.assert_close(stretch_positions(table), torch.stack(rows))
    assert len(rows) == new


def test_stretching_a_straight_line_gives_a_straight_line():
    line = torch.arange(77.0)[:, None]
    expected = torch.cat([torch.arange(20.0), 20 + torch.arange(228.0) / 4])[:, None]
    torch.testing.assert_close(stretch_positions(line), expected)


def test_stretching_needs_something_to_stretch():
    with pytest.raises(ValueError, match="Keep at most 18"):
        stretch_positions(torch.zeros(20, 4), keep=20)


def test_kept_rows_are_frozen_by_choice_and_the_rest_trains():
    table = Positions(10, 4, kept_rows=3, freeze_kept=True)
    table().sum().backward()
    assert table.kept.grad is None and table.rest.grad is not None
    free = Positions(10, 4, kept_rows=3)
    free().sum().backward()
    assert free.kept.grad is not None


def test_set_takes_over_the_whole_table():
    table, values = Positions(10, 4, kept_rows=3, freeze_kept=True), torch.randn(10, 4)
    table.set(values)
    assert torch.equal(table(), values)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear_antialias"])
def test_resizing_keeps_a_constant_and_its_own_size(interpolation):
    constant = torch.full((16, 3), 0.5)
    torch.testing.assert_close(resize_grid(constant, 7, 3, interpolation), torch.full((21, 3), 0.5))
    table = torch.randn(16, 3)
    assert resize_grid(table, 4, 4, interpolation) is table


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear_antialias"])
def test_resizing_a_mirrored_table_gives_mirrored_positions(interpolation):
    square = torch.randn(4, 4, 3)
    mirrored = square.flip(1).reshape(16, 3)
    found = resize_grid(mirrored, 6, 10, interpolation).reshape(6, 10, 3)
    expected = resize_grid(square.reshape(16, 3), 6, 10, interpolation).reshape(6, 10, 3).flip(1)
    torch.testing.assert_close(found, expected)


def test_each_image_gets_the_positions_of_its_own_grid():
    table = torch.randn(16, 3)
    grids = torch.tensor([[2, 3], [4, 4], [2, 3]])
    found = grid_positions(table, grids, "bicubic")
    assert [len(rows) for rows in found] == [6, 16, 6]
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], table)
