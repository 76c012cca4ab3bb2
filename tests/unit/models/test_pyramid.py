import pytest
import torch

from foveal.models.pyramid import FeaturePyramid


@pytest.mark.parametrize("cells", [8, 5])
def test_five_levels_from_four_times_finer_to_four_times_coarser(cells):
    taps = [torch.randn(2, 16, cells, cells) for _ in range(4)]
    maps = FeaturePyramid(16, 24)(taps)
    half = -(-cells // 2)
    assert [tuple(level.shape[1:]) for level in maps] == [
        (24, side, side) for side in (4 * cells, 2 * cells, cells, half, -(-half // 2))
    ]


def test_the_coarsest_tap_reaches_the_finest_level():
    taps = [torch.randn(1, 16, 4, 4, requires_grad=True) for _ in range(4)]
    (FeaturePyramid(16, 16)(taps)[0] * torch.randn(1, 16, 16, 16)).sum().backward()
    assert all(tap.grad.abs().sum() > 0 for tap in taps)


def test_pictures_do_not_mix():
    pyramid, taps = FeaturePyramid(16, 16), [torch.randn(3, 16, 4, 4) for _ in range(4)]
    for whole, alone in zip(pyramid(taps), pyramid([tap[1:2] for tap in taps]), strict=True):
        torch.testing.assert_close(whole[1:2], alone, rtol=1e-4, atol=1e-5)
