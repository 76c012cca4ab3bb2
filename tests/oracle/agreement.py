"""foveal beside the plain code: each family's published layout is written, opened and asked the same."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

import foveal
from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.vision import patchify
from foveal.similarity import clim
from foveal.types import PatchedPixels

from .formula import pixels, weights

FAMILIES = ("clip", "open_clip", "long_clip", "finelip", "siglip", "siglip2", "fg_clip", "fg_clip2")
OTHERS = ("bpe", "preparation")
FOLDER = Path(__file__).parent


def page(name: str) -> ModuleType:
    """The module of a family."""
    return import_module(f"{__package__}.{name}")


def made(name: str) -> dict:
    """What a JSON file is to hold: inputs and outputs, in ten digits."""
    given = page(name).inputs()
    outputs = page(name).outputs(given)
    return {"inputs": given, "outputs": {key: _plain(value) for key, value in outputs.items()}}


def _plain(value: np.ndarray | np.float64 | list) -> list | float:
    return value if isinstance(value, list) else np.round(value, 10).tolist()


def kept(name: str) -> dict:
    """What a JSON file holds."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str) -> None:
    """Make a JSON file anew: a line for every row of numbers."""
    content = made(name)
    sections = []
    for section, parts in content.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in parts.items()]
        sections.append(f" {json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n }")
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(sections) + "\n}\n", encoding="utf-8")


def opened(name: str, folder: Path) -> Encoder:
    """foveal's encoder of a family, from files in the layout that was published."""
    family = page(name)
    state = {key: torch.from_numpy(value).float() for key, value in weights(family.SHAPES).items()}
    if name in ("clip", "long_clip", "finelip"):
        numbers = {key: torch.tensor(value) for key, value in getattr(family, "NUMBERS", {}).items()}
        torch.save(state | numbers, folder / f"{name}.pt")
        return foveal.load(folder / f"{name}.pt", device="cpu")
    prefix = "open_clip_" if name == "open_clip" else ""
    save_file(state, folder / f"{prefix}model.safetensors")
    (folder / f"{prefix}config.json").write_text(json.dumps(family.CONFIG), encoding="utf-8")
    if name in ("siglip", "siglip2", "fg_clip2"):
        write_tokenizer(folder, family.VOCABULARY)
    return foveal.load(folder, device="cpu")


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A tokenizer of as many words, with the marks of SigLIP's."""
    import tokenizers

    words = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3} | {f"word{n}": n for n in range(4, vocabulary)}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    marks = {"add_bos_token": False, "add_eos_token": True, "bos_token": "<bos>", "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(marks | {"pad_token": "<pad>"}), encoding="utf-8")


def measured(encoder: Encoder, given: dict) -> dict[str, torch.Tensor]:
    """What foveal makes of a family's inputs, under the names of its outputs, in the precision of its model."""
    model, dtype = encoder.model, encoder.model.log_scale.dtype
    pictures = batch([torch.from_numpy(pixels(*each)).to(dtype) for each in given["pictures"]], encoder)
    found = {"images": model.encode_images(pictures), "scale": model.log_scale.exp()}
    for kind, texts in given["texts"].items():
        found[kind] = torch.cat([model.encode_texts(torch.tensor([ids]), kind) for ids in texts])
    if "boxes" in given:
        boxes = [(box, row) for row, own in enumerate(given["boxes"]) for box in own]
        flat = torch.tensor([box for box, _ in boxes], dtype=dtype)
        found["regions"] = model.encode_regions(pictures, flat, torch.tensor([row for _, row in boxes]))
        patches, mask, _ = model.encode_patches(pictures)
        found["patches"] = patches[mask]
    if model.config.refine is not None:
        found["image_tokens"], _ = model.encode_image_tokens(pictures)
        texts = [torch.tensor([ids]) for ids in given["texts"]["long_caption"]]
        found["text_tokens"] = torch.cat([model.encode_text_tokens(ids, "long_caption")[0] for ids in texts])
        found["late_interaction"] = clim(found["text_tokens"], found["image_tokens"])
    if model.config.own_scales:
        found["region_scale"] = model.log_region_scale.exp()
    if model.config.bias:
        found["bias"] = model.bias
    return found


def batch(pictures: list[torch.Tensor], encoder: Encoder) -> torch.Tensor | PatchedPixels:
    """Pictures of one size as they are; those of any aspect as patches, padded."""
    if encoder.transform.mode != "native":
        return torch.stack(pictures)
    parts = [patchify(picture[None], encoder.transform.patch_size) for picture in pictures]
    longest = max(part.values.shape[1] for part in parts)
    values = torch.cat([F.pad(part.values, (0, 0, 0, longest - part.values.shape[1])) for part in parts])
    counts = torch.tensor([part.values.shape[1] for part in parts])
    return PatchedPixels(values, torch.arange(longest) < counts[:, None], torch.cat([part.grid for part in parts]))


@torch.no_grad()
def differences(name: str, encoder: Encoder) -> dict[str, float]:
    """The largest difference from what the JSON file holds, by output. Scales and biases relative to their size."""
    content = kept(name)
    found, apart = measured(encoder, content["inputs"]), {}
    for key, expected in content["outputs"].items():
        rows = torch.tensor(expected, dtype=torch.float64)
        assert rows.shape == found[key].shape, (key, rows.shape, found[key].shape)
        apart[key] = float(((found[key].double() - rows).abs() / rows.abs().clamp(min=1)).max())
    return apart


def tokenized() -> list[tuple[str, list[int], list[int]]]:
    """Each text, its ids as kept, and as foveal gives them."""
    content = kept("bpe")
    texts, ids = content["inputs"]["texts"], content["outputs"]["ids"]
    tokenizer = Tokenizer.clip()
    return [(text, row, tokenizer.encode([text], 248)[0].tolist()) for text, row in zip(texts, ids, strict=True)]


def levels_apart(case: str) -> float:
    """The largest difference between pixels as kept and as foveal gives them, normalized and back, in levels of 255."""
    content = kept("preparation")
    told, picture = content["inputs"]["cases"][case], page("preparation").picture
    mean, std = (torch.tensor(told[name], dtype=torch.float64) for name in ("mean", "std"))
    transform = ImageTransform(
        size=told.get("size", 224),
        mode=told["mode"],
        crop_rounding=told.get("rounding", "floor"),
        resample=told["filter"],
        patch_size=told.get("patch", 16),
        max_patches=told.get("patches", 256),
        mean=tuple(told["mean"]),
        std=tuple(told["std"]),
    )
    most = 0.0
    for size, expected in zip(content["inputs"]["sizes"], content["outputs"][case], strict=True):
        seen = transform.stack([transform(Image.fromarray(picture(*size)))])
        rows = torch.tensor(expected, dtype=torch.float64)
        if isinstance(seen, PatchedPixels):
            seen = seen.values.unflatten(2, (told["patch"], told["patch"], 3))
            blocks = rows.unflatten(0, (-1, told["patch"])).unflatten(2, (-1, told["patch"]))
            rows = blocks.transpose(1, 2).flatten(0, 1)  # patches in reading order
            colors = seen[0]
        else:
            colors = seen[0].permute(1, 2, 0)
        most = max(most, float(((colors.double() * std + mean) * 255 - rows.reshape(colors.shape)).abs().max()))
    return most
