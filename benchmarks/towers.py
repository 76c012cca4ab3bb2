"""The two towers, each beside its peer in the same run.

Text: the packed tower against the same tower on texts padded to 248 tokens, with real caption lengths.
Images: ViT-B/16 against the `transformers` CLIP with the same weights (scaled-dot-product attention).
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from foveal.data.tokenizer import Tokenizer
from foveal.models.dual_encoder import DualEncoder
from foveal.models.layers import Packing, uniform
from foveal.models.sizes import long_text, vit_b_16
from foveal.models.text import TextTower

CAPTIONS = Path(__file__).parents[2] / "shared" / "data" / "captions"
FILES = {"DOCCI": "docci_test_captions.json", "COCO": "coco_captions_val2017.json"}
# Lengths in CLIP tokens of every 64th DOCCI description and COCO caption, for machines without the texts.
RECORDED = {
    "DOCCI": [94, 190, 141, 118, 248, 87, 131, 160, 75, 206, 113, 152, 99, 244, 128, 137],
    "COCO": [13, 12, 14, 15, 11, 17, 13, 12, 19, 13, 14, 12, 22, 13, 15, 12],
}


def fastest(*candidates: Callable[[], object], rounds: int = 5) -> list[float]:
    """Median seconds of each, measured in turn so that a noisy neighbor disturbs all alike."""
    times: list[list[float]] = [[] for _ in candidates]
    for candidate in candidates:
        candidate()
    for _ in range(rounds):
        for run, seconds in zip(candidates, times, strict=True):
            start = perf_counter()
            run()
            seconds.append(perf_counter() - start)
    return [median(seconds) for seconds in times]


def lengths_of(name: str, batch: int) -> tuple[list[int], str]:
    """Token counts of a batch of real captions, cut at 248, and where they come from."""
    path = CAPTIONS / FILES[name]
    if not path.is_file():
        return (RECORDED[name] * batch)[:batch], "recorded lengths"
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = content["annotations"] if isinstance(content, dict) else content
    texts = [row["caption"] for row in rows[:: len(rows) // batch][:batch]]
    ids = Tokenizer.clip().encode(texts, 248, overflow="truncate")
    return (ids == 49407).int().argmax(dim=1).add(1).tolist(), f"{batch} texts of {path.name}"


class PaddedTower(TextTower):
    """The same tower, made to read every text to the end of its row."""

    def _pack(self, lengths: list[int], token_ids: Tensor) -> Packing:
        return uniform(len(lengths), token_ids.shape[1], token_ids.device)


def text_tower() -> Iterator[str]:
    """Rows of the table: packed against padded."""
    config = long_text(vit_b_16()).text
    packed, padded = TextTower(config).eval(), PaddedTower(config).eval()
    padded.load_state_dict(packed.state_dict())
    for name, goal in (("DOCCI", 1.6), ("COCO", 10.0)):
        lengths, source = lengths_of(name, 64)
        ids = torch.randint(1, 49000, (64, 248))
        for row, length in enumerate(lengths):
            ids[row, length - 1 :] = 49407
        mean = sum(lengths) / len(lengths)
        ours, theirs = fastest(lambda i=ids: packed(i), lambda i=ids: padded(i), rounds=3)  # type: ignore[misc]
        yield (
            f"text tower, {name} ({source}, mean {mean:.0f} tokens): {ours:.3f} s, padded {theirs:.3f} s,"
            f" {theirs / ours:.2f}x (goal {goal}x)"
        )


@contextmanager
def bfloat16() -> Iterator[None]:
    """Autocast on the processor."""
    with torch.autocast("cpu", torch.bfloat16):
        yield


def image_tower() -> Iterator[str]:
    """Rows of the table: ours against `transformers`."""
    ours = DualEncoder(vit_b_16()).eval()
    peer = CLIPModel(CLIPConfig(vision_config={"patch_size": 16}, text_config={}))
    peer.train(False)
    pixels = torch.randn(16, 3, 224, 224)

    def autocast() -> None:
        with bfloat16():
            ours.encode_images(pixels)

    mine, half, theirs = fastest(
        lambda: ours.encode_images(pixels), autocast, lambda: peer.get_image_features(pixels), rounds=5
    )
    for name, seconds, goal in (("fp32", mine, 1.0), ("bf16", half, 1.7)):
        yield (
            f"image tower, B/16, batch 16, {name}: {seconds:.2f} s, transformers fp32 {theirs:.2f} s,"
            f" {theirs / seconds:.2f}x (goal {goal}x)"
        )


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, torch {torch.__version__}")
    with torch.inference_mode():
        for rows in (text_tower(), image_tower()):
            for row in rows:
                print(row, flush=True)
