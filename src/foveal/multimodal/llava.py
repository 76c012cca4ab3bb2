"""A LLaVA of our image tower and any causal language model of `transformers`, built, trained, saved and opened."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..data.formats.conversations import IMAGE
from ..data.scenes import Scenes
from ..encoder.encoder import Encoder
from ..encoder.load import load
from ..outside import read_object
from .chat import VICUNA_TEMPLATE, Style
from .chats import ChatBatch, open_picture, picture_processor
from .small import small_language, small_tower
from .tower import SETTINGS, Layer, Reading, Shape, picture_settings, vision_tower

Trained = Literal["connector", "all", "lora"]
_LOOKED_AT = 32  # made-up pictures, of 64 pixels


@dataclass(frozen=True)
class Assembled:
    """A LLaVA with all that it needs to see and read.

    Attributes:
        model: `LlavaForConditionalGeneration`.
        tokenizer: Of its language model, with a token for parts of a picture.
        reading: How its tower is read.
        pictures: Settings of its `LlavaImageProcessor`.
    """

    model: Any
    tokenizer: Any
    reading: Reading
    pictures: dict[str, Any]


@dataclass(frozen=True)
class AnswerOutput:
    """What a model says where answers stand.

    Attributes:
        logits: Of each answer token, given all before it.
        targets: The tokens.
    """

    logits: Float[Tensor, "T V"]
    targets: Int[Tensor, " T"]


def assemble(
    tower: Encoder,
    language: Any,
    tokenizer: Any,
    *,
    layer: Layer = "penultimate",
    shape: Shape = "pad",
    size: int | None = None,
) -> Assembled:
    """Return a LLaVA whose eye is our image tower (arXiv:2310.03744): tower, two-layer connector, language model.

    The connector is fresh: Linear, GELU, Linear. All other weights are those of the parts, which are shared.

    Args:
        tower: Any that `vision_tower` takes.
        language: Any causal language model of `transformers`. Gets an embedding for the picture's token.
        tokenizer: Of the language model. Gets the token "<image>", and a padding token if it has none.
        layer: Which patches the language model sees.
        shape: How a picture becomes a square.
        size: Side of that square. None: the tower's own.

    Raises:
        ValueError: As `vision_tower`.
    """
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    model_class: Any = LlavaForConditionalGeneration
    eye, reading = vision_tower(tower, layer, size)
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if len(tokenizer) > language.get_input_embeddings().num_embeddings:
        language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    _untie(language)
    config = LlavaConfig(
        vision_config=eye.config,
        text_config=language.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=reading.tokens,
        vision_feature_layer=reading.vision_feature_layer,
        vision_feature_select_strategy=reading.vision_feature_select_strategy,
    )
    with torch.device("meta"):
        model = model_class(config)
    model.model.vision_tower = eye
    model.model.language_model = language.base_model
    model.lm_head = language.get_output_embeddings()
    connector = model.model.multi_modal_projector.to_empty(device="cpu")
    for linear in (connector.linear_1, connector.linear_2):
        linear.reset_parameters()
    connector.to(language.dtype)
    tokenizer.chat_template = tokenizer.chat_template or VICUNA_TEMPLATE
    return Assembled(model, tokenizer, reading, picture_settings(tower.protocol, reading.image_size, shape))


@torch.no_grad()
def standardize(model: Any, pixels: Float[Tensor, "N 3 Y X"]) -> None:
    """Change a fresh connector so that it sees each channel of the tower with mean 0 and deviation 1.

    Towers that were not made for it have channels of very different size, and a small language model hardly learns
    from those. What is divided is the first map's weights, so the connector stays what `transformers` knows.

    Args:
        model: `LlavaForConditionalGeneration`.
        pixels: Of pictures as they will come.
    """
    config, linear = model.config, model.model.multi_modal_projector.linear_1
    hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[config.vision_feature_layer]
    skipped = 1 if config.vision_feature_select_strategy == "default" else 0
    mean, deviation = hidden[:, skipped:].flatten(0, 1).mean(dim=0), hidden[:, skipped:].flatten(0, 1).std(dim=0)
    linear.weight.div_(deviation.clamp(min=1e-4))
    linear.bias.sub_(linear.weight @ mean)


def _untie(language: Any) -> None:
    """Give a language model an output of its own where its embeddings have a name that LLaVA's cannot be tied to."""
    if language.config.tie_word_embeddings and not hasattr(language.base_model, "embed_tokens"):
        language.config.tie_word_embeddings = False
        head = language.get_output_embeddings()
        head.weight = nn.Parameter(head.weight.detach().clone())


def save(assembled: Assembled, folder: Path) -> None:
    """Write a folder that `LlavaForConditionalGeneration` and `LlavaProcessor` open, and lmms-eval with them."""
    assembled.model.save_pretrained(folder)
    assembled.tokenizer.save_pretrained(folder)
    reading = assembled.reading
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": IMAGE,
        "patch_size": reading.patch_size,
        "vision_feature_select_strategy": reading.vision_feature_select_strategy,
        "num_additional_image_tokens": reading.num_additional_image_tokens,
    }
    pictures = assembled.pictures | {"processor_class": "LlavaProcessor"}
    for name, values in (
        ("processor_config.json", processor),
        ("preprocessor_config.json", pictures),
        (SETTINGS, asdict(reading)),
    ):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def open_folder(folder: Path) -> Assembled:
    """Return a LLaVA that `save` wrote, in the precision that it has.

    Raises:
        ValueError: If the folder holds none.
    """
    from transformers import AutoTokenizer, LlavaForConditionalGeneration

    if not (folder / SETTINGS).is_file():
        raise ValueError(f"{folder} is no LLaVA of foveal: it has no {SETTINGS}. Train one: foveal train llava:stage1.")
    opener: Any = LlavaForConditionalGeneration.from_pretrained
    model = opener(folder, use_safetensors=True).eval()
    pictures = dict(read_object(folder / "preprocessor_config.json"))
    settings: dict[str, Any] = dict(read_object(folder / SETTINGS))
    return Assembled(model, AutoTokenizer.from_pretrained(folder), Reading(**settings), pictures)


class LlavaModule(nn.Module):
    """A LLaVA that is called with a batch of conversations, and gives what it says where answers stand."""

    def __init__(self, assembled: Assembled, trained: Trained, rank: int, alpha: float) -> None:
        super().__init__()
        self.llava: Any = assembled.model
        self.llava.requires_grad_(False)
        if trained == "all":
            self.llava.model.language_model.requires_grad_(True)
            self.llava.lm_head.requires_grad_(True)
        if trained == "lora":
            _add_adapters(self.llava.model.language_model, rank, alpha)
        self.llava.model.multi_modal_projector.requires_grad_(True)

    def forward(self, batch: ChatBatch) -> AnswerOutput:
        """Return the logits of the answers' tokens."""
        pixels = {"pixel_values": batch.pixels} if len(batch.pixels) else {}
        hidden = self.llava.model(
            input_ids=batch.token_ids, attention_mask=batch.mask, use_cache=False, **pixels
        ).last_hidden_state
        answers = batch.targets[:, 1:] >= 0
        return AnswerOutput(self.llava.lm_head(hidden[:, :-1][answers]), batch.targets[:, 1:][answers])


@dataclass(frozen=True, kw_only=True)
class Llava:
    """A LLaVA to be trained (`training.run.Trainable`).

    Attributes:
        tower: Name of a model for `foveal.load`. Empty: a tiny fresh one.
        language: Folder or hub name of a causal language model. Empty: a tiny fresh Llama that knows scenes' words.
        folder: A LLaVA's folder to go on from, such as the first stage's, in place of both. Empty: there is none.
        layer: Which patches the language model sees.
        shape: How a picture becomes a square.
        size: Side of that square, in pixels. None: the tower's own.
        trained: "connector" alone; "all" but the tower; "lora": the connector and adapters in the language model.
        rank: Of the adapters (LoRA, arXiv:2106.09685).
        alpha: What they add is multiplied with alpha / rank.
        style: How conversations are written.
        most_tokens: Longest conversation.
        standardized: A fresh connector begins with the tower's channels at one size, as made-up pictures have them.
    """

    tower: str = ""
    language: str = ""
    folder: str = ""
    layer: Layer = "penultimate"
    shape: Shape = "pad"
    size: int | None = None
    trained: Trained = "connector"
    rank: int = 128
    alpha: float = 256.0
    style: Style = "vicuna"
    most_tokens: int = 2048
    standardized: bool = False

    def assembled(self) -> Assembled:
        """Return model, tokenizer and settings before any step."""
        if self.folder:
            return open_folder(Path(self.folder))
        encoder = load(self.tower, device="cpu") if self.tower else small_tower()
        parts = assemble(encoder, *self._language(), layer=self.layer, shape=self.shape, size=self.size)
        if self.standardized:
            pictures = [open_picture(sample.image) for sample in Scenes(count=_LOOKED_AT)]
            standardize(parts.model, picture_processor(parts.pictures)(pictures, return_tensors="pt").pixel_values)
        return parts

    def build(self) -> LlavaModule:
        """Return the module as it begins."""
        return LlavaModule(self.assembled(), self.trained, self.rank, self.alpha)

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a folder for `open_folder`, `transformers` and lmms-eval; adapters are merged."""
        assert isinstance(module, LlavaModule)
        if self.trained == "lora":
            merge_adapters(module.llava.model.language_model)
        parts = self.assembled()
        save(Assembled(module.llava, parts.tokenizer, parts.reading, parts.pictures), folder)

    def open(self, folder: Path) -> LlavaModule:
        """Return the module of a folder."""
        return LlavaModule(open_folder(folder), self.trained, self.rank, self.alpha)

    def count_tokens(self, batch: ChatBatch) -> int:
        """Count the tokens of a batch, padding left out."""
        return int(batch.mask.sum())

    def _language(self) -> tuple[Any, Any]:
        if not self.language:
            return small_language()
        from transformers import AutoModelForCausalLM, AutoTokenizer

        opener: Any = AutoModelForCausalLM.from_pretrained
        model = opener(self.language, use_safetensors=True, dtype=torch.float32)
        return model, AutoTokenizer.from_pretrained(self.language)


def _add_adapters(language: nn.Module, rank: int, alpha: float) -> None:
    """Put adapters of peft into every linear map of a language model."""
    from peft import LoraConfig, inject_adapter_in_model

    linear = {name.rpartition(".")[2] for name, module in language.named_modules() if isinstance(module, nn.Linear)}
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=sorted(linear))  # type: ignore[arg-type]
    inject_adapter_in_model(settings, language)


def merge_adapters(language: nn.Module) -> None:
    """Add each adapter to its map, which then is a plain one again."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(language.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(language.get_submodule(parent), child, layer.get_base_layer())
