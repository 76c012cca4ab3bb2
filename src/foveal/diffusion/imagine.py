"""Pictures from prompts: one, or a file of captions into a folder, which goes on where it was."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm.auto import tqdm

from ..outside import read_object
from ..writing import replacing
from .pipeline import Layer, Pipeline, clip_places, prompt_embeddings
from .prompts import Prompt

SETTINGS = "imagine.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How pictures are drawn. The defaults are those of FineLIP's and Long-CLIP's SDXL.

    Attributes:
        steps: Of denoising.
        guidance: Scale of classifier-free guidance (arXiv:2207.12598). 1: none.
        seed: Of the first picture; the next one has one more, so that a picture does not depend on those before it.
        size: Side of the picture, in pixels. None: the pipeline's own.
        layer: Which layer of the text encoders SD-1.x and SDXL see. None: the pipeline's own.
        negative: What pictures should not show. None: nothing.
    """

    steps: int = 40
    guidance: float = 5.0
    seed: int = 1971
    size: int | None = None
    layer: Layer | None = None
    negative: str | None = None


def open_pipeline(name: str, dtype: torch.dtype | None = None, device: str | None = None) -> Pipeline:
    """Return a pipeline of diffusers from a folder or hub name. No code of it is run, nothing is unpickled.

    Args:
        name: A folder with model_index.json, or owner/name on the hub.
        dtype: Of its weights. None: float16 on a GPU, else float32.
        device: Where it runs. None: on the GPU if there is one.

    Raises:
        ValueError: If there is no such pipeline.
    """
    from diffusers import DiffusionPipeline

    folder = Path(name)
    if folder.exists() and not (folder / "model_index.json").is_file():
        raise ValueError(f"{name} is no pipeline of diffusers: it has no model_index.json.")
    if not folder.exists() and not _HUB_NAME.fullmatch(name):
        raise ValueError(f"There is no {name}, neither a folder nor a hub name, which looks like owner/name.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    precision = dtype or (torch.float16 if device.startswith("cuda") else torch.float32)
    opener: Any = DiffusionPipeline.from_pretrained
    pipeline = opener(name, dtype=precision, use_safetensors=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tokenizer_of(pipeline: Pipeline) -> Any:
    """Return the tokenizer of a pipeline's first text encoder of CLIP.

    Raises:
        ValueError: If it has none.
    """
    places = clip_places(pipeline)
    if not places:
        raise ValueError(f"{type(pipeline).__name__} has no text encoder of CLIP.")
    return getattr(pipeline, f"tokenizer{places[0]}")


def draw(pipeline: Pipeline, text: str, drawing: Drawing, index: int = 0) -> Image.Image:
    """Return a picture of a text.

    Args:
        pipeline: Of diffusers, from text to pictures.
        text: The prompt.
        drawing: How.
        index: Added to the seed.
    """
    call: dict[str, Any] = {"prompt": text, "negative_prompt": drawing.negative}
    if drawing.layer is not None:
        call = dict(prompt_embeddings(pipeline, [text], layer=drawing.layer, negative=drawing.negative))
    if drawing.size is not None:
        call |= {"height": drawing.size, "width": drawing.size}
    noise = torch.Generator().manual_seed(drawing.seed + index)  # on the CPU: the same picture on every device
    output = pipeline(num_inference_steps=drawing.steps, guidance_scale=drawing.guidance, generator=noise, **call)
    picture: Image.Image = output.images[0]
    return picture


def draw_all(
    pipeline: Pipeline, prompts: Sequence[Prompt], folder: Path, drawing: Drawing, names: dict[str, str]
) -> int:
    """Draw a picture of every prompt into a folder, one PNG each; those that are there already stay.

    Args:
        pipeline: Of diffusers.
        prompts: In the order that decides their seeds.
        folder: Made if it is not there. It holds the settings too.
        drawing: How.
        names: Of pipeline and text encoder, for the settings.

    Returns:
        How many were drawn now.

    Raises:
        ValueError: If the folder's pictures were drawn with other settings. The message names one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _agree(folder / SETTINGS, {**names, **asdict(drawing)})
    left = [(number, prompt) for number, prompt in enumerate(prompts) if not _file(folder, prompt).exists()]
    bar = tqdm(total=len(prompts), initial=len(prompts) - len(left), unit="picture", smoothing=0.1)
    with bar:
        for number, prompt in left:
            save(
                draw(pipeline, prompt.text, drawing, number), _file(folder, prompt), prompt.text, drawing.seed + number
            )
            bar.update()
    return len(left)


def save(picture: Image.Image, file: Path, text: str, seed: int) -> None:
    """Write a PNG, whole or not at all, with its prompt and seed inside."""
    notes = PngInfo()
    notes.add_itxt("prompt", text)
    notes.add_text("seed", str(seed))
    with replacing(file) as partial:
        picture.save(partial, format="PNG", pnginfo=notes)


def _file(folder: Path, prompt: Prompt) -> Path:
    return folder / f"{prompt.name}.png"


def _agree(file: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a folder, or refuse others than it has."""
    if not file.is_file():
        with replacing(file) as partial:
            partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    before = read_object(file)
    for name, value in settings.items():
        if before.get(name) != value:
            raise ValueError(
                f"{file.parent} holds pictures drawn with {name} {before.get(name)}, not {value}."
                " Choose another folder."
            )
