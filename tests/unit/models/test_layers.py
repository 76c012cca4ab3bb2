import pytest
import torch
from torch import nn

from foveal.models import layers
from foveal.models.config import TextConfig
from foveal.models.layers import Attention, AttentionHead, Packing, Transformer, activate, uniform

CPU = torch.device("cpu")
LENGTHS = [3, 17, 1, 17, 9, 2, 16]


def config(**changes) -> TextConfig:
    return TextConfig(**{"width": 16, "layers": 2, "heads": 2, "mlp_width": 32, **changes})


def pack_rows(rows: list[torch.Tensor], packing: Packing) -> torch.Tensor:
    return torch.cat([rows[i] for i in packing.order.tolist()])


@pytest.fixture(params=[0.7, 1.0], ids=["padded groups", "groups of one length"])
def packing(request) -> Packing:
    return Packing.of(LENGTHS, CPU, ratio=request.param)


def test_packing_takes_real_tokens_and_pads_them_back(packing):
    rows = torch.randn(len(LENGTHS), 20, 4)
    flat = packing.take(rows)
    assert len(flat) == sum(LENGTHS) == packing.total
    padded, mask = packing.pad(flat)
    assert padded.shape == (len(LENGTHS), 17, 4)
    for row, length in enumerate(LENGTHS):
        assert torch.equal(padded[row, :length], rows[row, :length])
        assert (padded[row, length:] == 0).all()
        assert mask[row].sum() == length
        assert torch.equal(packing.last(flat)[row], rows[row, length - 1])


def test_packing_counts_positions_within_each_sequence(packing):
    expected = [torch.arange(LENGTHS[row]) for row in packing.order.tolist()]
    assert torch.equal(packing.positions(), torch.cat(expected))
    assert 1 < len(packing.groups) < len(LENGTHS)


def test_packing_refuses_an_empty_sequence():
    with pytest.raises(ValueError, match="Sequence 1 is empty"):
        Packing.of([3, 0], CPU)


def test_a_packing_of_nothing_gives_nothing():
    packing = Packing.of([], CPU)
    out, _ = Transformer(config())(torch.zeros(0, 16), packing)
    assert out.shape == (0, 16)


@pytest.mark.parametrize("causal", [True, False])
def test_parity_attention_matches_a_loop_over_tokens(causal, packing):
    torch.manual_seed(1)
    attention = Attention(8, 2, causal=causal).double()
    rows = [torch.randn(length, 8, dtype=torch.double) for length in LENGTHS]
    found, _ = packing.pad(attention(pack_rows(rows, packing), packing))
    for row, x in enumerate(rows):
        q, k, v = attention.qkv(x).split(8, dim=-1)
        expected = torch.zeros_like(x)
        for t in range(len(x)):
            seen = t + 1 if causal else len(x)
            for head in (slice(0, 4), slice(4, 8)):
                weight = torch.softmax((k[:seen, head] @ q[t, head]) / 4**0.5, dim=0)
                expected[t, head] = weight @ v[:seen, head]
        torch.testing.assert_close(found[row, : len(x)], attention.out(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_packed_gives_what_one_by_one_gives_with_gradients(causal, packing):
    transformer = Transformer(config(), causal=causal).double()
    rows = [torch.randn(length, 16, dtype=torch.double) for length in LENGTHS]
    together, _ = packing.pad(transformer(pack_rows(rows, packing), packing)[0])
    together.square().sum().backward()
    gradients = [p.grad.clone() for p in transformer.parameters()]
    transformer.zero_grad()
    for row, x in enumerate(rows):
        alone = transformer(x, uniform(1, len(x), CPU))[0]
        torch.testing.assert_close(together[row, : len(x)].detach(), alone.detach(), rtol=0, atol=1e-12)
        alone.square().sum().backward()
    for found, parameter in zip(gradients, transformer.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("most", [1, 20, 33, 34, 1000])
def test_portions_are_packings_of_whole_sequences_that_cover_the_row(packing, most):
    flat, covered = torch.arange(packing.total), 0
    ordered = packing.lengths[packing.order].tolist()
    for where, part in packing.portions(most):
        assert where.start == covered
        covered = where.stop
        assert part.total == where.stop - where.start
        assert part.total <= most or part.total in (ordered[0], *(group.stop - group.start for group in packing.groups))
        assert [group.start for group in part.groups] == [0, *(group.stop for group in part.groups[:-1])]
        for start, length in zip(part.starts.tolist(), part.lengths.tolist(), strict=True):
            assert length == ordered.pop(0)
            assert flat[where][start] == where.start + start
    assert covered == packing.total
    assert ordered == []


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "tanh_gelu"])
def test_parity_portions_without_gradients_give_what_all_at_once_gives_with_them(
    monkeypatch, causal, activation, packing
):
    transformer = Transformer(config(activation=activation), causal=causal).double()
    x = torch.randn(packing.total, 16, dtype=torch.double)
    expected = transformer(x, packing)
    for most in (1, 20, 1000):
        monkeypatch.setattr(layers, "CPU_TOKENS", most)
        with torch.no_grad():
            given = x.clone()
            torch.testing.assert_close(transformer(given, packing), tuple(each.detach() for each in expected))
        assert torch.equal(given, x)


@pytest.mark.parametrize(("causal", "last"), [(True, True), (False, True), (False, False)])
def test_edges_are_what_all_tokens_give_there_with_gradients(monkeypatch, causal, last, packing):
    transformer = Transformer(config(), causal=causal).double()
    x = torch.randn(packing.total, 16, dtype=torch.double)
    at = packing.starts + (packing.lengths - 1 if last else 0)
    expected = transformer(x, packing)[0][at]
    found = transformer.edges(x, packing, last=last)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(each.square().sum(), list(transformer.parameters())) for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(layers, "CPU_TOKENS", 20)
    with torch.no_grad():
        torch.testing.assert_close(transformer.edges(x, packing, last=last), expected.detach())


def test_of_no_sequences_there_are_no_edges():
    nothing = Packing.of([], CPU)
    assert Transformer(config()).edges(torch.zeros(0, 16), nothing, last=True).shape == (0, 16)


def test_recomputation_changes_no_gradient():
    transformer = Transformer(config())
    x, packing = torch.randn(10, 16), uniform(2, 5, CPU)
    results = []
    for recompute in (False, True):
        transformer.recompute = recompute
        transformer.zero_grad()
        transformer(x, packing)[0].square().sum().backward()
        transformer.edges(x, packing, last=True).square().sum().backward()
        results.append([p.grad.clone() for p in transformer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_without_attention_is_the_block_under_an_identity_map():
    block = Transformer(config()).blocks[0]
    x = torch.randn(6, 16)
    one_each = uniform(6, 1, CPU)  # a token that is alone attends to itself
    torch.testing.assert_close(block.without_attention(x), block(x, one_each))


def test_parity_attention_head_matches_torch():
    head = AttentionHead(config(), probe=True).eval()
    reference = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    reference.load_state_dict(
        {
            "in_proj_weight": head.qkv.weight,
            "in_proj_bias": head.qkv.bias,
            "out_proj.weight": head.out.weight,
            "out_proj.bias": head.out.bias,
        }
    )
    x, mask = torch.randn(3, 7, 16), torch.arange(7) < torch.tensor([[7], [4], [1]])
    for query, found in ((head.probe.expand(3, 1, 16), head.pool(x, mask)[:, None]), (x, head(x, mask))):
        mixed = reference(query, x, x, key_padding_mask=~mask)[0]
        torch.testing.assert_close(found, mixed + head.mlp(head.norm(mixed)))


def test_a_heads_value_path_is_its_attention_over_one_token():
    head = AttentionHead(config(), probe=True).eval()
    x = torch.randn(3, 5, 16)
    alone = head(x.flatten(0, 1)[:, None], None)[:, 0].unflatten(0, (3, 5))
    torch.testing.assert_close(head.value_path(x), alone)


def test_activations_are_their_formulas():
    x = torch.linspace(-4, 4, 33, dtype=torch.double)
    torch.testing.assert_close(activate(x, "quick_gelu"), x * torch.sigmoid(1.702 * x))
    torch.testing.assert_close(activate(x, "gelu"), x * torch.special.ndtr(x))
    inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    torch.testing.assert_close(activate(x, "tanh_gelu"), x * (1 + torch.tanh(inner)) / 2)


def test_quick_gelu_has_the_right_gradient():
    x = torch.randn(5, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda x: activate(x, "quick_gelu"), x)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="Width 10 is not a multiple of 3 heads"):
        Attention(10, 3)
