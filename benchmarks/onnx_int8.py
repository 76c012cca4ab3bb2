"""CLIP B/16 in onnxruntime, in float32 and in 8 bits of several kinds, against our own towers in float32.

Weights are random, so cosines say how much 8 bits disturb a signal through twelve blocks, not what they cost a trained
model: `foveal export --onnx --int8` measures that for the model at hand. Trained models have activations further from
normal, so expect less there. Embeddings of an untrained model lie close together; beside the cosine stands how far 8
bits move an embedding as a share of how far two pictures are apart.
"""

import argparse
import logging
import os
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.export.graphs import graphs
from foveal.export.onnx import need, quantize, run, session, write
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import vit_b_16

PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "coco" / "images"


def _first(graph: Any, pixels: Tensor) -> Tensor:
    """The embedding that a graph gives."""
    return run(graph, (pixels,))[0]


def fastest(candidates: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, float]:
    """Median seconds of each, run in turn so that a noisy neighbor disturbs all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for candidate in candidates.values():
        candidate()
    for _ in range(rounds):
        for name, candidate in candidates.items():
            start = perf_counter()
            candidate()
            seconds[name].append(perf_counter() - start)
    return {name: median(each) for name, each in seconds.items()}


def pictures(count: int) -> tuple[list[Image.Image], str]:
    files = sorted(PHOTOS.glob("*.jpg"))[:count]
    if files:
        return [Image.open(file).convert("RGB") for file in files], "photos of COCO"
    scenes = [scene.image for scene in Scenes(count=count, size=224)]
    return [Image.open(BytesIO(image)) for image in scenes if isinstance(image, bytes)], "scenes"


def coarser(source: Path, path: Path, **options: object) -> None:
    """Another kind of 8 bits than ours, for comparison."""
    quantization = need("onnxruntime.quantization")
    usual = {"op_types_to_quantize": ["MatMul"], "weight_type": quantization.QuantType.QInt8}
    quantization.quantize_dynamic(source, path, **(usual | options))


def ends_of(source: Path) -> list[str]:
    """Matrix products of the first and the last block, of the patches before and the projection behind them."""
    nodes = [node.name for node in need("onnx").load(source).graph.node if node.op_type == "MatMul"]
    return [*nodes[:7], *nodes[-7:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer advises steps that change nothing here
    torch.manual_seed(0)
    protocol, config = Protocol(family="clip", resize="crop"), vit_b_16()
    model = DualEncoder(config).eval()
    encoder = Encoder(model, Tokenizer.clip(), protocol.transform(config.vision), protocol=protocol)
    seen, what = pictures(options.batch)
    pixels = encoder.transform.stack([encoder.transform(picture) for picture in seen])
    assert isinstance(pixels, Tensor)
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, {what}")
    with TemporaryDirectory() as folder, torch.inference_mode():
        whole = Path(folder) / "float32.onnx"
        write(next(graph for graph in graphs(model, native=False) if graph.name == "visual"), whole)
        files = {"float32": whole} | {
            name: Path(folder) / f"{number}.onnx"
            for number, name in enumerate(("int8", "int8, a scale a tensor", "int8, ends in float32"))
        }
        quantize(whole, files["int8"], None)
        coarser(whole, files["int8, a scale a tensor"])
        coarser(whole, files["int8, ends in float32"], per_channel=True, nodes_to_exclude=ends_of(whole))
        running = {name: session(file) for name, file in files.items()}
        candidates = {f"onnxruntime {name}": partial(_first, each, pixels) for name, each in running.items()}
        seconds = fastest({"ours float32": lambda: model.encode_images(pixels)} | candidates, options.rounds)
        expected = model.encode_images(pixels)
        spread = (expected[1:] - expected[:-1]).norm(dim=1).median()
        base = seconds["ours float32"]
        print(f"image tower, B/16, batch {options.batch}: ours float32 {base:.2f} s")
        for name, candidate in candidates.items():
            given = candidate()
            cosine = torch.cosine_similarity(given, expected)
            moved = ((given - expected).norm(dim=1) / spread).median()
            size = files[name.removeprefix("onnxruntime ")].stat().st_size >> 20
            print(
                f"  {name}: {seconds[name]:.2f} s, {base / seconds[name]:.2f}x (asked of int8: 1.5x), cosine"
                f" {cosine.mean():.5f}, least {cosine.min():.5f} (asked 0.99), moved {100 * moved:.1f} % of what two"
                f" pictures are apart, {size} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
