"""Samples a second of the data stream over JPEG shards made on the spot, and the share of a step spent waiting.

    python benchmarks/stream.py --workers 0 1 2 --step 0.5

A step is a pause of `--step` seconds, as if a model computed elsewhere (0: as fast as the stream goes). Pictures
are decoded at `--size` pixels with Pillow's scaled decoding; what the project's own `images` adds is not counted.

Beside it stands webdataset, where it is installed: processor time of the same shards, shuffled alike, JSON parsed.
Rounds alternate, and the median counts. Ours makes a sample of each row, checks it, and gives it randomness of its own.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from pathlib import Path
from statistics import median

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


def beside_webdataset(source: WebDataset, batch: int, batches: int, rounds: int) -> Iterator[str]:
    """Processor time of reading alone, ours and webdataset's."""
    if find_spec("webdataset") is None:
        yield "webdataset: skipped, not installed (pip install 'foveal[bench]')"
        return
    import webdataset

    files = [str(file) for file in sorted(source.path.glob("*.tar"))]
    samples = webdataset.WebDataset(files, shardshuffle=len(files), empty_check=False).repeat().shuffle(200)
    theirs = samples.map(lambda parts: (parts["__key__"], parts["jpg"], json.loads(parts["json"])))
    ours = Stream(source, prepare=nothing, collate=tuple, batch_size=batch, shuffle_buffer=200)
    readers: dict[str, Iterator[object]] = {
        "ours": iter(ours),
        "webdataset": iter(theirs.batched(batch, collation_fn=tuple)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, reader in readers.items():
            start = time.process_time()
            for _ in range(batches):
                next(reader)
            if turn:
                seconds[name].append(time.process_time() - start)
    rates = {name: batch * batches / median(each) for name, each in seconds.items()}
    for name, each in seconds.items():
        low, high = (batch * batches / end for end in (max(each), min(each)))
        yield f"{name:10} {rates[name]:9.0f} samples a second of processor time [{low:.0f}, {high:.0f}]"
    yield f"ours reads {rates['ours'] / rates['webdataset']:.2f} times as many as webdataset (asked: 1)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--side", type=int, default=480, help="shorter side of the pictures, in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--step", type=float, default=0.0, help="seconds a step computes")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        source = WebDataset(Path(folder) / "shards", samples_per_shard=100)
        source.write(photos(options.samples, options.side))
        size = sum(file.stat().st_size for file in source.path.iterdir()) / options.samples
        print(f"{options.samples} JPEGs of {size / 1024:.0f} KiB, batch {options.batch}, step {options.step} s")
        for line in beside_webdataset(source, options.batch, options.batches, options.rounds):
            print(line)
        for workers in options.workers:
            shared = {"batch_size": options.batch, "workers": workers, "shuffle_buffer": 200}
            bare = Stream(source, prepare=nothing, collate=tuple, **shared)
            print(f"{workers} workers, read only: ", measure(bare, options.batches, options.step))
            decoded = Stream(source, prepare=prepare, collate=torch.stack, **shared)
            print(f"{workers} workers, decoded:   ", measure(decoded, options.batches, options.step))


if __name__ == "__main__":
    main()
