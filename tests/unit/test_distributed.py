"""Two processes must be one: the loss and the gradients of the whole batch."""

import multiprocessing
from collections.abc import Sequence

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from foveal import losses
from foveal.distributed import ALONE, World
from foveal.losses.principal_component import onto_principal

DOUBLE = torch.float64
REGIONS = {"uneven": (5, 2), "one rank has none": (6, 0), "first rank has none": (0, 4), "none at all": (0, 0)}
NEGATIVES = {
    "uneven": ([0, 0, 3], [1, 1, 1, 0]),
    "one rank has none": ([5, 1, 5], []),
    "first rank has none": ([], [2, 2, 0]),
    "none at all": ([], []),
}


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape, dtype=DOUBLE), dim=-1)


def all_real(length: int) -> Tensor:
    return torch.ones(3, length, dtype=torch.bool)


def two(rows: Tensor) -> tuple[Tensor, None]:
    """A set of two tokens for each row."""
    return torch.stack([rows, rows.flip(1)], dim=1), None


def pooled(queries: Tensor, patches: Tensor, _mask: None) -> Tensor:
    return F.normalize((queries @ patches.transpose(1, 2)).softmax(dim=-1) @ patches, dim=-1)


def cases() -> dict[str, tuple]:
    """By name: the loss of inputs and a world, each rank's inputs, and the whole batch's loss if that differs."""
    torch.manual_seed(1)
    scale, bias = torch.tensor(4.0, dtype=DOUBLE), torch.tensor(-2.0, dtype=DOUBLE)
    pairs = [[unit(6, 8), unit(6, 8), scale, bias] for _ in range(2)]
    sets = [
        [unit(3, t, 8), unit(3, s, 8), all_real(t), all_real(s), torch.arange(3) * (t - 3)] for t, s in ((4, 5), (5, 3))
    ]
    found = {
        "contrastive": (lambda a, b, s, _, w: losses.contrastive(a, b, s, label_smoothing=0.1, world=w), pairs),
        "sigmoid": (lambda a, b, s, c, w: losses.sigmoid_contrastive(a, b, s, c, world=w), pairs),
        "triplet sum": (lambda *x: losses.token_triplet(*x[:4], image_id=x[4], world=x[5]), sets),
        "triplet hardest": (
            lambda *x: losses.token_triplet(
                *(x[:2] if x[5].size > 1 else x[:4]), hardest=True, reduction="mean", world=x[5]
            ),
            sets,
        ),
        "principal": (
            lambda a, b, s, _, w: (
                losses.principal_component(a, b, s, components=2, world=w)
                if w.size > 1
                # components are each rank's own, also where one process holds both ranks' rows
                else losses.contrastive(
                    torch.cat([onto_principal(part, 2) for part in a.chunk(2)]), b, s, label_smoothing=0.1
                )
            ),
            pairs,
        ),
    }
    images = [
        [unit(3, 8), unit(len(own), 8), torch.tensor(own), scale, bias] for own in ([0, 0, 1, 2, 2], [0, 1, 2, 2])
    ]
    patches = [[unit(3, 4, 8), *rank[1:]] for rank in images]
    found |= {
        "owned sigmoid": (lambda i, t, o, s, b, w: losses.owned_sigmoid(i, t, o, s, b, world=w), images),
        "conditioned sigmoid": (
            lambda p, t, o, s, b, w: losses.conditioned_sigmoid(p, t, o, s, b, pooled, world=w),
            patches,
        ),
    }
    for name, counts in REGIONS.items():
        regions = [[unit(count, 8), unit(count, 8), torch.arange(count) % 3, scale] for count in counts]
        near = [
            [unit(count, 8), unit(count, 8), unit(len(owner), 8), torch.tensor(owner, dtype=torch.long), scale]
            for count, owner in zip(counts, NEGATIVES[name], strict=True)
        ]
        found |= {
            f"regional, {name}": (
                lambda r, p, k, s, w: losses.regional(r, p, s, phrase_key=k, gather=True, world=w),
                regions,
            ),
            f"hard negative, {name}": (lambda a, p, n, o, s, w: losses.hard_negative(a, p, n, o, s, world=w), near),
            f"token hard negative, {name}": (
                lambda a, p, n, o, s, w: losses.token_hard_negative(two(a), two(p), two(n), o, s, world=w),
                near,
            ),
            f"margin, {name}": (lambda a, p, n, o, _, w: losses.margin_negative(a, p, n, o, margin=2.0, world=w), near),
            f"next token, {name}": (
                lambda logits, targets, w: losses.next_token(logits, targets, world=w),
                [[unit(count, 8), torch.arange(count) % 8] for count in counts],
            ),
            f"soft, {name}": (
                lambda r, p, k, s, w: losses.soft_contrastive(r, p, k, s, world=w),
                regions,
            ),
            f"soft bce, {name}": (
                lambda r, p, k, s, w: losses.soft_contrastive(r, p, k, s, form="bce", world=w),
                regions,
            ),
            f"ranking, {name}": (
                lambda a, p, n, o, s, w: losses.cross_modal_ranking(a, p, n, o, s, torch.tensor(1.0), world=w),
                near,
            ),
        }
    return found


def local_means() -> dict[str, tuple]:
    """Losses that contrast within a rank: their mean over ranks weighs every row the same."""
    torch.manual_seed(2)
    scale = torch.tensor(4.0, dtype=DOUBLE)
    rows = [[unit(5, 8), unit(5, 8), scale], [unit(2, 8), unit(2, 8), scale]]
    near = [[unit(3, 8), unit(3, 8), unit(4, 8), torch.tensor(o), scale] for o in ([0, 1, 1, 2], [2, 2, 2, 2])]
    return {
        "regional": (lambda r, p, s, w: losses.regional(r, p, s, world=w), rows, (5, 2)),
        "intra-modal": (lambda r, _, s, w: losses.intra_modal(r, world=w), rows, (5, 2)),
        "pooled": (lambda a, p, n, o, s, w: losses.pooled_negatives(a, p, n, o, s, world=w), near, (3, 1)),
    }


def backward(loss, inputs: list[Tensor], world: World) -> tuple[Tensor, list[Tensor | None]]:
    """The value, and the gradient of each floating-point input."""
    inputs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    value = loss(*inputs, world)
    value.backward()
    return value.detach(), [x.grad for x in inputs]


def rank_main(rank: int, size: int, folder: str) -> None:
    """One process: every loss in turn, results to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    world = World(rank, size)
    results = {name: backward(loss, ranks[rank], world) for name, (loss, ranks) in cases().items()}
    results |= {name: backward(loss, ranks[rank], world) for name, (loss, ranks, _) in local_means().items()}
    threshold = losses.RankingThreshold()
    *batch, scale = cases()["ranking, uneven"][1][rank]
    threshold.update(*batch, scale, world=world)
    torch.save({"results": results, "threshold": threshold.value}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = [
        multiprocessing.get_context("spawn").Process(target=rank_main, args=(rank, 2, str(folder))) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def join(parts: Sequence[Tensor]) -> Tensor:
    """Rows of both ranks; sets of tokens and their masks are padded to one length."""
    if parts[0].ndim == 3 or parts[0].dtype == torch.bool:
        longest = max(part.shape[1] for part in parts)
        parts = [F.pad(p, (0, 0) * (p.ndim - 2) + (0, longest - p.shape[1])) for p in parts]
    return torch.cat(list(parts))


def whole_batch(ranks: list[list[Tensor]]) -> list[Tensor]:
    """All ranks' inputs as one process would hold them."""
    whole = [parts[0] if parts[0].ndim == 0 else join(parts) for parts in zip(*ranks, strict=True)]
    if len(whole) == 5 and whole[4].ndim == 0:  # owners count from each rank's first anchor
        owner = 2 if whole[3].ndim == 0 else 3
        whole[owner] = torch.cat([ranks[0][owner], ranks[1][owner] + len(ranks[0][0])])
    return whole


@pytest.mark.parametrize("name", cases())
def test_two_ranks_give_the_loss_and_the_gradients_of_one(ranks, name):
    loss, inputs = cases()[name]
    (one, first), (two, second) = ranks[0]["results"][name], ranks[1]["results"][name]
    value, gradients = backward(loss, whole_batch(inputs), ALONE)
    torch.testing.assert_close((one + two) / 2, value, rtol=0, atol=1e-10)
    for a, b, whole in zip(first, second, gradients, strict=True):
        if whole is not None:  # what DistributedDataParallel makes of the ranks' gradients
            averaged = (a + b) / 2 if whole.ndim == 0 else join([a, b]) / 2
            torch.testing.assert_close(averaged, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", local_means())
def test_local_losses_average_to_the_mean_over_all_rows(ranks, name):
    loss, inputs, counts = local_means()[name]
    alone = [backward(loss, own, ALONE) for own in inputs]
    found = [ranks[rank]["results"][name] for rank in range(2)]
    total = sum(counts)
    expected = sum(count * value for count, (value, _) in zip(counts, alone, strict=True)) / total
    torch.testing.assert_close((found[0][0] + found[1][0]) / 2, expected, rtol=0, atol=1e-10)
    for count, (_, ours), (_, own) in zip(counts, found, alone, strict=True):
        torch.testing.assert_close(ours[0] / 2, own[0] * count / total, rtol=0, atol=1e-10)


def test_ranks_agree_on_the_threshold_of_the_whole_batch(ranks):
    _, inputs = cases()["ranking, uneven"]
    *batch, scale = whole_batch(inputs)
    threshold = losses.RankingThreshold()
    threshold.update(*batch, scale)
    for rank in ranks:
        torch.testing.assert_close(rank["threshold"], threshold.value, rtol=0, atol=1e-10)


def test_a_world_of_one_gathers_nothing():
    rows = torch.randn(3, 2)
    assert ALONE.gather(rows) is rows
    assert ALONE.counts(rows) == [3]
    assert ALONE.gather_uneven(rows, [3]) is rows
    torch.testing.assert_close(ALONE.mean(rows), rows)
