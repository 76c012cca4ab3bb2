"""Samples a second of the data stream over JPEG shards made on the spot, and the share of a step spent waiting.

    python benchmarks/stream.py --workers 0 1 2 --step 0.5

A step is a pause of `--step` seconds, as if a model computed elsewhere (0: as fast as the stream goes). Pictures
are decoded at `--size` pixels with Pillow's scaled decoding; what the project's own `images` adds is not counted.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from foveal.data.formats import WebDataset
from foveal.data.stream import Stream
from foveal.types import Sample

SIZE = 224


def photos(count: int, side: int) -> Iterator[Sample]:
    """JPEGs with the size and detail of photos: smooth shapes and some noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((side * 4 // 3, side), Image.Resampling.BICUBIC))
        noisy = np.clip(picture + random.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        data = BytesIO()
        Image.fromarray(noisy).save(data, "JPEG", quality=90)
        yield Sample(f"{number}", data.getvalue(), ("a picture",), "A long text about it. " * 20)


def prepare(sample: Sample, random: np.random.Generator) -> Tensor:
    """Decode and squash one picture, flipped by chance."""
    assert isinstance(sample.image, bytes)
    with Image.open(BytesIO(sample.image)) as picture:
        picture.draft("RGB", (SIZE, SIZE))
        pixels = np.array(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return torch.from_numpy(np.ascontiguousarray(pixels[:, ::-1] if random.random() < 0.5 else pixels))


def nothing(sample: Sample, random: np.random.Generator) -> str:
    """Leave the picture encoded: what the stream itself costs."""
    del random
    return sample.id


def measure(stream: Stream[Tensor, Tensor] | Stream[str, tuple[str, ...]], batches: int, step: float) -> str:
    """One line of results; the first batches, while workers start, are not counted."""
    rest = islice(stream, batches + 4)
    for _ in range(4):
        next(rest)
    waited, begin = 0.0, time.perf_counter()
    while True:
        asked = time.perf_counter()
        if next(rest, None) is None:
            break
        waited += time.perf_counter() - asked
        time.sleep(step)
    wall = time.perf_counter() - begin
    rate = batches * stream.batch_size / wall
    return f"{rate:9.0f} samples/s   waiting {waited / wall:6.1%}   {wall / batches * 1000:8.1f} ms a step"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--side", type=int, default=480, help="shorter side of the pictures, in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--step", type=float, default=0.0, help="seconds a step computes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        source = WebDataset(Path(folder) / "shards", samples_per_shard=100)
        source.write(photos(options.samples, options.side))
        size = sum(file.stat().st_size for file in source.path.iterdir()) / options.samples
        print(f"{options.samples} JPEGs of {size / 1024:.0f} KiB, batch {options.batch}, step {options.step} s")
        for workers in options.workers:
            shared = {"batch_size": options.batch, "workers": workers, "shuffle_buffer": 200}
            bare = Stream(source, prepare=nothing, collate=tuple, **shared)
            print(f"{workers} workers, read only: ", measure(bare, options.batches, options.step))
            decoded = Stream(source, prepare=prepare, collate=torch.stack, **shared)
            print(f"{workers} workers, decoded:   ", measure(decoded, options.batches, options.step))


if __name__ == "__main__":
    main()
