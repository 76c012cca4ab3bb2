"""What a data worker does per second on one thread: pictures decoded and scaled, texts tokenized, batches stacked.

Run: python benchmarks/preprocess.py [--count 24]. Everything is made on the spot.
"""

import argparse
import io
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image

from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer

SIZES = ((640, 480), (1600, 1200), (4000, 3000))
SENTENCE = "a red, wooden cat's house. (3 large windows) behind grass and cloudy skies near the dog"


def photo(width: int, height: int, rng: np.random.Generator) -> bytes:
    """A JPEG about as hard to decode as a photo: smooth shapes under fine grain."""
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height))
    grain = rng.normal(0, 3, (height, width, 1))
    pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=90)
    return content.getvalue()


def rate(work: Callable[[], object], items: int, repeats: int = 2) -> float:
    """Items per second, best of a few runs after a first one."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return items / min(times)


def view_all(photos: list[bytes], transform: ImageTransform) -> None:
    for each in photos:
        transform(each)


def pictures(count: int) -> None:
    rng = np.random.default_rng(0)
    whole = {
        "squash 224": ImageTransform(scaled_decoding=False),
        "crop 224": ImageTransform(mode="crop", scaled_decoding=False),
        "squash 64": ImageTransform(size=64, scaled_decoding=False),
        "native 256 patches": ImageTransform(mode="native", scaled_decoding=False),
    }
    print(f"{'photo':>12} {'view':>20} {'decoded whole':>14} {'scaled':>8}  (pictures/s)")
    for width, height in SIZES:
        photos = [photo(width, height, rng) for _ in range(max(2, count * 640 * 480 // (width * height)))]
        for name, slow in whole.items():
            fast = replace(slow, scaled_decoding=True)
            rates = [rate(partial(view_all, photos, each), len(photos)) for each in (slow, fast)]
            print(f"{f'{width}x{height}':>12} {name:>20} {rates[0]:>14.0f} {rates[1]:>8.0f}")
    transform = ImageTransform()
    views = [transform(photos[0])] * 64
    print(f"stacked and normalized: {rate(partial(transform.stack, views), 64):.0f} pictures/s")


def texts(count: int) -> None:
    draw = random.Random(0)
    tokenizer = Tokenizer.clip()
    for words in (10, 120):
        ascii_only = [" ".join(draw.choices(SENTENCE.split(), k=words)) for _ in range(count * 50)]
        accented = [text + " café" for text in ascii_only]
        tokens = sum(tokenizer.count(ascii_only)) / len(ascii_only)
        rates = [rate(partial(tokenizer.encode, made, 248, "truncate"), len(made)) for made in (ascii_only, accented)]
        print(f"texts of {tokens:.0f} tokens: {rates[0]:.0f} texts/s; with one accented letter {rates[1]:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24, help="pictures of the smallest size")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures(arguments.count)
    texts(arguments.count)
