import pytest
import torch
import torch.nn.functional as F

from foveal.similarity import clim, cosine, fused, late_interaction, paired_late_interaction

DOUBLE = torch.float64


def unit(*shape, dtype=DOUBLE):
    return F.normalize(torch.randn(*shape, dtype=dtype), dim=-1)


@pytest.fixture
def sets():
    """Three texts and five images of different widths and lengths, padding filled with large nonsense."""
    text, image = unit(3, 7, 8), unit(5, 4, 8)
    text_mask, image_mask = torch.ones(3, 7, dtype=torch.bool), torch.rand(5, 4) < 0.6
    text_mask[1, 2:], text_mask[2, :6] = False, False
    image_mask[torch.arange(5), torch.tensor([3, 0, 1, 2, 3])] = True
    text[~text_mask], image[~image_mask] = 100.0, -100.0
    return text.requires_grad_(), image.requires_grad_(), text_mask, image_mask


def slow(text, image, text_mask, image_mask, direction, leak):
    def one(these, those):
        return torch.stack(
            [torch.stack([a @ b if leak is None or a @ b > 0 else leak * (a @ b) for b in those]).max() for a in these]
        ).mean()

    rows = []
    for t, tm in zip(text, text_mask, strict=True):
        row = []
        for i, im in zip(image, image_mask, strict=True):
            by_text, by_image = one(t[tm], i[im]), one(i[im], t[tm])
            row.append({"text": by_text, "image": by_image, "both": (by_text + by_image) / 2}[direction])
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("leak", [None, 0.1])
@pytest.mark.parametrize("direction", ["text", "image", "both"])
def test_parity_late_interaction_matches_a_loop_in_value_and_gradient(sets, direction, leak):
    text, image, *masks = sets
    weight = torch.randn(3, 5, dtype=DOUBLE)
    ours = late_interaction(text, image, *masks, direction=direction, leak=leak, budget=1)
    theirs = slow(text, image, *masks, direction, leak)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(ours, sets[:2], weight), torch.autograd.grad(theirs, sets[:2], weight), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("budget", [1, 300, 2000, 10**9])
def test_blocks_equal_the_whole(sets, budget):
    def run(budget):
        value = late_interaction(*sets, direction="both", budget=budget)
        return value, *torch.autograd.grad(value.square().sum(), sets[:2])

    for some, whole in zip(run(budget), run(10**9), strict=True):
        torch.testing.assert_close(some, whole)


def test_same_result_without_gradient(sets):
    with torch.no_grad():
        plain = late_interaction(*sets, direction="both", leak=0.1)
    torch.testing.assert_close(plain, late_interaction(*sets, direction="both", leak=0.1))


def test_gradient_is_right_by_finite_differences():
    assert torch.autograd.gradcheck(
        lambda text, image: clim(text, image, budget=200),
        (unit(2, 3, 4).requires_grad_(), unit(3, 2, 4).requires_grad_()),
    )


def test_equal_sets_are_as_alike_as_can_be():
    tokens = unit(2, 5, 16)
    torch.testing.assert_close(late_interaction(tokens, tokens.flip(1)).diagonal(), torch.ones(2, dtype=DOUBLE))
    torch.testing.assert_close(clim(tokens, tokens.flip(1)).diagonal(), torch.full((2,), 2.0, dtype=DOUBLE))


def test_opposite_tokens_leak():
    token = unit(1, 1, 4)
    assert late_interaction(token, -token).item() == pytest.approx(-1)
    assert clim(token, -token, leak=0.1).item() == pytest.approx(-0.2)


def test_single_tokens_are_compared_by_cosine():
    left, right = unit(3, 6), unit(4, 6)
    torch.testing.assert_close(late_interaction(left[:, None], right[:, None]), cosine(left, right))


def test_sides_may_be_swapped(sets):
    text, image, text_mask, image_mask = sets
    torch.testing.assert_close(
        late_interaction(text, image, text_mask, image_mask, direction="image"),
        late_interaction(image, text, image_mask, text_mask, direction="text").T,
    )


def test_more_padding_changes_nothing(sets):
    text, image, text_mask, image_mask = sets
    padded = late_interaction(
        F.pad(text, (0, 0, 0, 5), value=9.0), image, F.pad(text_mask, (0, 5)), image_mask, direction="both"
    )
    torch.testing.assert_close(padded, late_interaction(*sets, direction="both"))


def test_an_empty_side_gives_an_empty_matrix():
    assert late_interaction(unit(0, 3, 4), unit(2, 3, 4)).shape == (0, 2)
    assert late_interaction(unit(2, 3, 4), unit(0, 3, 4)).shape == (2, 0)


def test_autocast_gives_close_float32_results():
    text, image = unit(4, 6, 64, dtype=torch.float32), unit(5, 8, 64, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = clim(text.requires_grad_(), image, budget=2000)
        exact_cosine = cosine(text[:, 0], image[:, 0])
    rough.sum().backward()
    assert rough.dtype == text.grad.dtype == torch.float32
    assert text.grad.isfinite().all()
    torch.testing.assert_close(rough, clim(text, image), rtol=0, atol=0.02)
    torch.testing.assert_close(exact_cosine, text[:, 0] @ image[:, 0].T)


def test_saves_no_block_of_similarities():
    text, image = unit(16, 20, 8).requires_grad_(), unit(16, 20, 8).requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t.numel()), t)[1], lambda t: t):
        clim(text, image)
    assert max(saved) < 16 * 16 * 20 * 20 / 10


@pytest.mark.parametrize("leak", [None, 0.1])
def test_pairs_are_the_diagonal_of_all_pairs(sets, leak):
    texts, images, text_mask, image_mask = sets
    count = min(len(texts), len(images))
    pairs = (texts[:count], images[:count], text_mask[:count], image_mask[:count])
    every = late_interaction(*pairs, direction="both", leak=leak)
    torch.testing.assert_close(paired_late_interaction(*pairs, leak=leak), every.diagonal())


def test_fused_lies_between_both():
    assert fused(torch.tensor([0.5]), torch.tensor([1.0]), 0.8).item() == pytest.approx(0.6)
    with pytest.raises(ValueError, match=r"Weight 1.5"):
        fused(torch.tensor([0.5]), torch.tensor([1.0]), 1.5)


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused():
    text, image = unit(2, 3, 8), unit(2, 3, 8)
    with pytest.raises(ValueError, match="Widths 8 and 4 differ"):
        late_interaction(text, unit(2, 3, 4))
    with pytest.raises(ValueError, match="Widths 8 and 4 differ"):
        cosine(unit(2, 8), unit(2, 4))
    with pytest.raises(ValueError, match=r"Text mask of shape \(2, 4\) does not fit"):
        late_interaction(text, image, torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="Image sets have no tokens"):
        late_interaction(text, unit(2, 0, 8))
    with pytest.raises(ValueError, match="Image set 1 has no real token"):
        late_interaction(text, image, None, torch.tensor([[True, False, True], [False, False, False]]))
