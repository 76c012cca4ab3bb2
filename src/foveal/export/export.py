"""A model as a folder of ONNX graphs, as photo applications read it, with a report of what was measured."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..data import tokenizer_files
from ..data.scenes import Scenes
from ..encoder import Encoder
from ..types import PatchedPixels, Sample
from ..writing import new_place
from .graphs import Graph, distinct_kinds, graphs
from .onnx import SharedWeights, check, cosines, quantize, run, session, write

REPORT = "report.json"
SAMPLES = 16  # made-up pictures, and their texts, that 8 bits are compared on


def export(encoder: Encoder, out: Path, *, int8: bool = False, progress: bool = True) -> dict[str, Any]:
    """Write every pass of a model as a graph, all or nothing.

    `visual/model.onnx` (input `image`) and `textual/model.onnx` (input `text`, captions) are whole files, with the
    preprocessing and tokenizer beside them and `config.json` above, as Immich and its kin read them. The other graphs
    (regions and patches, token sets, further kinds of text, pictures of any aspect) share one file of weights. Each
    takes any number of pictures or texts of any length, and is checked against torch at several of both.

    Args:
        encoder: Of the model, on the CPU.
        out: A folder that is not there or empty.
        int8: Weights in 8 bits; the graphs in float32 are checked first and not kept.
        progress: Show a bar on standard error.

    Returns:
        The report, as `report.json` holds it: files, inputs, outputs, largest differences to torch and, of 8 bits, the
        cosine with float32 over scenes.

    Raises:
        ValueError: If a package is missing, a graph differs from torch, or `out` is in use.
    """
    with new_place(out) as partial:
        for folder in ("visual", "textual", "float"):
            (partial / folder).mkdir(parents=True)
        _describe(encoder, partial)
        report = _graphs(encoder, partial, int8=int8, progress=progress)
        (partial / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        rmtree(partial / "float")
    return report


def summary(report: dict[str, Any]) -> str:
    """Return a report in a line per graph."""
    lines = []
    for entry in report["graphs"].values():
        line = f"{entry['file']}: {max(entry['difference_to_torch'].values()):.1e} from torch at most"
        for name, cosine in entry.get("int8_cosine", {}).items():
            line += f"; {name} in 8 bits: cosine {cosine['mean']:.4f}, least {cosine['least']:.4f}"
        lines.append(line)
    return "\n".join(lines)


def _graphs(encoder: Encoder, out: Path, *, int8: bool, progress: bool) -> dict[str, Any]:
    shared, single = SharedWeights(out / "weights.bin"), SharedWeights(out / "float" / "weights.bin")
    scenes = list(Scenes(split="test", count=SAMPLES, size=encoder.image_size))
    entries = {}
    passes = list(graphs(encoder.model, native=encoder.protocol.resize == "naflex"))
    for graph in tqdm(passes, desc="graphs", disable=not progress):
        whole = graph.name in ("visual", "textual")
        file = Path(graph.name, "model.onnx") if whole else Path(f"{graph.name}.onnx")
        first = out / "float" / f"{graph.name}.onnx" if int8 else out / file
        write(graph, first, single if int8 else None if whole else shared)
        entry: dict[str, Any] = {
            "file": str(file),
            "inputs": {name: sorted(axes.values()) for name, axes in graph.inputs.items()},
            "outputs": graph.outputs,
            "difference_to_torch": check(graph, first),
        }
        if int8:
            quantize(first, out / file, None if whole else shared)
            entry["int8_cosine"] = _compare(encoder, graph, scenes, first, out / file)
        entries[graph.name] = entry
    readers = {
        kind: "textual" if reader == "caption" else reader
        for kind, reader in distinct_kinds(encoder.model.config).items()
    }
    return {
        "protocol": asdict(encoder.protocol),
        "precision": "int8" if int8 else "float32",
        "kinds": readers,
        "graphs": entries,
    }


def _compare(encoder: Encoder, graph: Graph, scenes: list[Sample], float_file: Path, int8_file: Path) -> dict[str, Any]:
    """Return cosines between the vectors that two graphs give for the same scenes."""
    vectors: dict[str, list[tuple[Tensor, Tensor]]] = {}
    running = session(float_file), session(int8_file)
    for inputs in _inputs(encoder, graph, scenes):
        for name, whole, coarse in zip(graph.outputs, *(run(runner, inputs) for runner in running), strict=True):
            if whole.is_floating_point():
                real = whole.flatten(0, -2).norm(dim=-1) > 0
                vectors.setdefault(name, []).append((whole.flatten(0, -2)[real], coarse.flatten(0, -2)[real]))
    pairs = {name: tuple(map(torch.cat, zip(*parts, strict=True))) for name, parts in vectors.items()}
    return {name: cosines(whole, coarse) for name, (whole, coarse) in pairs.items()}


def _inputs(encoder: Encoder, graph: Graph, scenes: list[Sample]) -> Iterator[tuple[Tensor, ...]]:
    """Yield scenes as a graph takes them, a few at a time."""
    if graph.kind is not None:
        captions = {
            "caption": [scene.captions[0] for scene in scenes],
            "long_caption": [scene.long_caption for scene in scenes],
        }
        texts = captions.get(graph.kind, [region.phrase for scene in scenes for region in scene.regions])
        length = encoder.model.config.text.length(graph.kind)
        for start in range(0, len(texts), 4):
            yield (encoder.tokenizer.encode(texts[start : start + 4], length, "truncate").int(),)
        return
    transform = encoder.transform
    if graph.name == "visual" and transform.mode == "native":
        transform = replace(transform, mode="squash")
    for start in range(0, len(scenes), 4):
        batch = scenes[start : start + 4]
        pixels = transform.stack([transform(scene.image) for scene in batch])
        inputs = (
            (pixels.values, pixels.grid)
            if isinstance(pixels, PatchedPixels)
            else (_square(pixels, encoder.image_size),)
        )
        if graph.name == "regions":
            boxes = [region.box for scene in batch for region in scene.regions]
            owner = [row for row, scene in enumerate(batch) for _ in scene.regions]
            inputs = (*inputs, torch.tensor(boxes), torch.tensor(owner))
        yield inputs


def _square(pixels: Tensor, side: int) -> Tensor:
    """Return pixels padded to the square that a graph takes, which patches may not fill."""
    return torch.nn.functional.pad(pixels, (0, side - pixels.shape[3], 0, side - pixels.shape[2]))


def _describe(encoder: Encoder, out: Path) -> None:
    """Write the preparation of pictures and texts for the two graphs, in open_clip's format."""
    config, protocol = encoder.model.config, encoder.protocol
    vision, text = config.vision, config.text
    pictures = {
        "size": [vision.image_size, vision.image_size],
        "mode": "RGB",
        "mean": protocol.mean,
        "std": protocol.std,
        "interpolation": protocol.resample,
        "resize_mode": "shortest" if protocol.resize == "crop" else "squash",
        "fill_color": 0,
    }
    sizes = {
        "embed_dim": config.embed_width,
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.layers,
            "width": vision.width,
            "patch_size": vision.patch_size,
        },
        "text_cfg": {
            "context_length": text.length("caption"),
            "vocab_size": text.vocabulary,
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
        },
    }
    for path, values in ((out / "visual" / "preprocess_cfg.json", pictures), (out / "config.json", sizes)):
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    tokenizer_files.write(encoder.tokenizer, out / "textual", text.length("caption"))
