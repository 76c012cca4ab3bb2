import numpy as np
import pytest
import torch

from foveal.evaluation.bootstrap import draws, interval, mean, mean_of_means, median, weighted_means


def alone(count):
    return torch.arange(count)


def test_equal_values_leave_no_doubt():
    assert interval(torch.full((20,), 3.0), alone(20)) == (3.0, 3.0)
    assert interval(torch.full((20,), 3.0), alone(20), median) == (3.0, 3.0)


def test_one_group_leaves_no_doubt_either():
    low, high = interval(torch.tensor([0.0, 1.0, 1.0, 1.0]), torch.zeros(4, dtype=torch.long))
    assert low == pytest.approx(0.75)
    assert high == pytest.approx(0.75)


def test_mean_interval_is_that_of_the_normal_approximation():
    values = (torch.arange(2000) % 5 == 0).float()  # a share of 0.2
    low, high = interval(values, alone(2000), replicates=4000)
    half = 1.96 * (0.2 * 0.8 / 2000) ** 0.5
    assert low == pytest.approx(0.2 - half, abs=0.002)
    assert high == pytest.approx(0.2 + half, abs=0.002)


def test_queries_of_one_picture_count_as_one_observation():
    values = (torch.arange(400) % 5 == 0).float()
    narrow = interval(values.repeat_interleave(9), alone(3600))
    honest = interval(values.repeat_interleave(9), alone(400).repeat_interleave(9))
    assert honest == pytest.approx(interval(values, alone(400)))
    assert (honest[1] - honest[0]) > 2.5 * (narrow[1] - narrow[0])


def test_the_seed_decides():
    values = torch.rand(50)
    assert interval(values, alone(50), seed=1) == interval(values, alone(50), seed=1)
    assert interval(values, alone(50), seed=1) != interval(values, alone(50), seed=2)


def test_group_names_do_not_matter():
    values = torch.rand(6)
    group = torch.tensor([0, 0, 1, 1, 2, 2])
    assert interval(values, group) == interval(values, group * 7 + 3)


def test_parity_statistics_are_those_of_the_repeated_values():
    generator = np.random.default_rng(0)
    for count in (1, 2, 5, 8):
        values = torch.from_numpy(generator.integers(0, 6, count)).double()
        weights = torch.from_numpy(generator.integers(0, 4, (7, count))).double()
        weights[:, 0] += 1
        label = torch.from_numpy(generator.integers(0, 3, count))
        for row, one, middle, macro in zip(
            weights,
            mean(values, weights),
            median(values, weights),
            mean_of_means(label)(values, weights),
            strict=True,
        ):
            repeated = np.repeat(values.numpy(), row.long().numpy())
            labels = np.repeat(label.numpy(), row.long().numpy())
            assert one == pytest.approx(repeated.mean())
            assert middle == pytest.approx(np.median(repeated))
            means = [repeated[labels == name].mean() for name in np.unique(labels)]
            assert macro == pytest.approx(np.mean(means))


def test_few_replicates_at_a_time_draw_as_many_at_once(monkeypatch):
    values = torch.rand(40)
    whole = interval(values, alone(40), replicates=100)
    monkeypatch.setattr("foveal.evaluation.bootstrap._CELLS", 40 * 7)
    assert interval(values, alone(40), replicates=100) == pytest.approx(whole, rel=1e-12)


def test_draws_do_not_depend_on_how_many_are_made_at_once():
    whole, few = (torch.cat(list(draws(11, 30, 0, step))) for step in (30, 4))
    assert whole.sum(dim=1).tolist() == [11] * 30
    assert torch.equal(whole, few)


def test_weighted_means_with_one_label_are_the_mean():
    values, weights = torch.rand(7).double(), torch.rand(3, 7).double()
    one = weighted_means(torch.zeros(7, dtype=torch.long), torch.ones(1).double())
    torch.testing.assert_close(one(values, weights), mean(values, weights))
