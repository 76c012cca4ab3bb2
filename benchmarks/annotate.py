"""What the data engine itself costs: samples a second, memory over a long run, and questions a second at an endpoint.

    python benchmarks/annotate.py
    python benchmarks/annotate.py --samples 2000 --long 20000 --asked 300

1. Overhead: everything but the models. JPEGs in shards go through four stages that do next to nothing, each its kind:
   one sample at a time, in batches, in threads. Beside it a bare loop that decodes, and writes JSON lines. Then the
   same with the stages that work by rules, on captions of people: phrases, near misses, filter. Each in one process
   and in two.
2. Memory: resident set while `--long` samples pass.
3. Endpoint: a server on loopback that answers each question after `--latency` seconds, in a process of its own. Beside
   the engine the same questions through the `openai` package, if it is there.
"""

import argparse
import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foveal.annotation.assistant.assistant import Assistant
from foveal.annotation.assistant.prompt import fill
from foveal.annotation.run.output import Output
from foveal.annotation.run.pipeline import Annotation
from foveal.annotation.run.processes import Processes
from foveal.annotation.stage import WHOLE, Stage, remark
from foveal.annotation.stages.caption import Caption
from foveal.annotation.stages.filter import Filter
from foveal.annotation.stages.negatives import Negatives
from foveal.annotation.stages.phrases import Phrases
from foveal.data.formats import Jsonl, WebDataset
from foveal.data.images import ImageTransform
from foveal.data.stream import Source
from foveal.types import Negative, Region, Sample

ROOT = Path(__file__).parents[1]
LONG = "A red cup stands on a small wooden table beside a blue book. " * 8
ASKED = {"overhead": 500, "share": 0.86}


@dataclass(frozen=True)
class Describe:
    """A long caption, in threads."""

    concurrency: int = 8

    def __call__(self, sample: Sample) -> Sample:  # noqa: D102
        return replace(sample, long_caption=LONG)


@dataclass(frozen=True)
class Name:
    """Four phrases."""

    def __call__(self, sample: Sample) -> Sample:  # noqa: D102
        phrases = ("a red cup", "a small wooden table", "a blue book", "a red cup on a table")
        return replace(sample, regions=tuple(Region(WHOLE, phrase) for phrase in phrases))


@dataclass(frozen=True)
class Place:
    """Their boxes, in batches."""

    batch_size: int = 16

    def __call__(self, sample: Sample) -> Sample:  # noqa: D102
        return replace(sample, regions=tuple(replace(one, box=(0.1, 0.1, 0.6, 0.7)) for one in sample.regions))

    def batch(self, samples: Sequence[Sample]) -> Iterator[Sample]:  # noqa: D102
        for sample in samples:
            remark("placed", len(sample.regions))
            yield self(sample)


@dataclass(frozen=True)
class Near:
    """Ten near misses of each phrase."""

    def __call__(self, sample: Sample) -> Sample:  # noqa: D102
        regions = (
            replace(one, negatives=tuple(Negative(f"{one.phrase} {n}", "color") for n in range(10)))
            for one in sample.regions
        )
        return replace(sample, regions=tuple(regions))


@dataclass(frozen=True)
class Quote:
    """Another long caption of three sentences for each sample."""

    captions: tuple[str, ...] = field(repr=False)

    def __call__(self, sample: Sample) -> Sample:  # noqa: D102
        first, count = int(sample.id), len(self.captions)
        some = (self.captions[(first * step + step) % count] for step in (1, 3, 7))
        return replace(sample, captions=(), long_caption=" ".join(some))


@dataclass(frozen=True)
class Watch:
    """Notes the resident set, every so many samples."""

    every: int
    seen: list[float] = field(default_factory=list, repr=False)
    count: list[int] = field(default_factory=lambda: [0], repr=False)

    def __call__(self, sample: Sample) -> Sample:  # noqa: D102
        self.count[0] += 1
        if self.count[0] % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.seen.append(pages * 4096 / 2**20)
        return sample


def stages() -> dict[str, Stage]:
    return {"caption": Describe(), "phrases": Name(), "ground": Place(), "negatives": Near()}


def rules() -> dict[str, Stage]:
    """The stages that need no model."""
    return {"phrases": Phrases("rules"), "ground": Place(), "negatives": Negatives(), "filter": Filter()}


def quotes() -> tuple[str, ...]:
    """Captions of people, from COCO, DOCCI and ImageInWords."""
    rows = json.loads((ROOT / "tests" / "fixtures" / "marked_captions.json").read_text(encoding="utf-8"))["captions"]
    return tuple(row["marked"].translate({ord(mark): "" for mark in "[]*"}) for row in rows)


def photos(count: int, side: int) -> list[bytes]:
    """JPEGs with the size and detail of photos: smooth shapes and some noise."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((side * 4 // 3, side), Image.Resampling.BICUBIC))
        noisy = np.clip(picture + random.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        data = BytesIO()
        Image.fromarray(noisy).save(data, "JPEG", quality=90)
        made.append(data.getvalue())
    return made


def samples(pictures: Sequence[bytes | Path], count: int) -> Iterator[Sample]:
    return (Sample(f"{number:09d}", pictures[number % len(pictures)], ("a picture",)) for number in range(count))


def run(
    source: Source,
    some: Mapping[str, Stage],
    out: Path,
    assistant: Assistant | None = None,
    engine: Processes | None = None,
) -> float:
    begin = time.perf_counter()
    summary = Annotation(source, "benchmark", some, Output(out), assistant).run(engine=engine)
    assert not summary.failed, summary
    return summary.samples / (time.perf_counter() - begin)


def processor() -> float:
    """Seconds that processors have spent on this process and those it began."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def stolen() -> float:
    """Seconds that the host of a virtual machine gave to others; 0 where that is not told."""
    stat = Path("/proc/stat")
    told = stat.read_text().split()[8] if stat.is_file() else "0"
    return int(told) / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)


def overhead(folder: Path, pictures: Sequence[bytes], count: int) -> None:
    """Read from shards, write to shards."""
    source = WebDataset(folder / "in")
    source.write(samples(pictures, count))
    glance = ImageTransform(size=32)
    begin = time.perf_counter()
    with (folder / "bare.jsonl").open("w", encoding="utf-8") as file:
        for sample in source:
            glance(sample.image)
            file.write(json.dumps({"id": sample.id, "long_caption": LONG}) + "\n")
    bare = count / (time.perf_counter() - begin)
    size = len(pictures[0]) / 1024
    print(f"bare loop  {bare:8.0f} samples/s   {count} JPEGs of {size:.0f} KiB, read, decoded and written down")
    for name, some in (("overhead", stages()), ("by rules", {"captions": Quote(quotes()), **rules()})):
        for workers in (1, 2):
            engine, used, gone = None if workers == 1 else Processes(workers), processor(), stolen()
            rate = run(source, some, folder / f"{name}{workers}", engine=engine)
            used, gone = processor() - used, (stolen() - gone) * rate / count
            told = f"{workers} process(es), {count / used:.0f} a second of processor time, {gone:.0%} taken by the host"
            print(f"{name}   {rate:8.0f} samples/s   {told}; asked >= {ASKED['overhead']} on 2 cores", flush=True)
            shutil.rmtree(folder / f"{name}{workers}")


def memory(folder: Path, pictures: Sequence[bytes], count: int) -> None:
    """Resident set along a run over many lines that name few pictures."""
    files = []
    for number, content in enumerate(pictures):
        files.append(folder / f"{number}.jpg")
        files[-1].write_bytes(content)
    source = Jsonl(folder / "long.jsonl")
    source.write(samples(files, count))
    watch = Watch(every=max(1, count // 10))
    rate = run(source, {**stages(), "watch": watch}, folder / "long-out.jsonl")
    shown = " ".join(f"{seen:.0f}" for seen in watch.seen)
    grown = watch.seen[-1] - watch.seen[1]
    print(f"memory     {shown} MiB after each tenth of {count} samples ({rate:.0f}/s)")
    print(f"           {grown:+8.1f} MiB from the second tenth to the last   asked: flat")


async def serve(latency: float) -> None:
    """Answers every chat completion after so many seconds. Prints its port."""
    answer = {"long_caption": LONG, "short_caption": "A red cup."}
    message = {"choices": [{"message": {"role": "assistant", "content": json.dumps(answer)}, "finish_reason": "stop"}]}
    content = json.dumps({**message, "usage": {"prompt_tokens": 900, "completion_tokens": 150}}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                header = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(header.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                await asyncio.sleep(latency)
                writer.write(head + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def endpoint(folder: Path, pictures: Sequence[bytes], options: argparse.Namespace) -> None:
    """Captions from a slow server, by the engine and by the official client."""
    command = [sys.executable, __file__, "--serve", str(options.latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        try:
            # every picture is another one: equal ones would be asked about once
            different = (content + number.to_bytes(4, "big") for number, content in enumerate(pictures * options.asked))
            source = WebDataset(folder / "asked")
            distinct = list(islice(different, options.asked))
            source.write(Sample(f"{number:09d}", content) for number, content in enumerate(distinct))
            assistant = Assistant(
                endpoint=url, model="slow", answers=folder / "answers.sqlite", concurrency=options.concurrency
            )
            rate = run(source, {"caption": Caption(assistant=assistant)}, folder / "captioned", assistant)
            best = options.concurrency / options.latency
            print(f"endpoint   {rate:8.1f} samples/s   asked >= {ASKED['share'] * best:.0f} of {best:.0f} possible")
            print(f"           {peer(url, distinct, options.concurrency)}")
        finally:
            server.terminate()


def peer(url: str, pictures: Sequence[bytes], concurrency: int) -> str:
    """The same questions through the official client, in as many threads; answers are thrown away."""
    try:
        from openai import OpenAI
    except ImportError:
        return "the peer `openai` is not installed"
    client, question = OpenAI(base_url=url, api_key="none"), fill("caption.v1")

    def ask(content: bytes) -> None:
        image = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{b64encode(content).decode()}"}}
        asked: Any = [{"role": "user", "content": [{"type": "text", "text": question}, image]}]
        client.chat.completions.create(model="slow", messages=asked)

    begin = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(ask, pictures))
    rate = len(pictures) / (time.perf_counter() - begin)
    return f"{rate:8.1f} samples/s   the same questions through the openai package in {concurrency} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000, help="for the overhead; the report is part of it")
    parser.add_argument("--long", type=int, default=100_000, help="for the memory")
    parser.add_argument("--asked", type=int, default=1920, help="for the endpoint")
    parser.add_argument("--latency", type=float, default=1.0, help="seconds to an answer")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--side", type=int, default=480, help="shorter side of the pictures, in pixels")
    parser.add_argument("--only", nargs="+", default=["overhead", "memory", "endpoint"])
    parser.add_argument("--serve", type=float, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return
    logging.disable(logging.INFO)
    pictures = photos(50, options.side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "overhead" in options.only:
            overhead(folder, pictures, options.samples)
        if "memory" in options.only:
            memory(folder, pictures, options.long)
        if "endpoint" in options.only:
            endpoint(folder, pictures, options)


if __name__ == "__main__":
    main()
