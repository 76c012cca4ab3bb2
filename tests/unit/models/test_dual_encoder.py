from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.models.config import ModelConfig, TextConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import SIZES, fg_clip, fg_clip2, finelip, long_text, siglip2_b_16, tiny, vit_b_16
from foveal.models.text import TextTower, check_texts
from foveal.models.vision import VisionTower, patchify
from foveal.types import Batch, PatchedPixels, TextRows

END = 300


def small(config: ModelConfig = tiny()) -> ModelConfig:  # noqa: B008
    return replace(config, text=replace(config.text, vocabulary=301, eos_id=END))


def siglip_like() -> ModelConfig:
    base = siglip2_b_16()
    tower = {"width": 32, "mlp_width": 48, "layers": 2, "heads": 2}
    vision = replace(base.vision, **tower, image_size=32, patch_size=8)
    text = replace(base.text, **tower, vocabulary=301, eos_id=END, context=24)
    return replace(base, vision=vision, text=text, embed_width=32)


VARIANTS = {
    "clip": small(),
    "long_clip": small(long_text(tiny())),
    "finelip": small(finelip(tiny(), slots=5)),
    "raw_tokens": replace(small(), tokens="raw"),
    "fg_clip": small(fg_clip(tiny())),
    "fg_clip2": fg_clip2(siglip_like(), keep=20, ratio=4),
    "value_path": replace(siglip_like(), vision=replace(siglip_like().vision, dense="value_path"), tokens="raw"),
    "attention_pooling": replace(small(), text=replace(small().text, pooling="attention", causal=False)),
    "gelu": replace(small(), text=replace(small().text, activation="gelu")),
}


def texts(*lengths: int, width: int | None = None) -> torch.Tensor:
    ids = torch.zeros(len(lengths), width or max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, END, (length,))
        ids[row, length - 1] = END
    return ids


def patched(grids: list[tuple[int, int]], size: int = 8) -> tuple[PatchedPixels, list[torch.Tensor]]:
    images = [torch.randn(1, 3, rows * size, columns * size) for rows, columns in grids]
    parts = [patchify(image, size).values[0] for image in images]
    longest = max(map(len, parts))
    values = torch.stack([F.pad(part, (0, 0, 0, longest - len(part)), value=7.0) for part in parts])
    mask = torch.arange(longest) < torch.tensor([[len(part)] for part in parts])
    return PatchedPixels(values, mask, torch.tensor(grids)), images


@pytest.fixture(params=VARIANTS, ids=list(VARIANTS))
def model(request) -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(VARIANTS[request.param]).eval()


class TestEveryVariant:
    def test_padding_changes_no_embedding(self, model):
        if model.config.text.pooling == "last":
            pytest.skip("SigLIP's towers read their padding")
        for kind in ("caption", "long_caption", "phrase"):
            ids = texts(5, 19, 2, 11, width=40)
            wide = torch.where(torch.arange(40) < (ids == END).int().argmax(1)[:, None] + 1, ids, 5)
            together, tokens = model.encode_texts(wide, kind), model.encode_text_tokens(wide, kind)
            for row, length in enumerate((5, 19, 2, 11)):
                alone = model.encode_texts(ids[row : row + 1, :length], kind)
                torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-5)
                own, mask = model.encode_text_tokens(ids[row : row + 1, :length], kind)
                torch.testing.assert_close(tokens[0][row][tokens[1][row]], own[0][mask[0]], rtol=0, atol=1e-5)

    def test_a_batch_of_one_is_a_row_of_a_batch(self, model):
        pixels = torch.randn(3, 3, 32, 48)
        together = model.encode_images(pixels)
        for row in range(3):
            torch.testing.assert_close(together[row], model.encode_images(pixels[row : row + 1])[0], rtol=0, atol=1e-5)

    def test_images_of_any_grid_in_one_batch_match_one_by_one(self, model):
        batch, images = patched([(2, 5), (4, 4), (1, 3)])
        together, (dense, mask, grid) = model.encode_images(batch), model.encode_patches(batch)
        for row, image in enumerate(images):
            torch.testing.assert_close(together[row], model.encode_images(image)[0], rtol=0, atol=1e-5)
            own, _, own_grid = model.encode_patches(image)
            torch.testing.assert_close(dense[row][mask[row]], own[0], rtol=0, atol=1e-5)
            assert grid[row].tolist() == own_grid[0].tolist()

    def test_padding_beyond_the_longest_image_changes_nothing(self, model):
        batch, _ = patched([(2, 3), (4, 4)])
        wider = PatchedPixels(F.pad(batch.values, (0, 0, 0, 5)), F.pad(batch.mask, (0, 5)), batch.grid)
        torch.testing.assert_close(model.encode_images(wider), model.encode_images(batch))
        torch.testing.assert_close(model.encode_patches(wider)[0], model.encode_patches(batch)[0])

    def test_forward_gives_what_the_encode_methods_give(self, model):
        ids = texts(5, 12, 9, width=24)
        boxes, owner = torch.tensor([[0.0, 0.0, 0.5, 0.6], [0.2, 0.1, 1.0, 1.0]]), torch.tensor([2, 0])
        batch = Batch(
            ids=("a", "b", "c"),
            pixels=torch.randn(3, 3, 32, 32),
            texts={
                "caption": TextRows(ids, torch.arange(3), tokens=True),
                "long_caption": TextRows(ids, torch.arange(3), kind="long_caption", tokens=True),
                "phrase": TextRows(ids[:2], torch.arange(2), "region", "phrase", torch.tensor([1, 2])),
                "negative": TextRows(ids[[2, 1, 2]], torch.tensor([0, 0, 1]), "region", "phrase"),
                "caption_negative": TextRows(ids[:1], torch.tensor([1]), tokens=True),
            },
            boxes=boxes,
            region_image=owner,
        )
        out = model(batch)
        close = torch.testing.assert_close
        close(out.image, model.encode_images(batch.pixels))
        close(out.texts["caption"].embedding, model.encode_texts(ids, "caption"))
        close(out.texts["long_caption"].embedding, model.encode_texts(ids, "long_caption"))
        close(out.regions, model.encode_regions(batch.pixels, boxes, owner))
        close(out.texts["phrase"].embedding, model.encode_texts(ids[:2], "phrase"))
        close(out.texts["negative"].embedding, model.encode_texts(ids[[2, 1, 2]], "phrase"))
        close(out.texts["caption_negative"].embedding, model.encode_texts(ids[:1], "caption"))
        for name, group in out.texts.items():
            rows = batch.texts[name]
            assert (group.owner is rows.owner, group.key is rows.key, group.of) == (True, True, rows.of)
            assert (group.tokens is not None) == (rows.tokens and model.config.tokens != "none")
        if model.config.tokens != "none":
            close(out.texts["long_caption"].tokens, model.encode_text_tokens(ids, "long_caption")[0])
            close(out.texts["caption"].tokens, model.encode_text_tokens(ids, "caption")[0])
            close(out.texts["caption_negative"].tokens, model.encode_text_tokens(ids[:1], "caption")[0])
            close(out.image_tokens, model.encode_image_tokens(batch.pixels)[0])

    def test_autocast_stays_close_and_finite(self, model):
        pixels, ids = torch.randn(2, 3, 32, 32), texts(9, 24)
        exact = (model.encode_images(pixels), model.encode_texts(ids, "long_caption"))
        with torch.autocast("cpu", torch.bfloat16):
            rough = (model.encode_images(pixels), model.encode_texts(ids, "long_caption"))
        for left, right in zip(exact, rough, strict=True):
            assert F.cosine_similarity(left, right.float()).min() > 0.99

    def test_embeddings_are_of_unit_length(self, model):
        pixels, ids = torch.randn(2, 3, 32, 32), texts(9, 24)
        for rows in (model.encode_images(pixels), model.encode_texts(ids), model.encode_patches(pixels)[0]):
            torch.testing.assert_close(rows.norm(dim=-1), torch.ones(rows.shape[:-1]))

    def test_order_of_rows_is_irrelevant(self, model):
        ids, order = texts(9, 24, 3, 17, width=24), torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(model.encode_texts(ids)[order], model.encode_texts(ids[order]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 20, 21, 76, 77, 100, 247, 248])
def test_long_captions_of_any_length_are_read(length):
    for name in ("long_clip", "finelip", "fg_clip"):
        model = DualEncoder(VARIANTS[name])
        assert model.encode_texts(texts(length), "long_caption").isfinite().all()


def test_kinds_choose_position_table_and_projection():
    model = DualEncoder(VARIANTS["fg_clip"]).eval()
    ids = texts(30, 12)
    short, long, phrase = (model.encode_texts(ids, kind) for kind in ("caption", "long_caption", "phrase"))
    assert torch.equal(short, phrase)
    assert not torch.allclose(short, long)
    model.text.long_positions.set(F.pad(model.text.positions(), (0, 0, 0, 171)))
    model.text_projections["long_caption"].load_state_dict(model.text_projections["caption"].state_dict())
    torch.testing.assert_close(model.encode_texts(ids, "long_caption"), short)


def test_fg_clip2_has_three_text_heads():
    model = DualEncoder(VARIANTS["fg_clip2"]).eval()
    ids = texts(24, 24)
    found = [model.encode_texts(ids, kind) for kind in ("caption", "long_caption", "phrase")]
    assert not any(torch.allclose(found[i], found[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_text_over_the_maximum_is_refused_or_handled_as_asked():
    model = DualEncoder(VARIANTS["clip"]).eval()
    ids = texts(120, 10)
    with pytest.raises(ValueError, match=r"Text 0 has 120 tokens.*'caption' is 77.*overflow"):
        model.encode_texts(ids)
    cut = torch.cat([ids[:1, :76], torch.tensor([[END]])], dim=1)
    torch.testing.assert_close(model.encode_texts(ids, overflow="truncate")[:1], model.encode_texts(cut))
    for overflow in ("truncate", "windows"):
        short = model.encode_texts(ids, overflow=overflow)[1:]
        torch.testing.assert_close(short, model.encode_texts(ids[1:, :10]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["raw_tokens", "finelip", "fg_clip2"])
def test_windows_give_one_set_with_every_token(name):
    model = DualEncoder(VARIANTS[name]).eval()
    limit = model.config.text.length("caption")
    ids = texts(limit + 50, 10)
    encoding = model.text_encoding(ids, "caption", "windows")
    assert encoding.mask.sum(dim=1).tolist() == [limit + 50, 10]
    tokens, mask = model.encode_text_tokens(ids, "caption", "windows")
    assert tokens[mask].isfinite().all()
    assert not torch.allclose(encoding.embedding, model.encode_texts(ids, overflow="truncate"))


def test_refined_sets_are_the_class_token_then_slots_and_slots_then_the_end():
    model = DualEncoder(VARIANTS["finelip"]).eval()
    pixels, ids = torch.randn(2, 3, 32, 32), texts(9, 24)
    image_tokens, image_mask = model.encode_image_tokens(pixels)
    text_tokens, text_mask = model.encode_text_tokens(ids)
    assert image_tokens.shape[1] == text_tokens.shape[1] == 6
    assert image_mask.all() and text_mask.all()
    torch.testing.assert_close(image_tokens[:, 0], model.encode_images(pixels))
    torch.testing.assert_close(text_tokens[:, -1], model.encode_texts(ids))


def test_identity_attention_reads_each_patch_by_itself():
    model = DualEncoder(VARIANTS["fg_clip"]).eval()
    one_layer = replace(model.config.vision, layers=1)
    tower = VisionTower(one_layer).eval()
    pixels = torch.randn(1, 3, 32, 32)
    changed = pixels.clone()
    changed[..., :8, :8] += 1
    before, after = tower(pixels).patches, tower(changed).patches
    assert not torch.allclose(before[:, 0], after[:, 0])
    torch.testing.assert_close(before[:, 1:], after[:, 1:])


def test_repeated_phrases_are_embedded_once_with_the_same_result():
    model = DualEncoder(VARIANTS["clip"]).eval()
    ids = texts(5, 9, 7)
    repeated = ids[[0, 1, 0, 2, 2, 0]]
    found, _ = model._distinct(repeated, ids)
    torch.testing.assert_close(found, model.encode_texts(repeated), rtol=0, atol=1e-6)


def test_a_text_moved_by_some_positions_is_read_with_a_table_that_begins_there():
    config = replace(VARIANTS["long_clip"].text, kept_positions=0)
    tower, ids = TextTower(config), texts(3, 7, 5, width=9)
    start = torch.tensor([4, 0, 2])
    moved = tower(ids, start=start)
    with torch.no_grad():
        table = tower.positions().clone()
    for row in range(3):
        tower.positions.set(table.roll(-int(start[row]), dims=0))
        alone = tower(ids[row : row + 1])
        torch.testing.assert_close(moved.pooled[row], alone.pooled[0])
    tower.positions.set(table)
    with pytest.raises(ValueError, match=f"Text 0 has {config.context + 1} tokens"):
        tower(ids, start=torch.tensor([config.context - 2, 0, 0]))


def test_zero_regions_and_zero_negatives_stay_in_the_graph():
    model = DualEncoder(VARIANTS["fg_clip"])
    empty, nobody = torch.zeros(0, 1, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    batch = Batch(
        ids=("a",),
        pixels=torch.randn(1, 3, 32, 32),
        texts={
            "phrase": TextRows(empty, nobody, "region", "phrase", nobody),
            "negative": TextRows(empty, nobody, "region", "phrase"),
            "caption_negative": TextRows(empty, nobody, tokens=True),
        },
        boxes=torch.zeros(0, 4),
        region_image=nobody,
    )
    out = model(batch)
    (out.regions.sum() + sum(texts.embedding.sum() for texts in out.texts.values())).backward()
    assert out.regions.shape == out.texts["phrase"].embedding.shape == (0, 16)
    assert model.text.token_embedding.weight.grad is not None


class TestBadInput:
    def test_an_unknown_kind(self):
        with pytest.raises(ValueError, match=r"no kind of text 'title'.*caption, long_caption, phrase"):
            check_texts(texts(5), "title")

    def test_a_text_without_an_end(self):
        with pytest.raises(ValueError, match=r"Text 1 has no end-of-text token \(300\)"):
            TextTower(small().text)(torch.stack([texts(5)[0], torch.ones(5, dtype=torch.long)]))

    def test_a_token_of_another_vocabulary(self):
        with pytest.raises(ValueError, match="Token id 301 is outside the vocabulary of 301"):
            TextTower(small().text)(torch.tensor([[1, 301, END]]))

    def test_an_image_that_cannot_be_cut_into_patches(self):
        with pytest.raises(ValueError, match=r"30x32 pixels cannot be cut into 8x8 patches"):
            VisionTower(small().vision)(torch.randn(1, 3, 30, 32))

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("method", "value", "message"),
        [
            ("encode_images", torch.zeros(3, 32, 32), r"Pixels have shape \(3, 32, 32\)"),
            ("encode_images", torch.zeros(1, 4, 32, 32), r"Pixels have shape \(1, 4, 32, 32\)"),
            ("encode_texts", torch.tensor([5, END]), r"Token ids have shape \(2,\)"),
            ("encode_texts", torch.zeros(1, 4), r"Token ids have shape \(1, 4\) and type torch.float32"),
        ],
    )
    def test_inputs_of_another_shape(self, method, value, message):
        with pytest.raises(ValueError, match=message):
            getattr(DualEncoder(small()), method)(value)

    def test_patches_that_do_not_fit_together(self):
        batch, _ = patched([(2, 3), (4, 4)])
        wrong = PatchedPixels(batch.values, batch.mask, torch.tensor([[3, 3], [4, 4]]))
        with pytest.raises(ValueError, match="another number of patches than its mask"):
            VisionTower(small().vision)(wrong)
        other, _ = patched([(2, 3)], size=4)
        with pytest.raises(ValueError, match="Patches hold 48 numbers, this model's hold 192"):
            VisionTower(small().vision)(other)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tokens": "refined"}, "refine is None"),
            ({"embed_width": 20, "vision": replace(small().vision, projection=False)}, "embed_width is 20"),
            ({"text": TextConfig(width=8, layers=1, heads=1, mlp_width=8, pooling="class")}, "Pooling"),
        ],
    )
    def test_a_config_that_contradicts_itself(self, changes, message):
        with pytest.raises(ValueError, match=message):
            DualEncoder(replace(small(), **changes))


def test_full_sizes_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in DualEncoder(make()).parameters()) for name, make in SIZES.items()}
        # FG-CLIP's own count (150,136,835) holds 228 + 20 rows of positions that are never read
        own = sum(p.numel() for p in DualEncoder(fg_clip(vit_b_16())).parameters())
    assert counts["vit_b_32"] == 151_277_313
    assert counts["vit_b_16"] == 149_620_737
    assert counts["vit_l_14"] == 427_616_513
    assert counts["vit_l_14_336"] == 427_944_193
    assert own == 150_136_835 - 248 * 512
