"""A tiny tower, a tiny Llama of few words, and conversations about made-up scenes: for tests and first steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, get_args

import torch

from ..data.formats.conversations import IMAGE, Chat, Turn
from ..data.scenes import COLORS, Scenes
from ..data.tokenizer import Tokenizer
from ..encoder.encoder import Encoder
from ..encoder.protocol import Protocol
from ..models.config import ModelConfig, TextConfig, VisionConfig
from ..models.dual_encoder import DualEncoder

Question = Literal["colors", "yes-no"]
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", IMAGE)
_WORDS = "USER ASSISTANT : ? . which colors are the tiles is there a tile yes no"
_SIDE = 64


def small_tower(seed: int = 0) -> Encoder:
    """Return a fresh CLIP whose tower has 64 patches of pictures of 64 pixels."""
    vision = VisionConfig(width=64, layers=3, heads=4, mlp_width=128, patch_size=8, image_size=_SIDE)
    text = TextConfig(width=32, layers=1, heads=2, mlp_width=64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DualEncoder(ModelConfig(vision=vision, text=text, embed_width=32)).eval()
    protocol = Protocol(family="clip", resize="squash")
    return Encoder(model, Tokenizer.clip(), protocol.transform(vision), protocol=protocol)


def small_language(seed: int = 0) -> tuple[Any, Any]:
    """Return a fresh Llama of 0.4 million parameters and its tokenizer of words."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(dict.fromkeys((*SPECIAL, *_WORDS.split(), *COLORS)))}
    backend = Backend(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    model_class, tokenizer_class = LlamaForCausalLM, PreTrainedTokenizerFast
    make_tokenizer: Any = tokenizer_class
    tokenizer = make_tokenizer(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=[IMAGE],
    )
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        intermediate_size=288,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    make_model: Any = model_class
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_model(config)
    return model, tokenizer


@dataclass(frozen=True)
class SceneChats:
    """Endless conversations about made-up scenes, each the same whenever one asks for it.

    Attributes:
        question: "colors": name those of all tiles; "yes-no": is there a tile of a color? Half of the answers are yes.
        seed: Other seeds give other scenes.
        split: "train" or "test", whose compositions differ.
    """

    question: Question = "colors"
    seed: int = 0
    split: str = "train"
    count: None = None

    @classmethod
    def of(cls, spec: str) -> "SceneChats":
        """Return those of a name: "scenes", "scenes:question=yes-no,seed=1,split=test".

        Raises:
            ValueError: If a setting is unknown.
        """
        settings = dict(part.partition("=")[::2] for part in spec.partition(":")[2].split(",") if part)
        question = settings.pop("question", "colors")
        seed, split = settings.pop("seed", "0"), settings.pop("split", "train")
        if settings or question not in get_args(Question):
            raise ValueError(
                f"'{spec}' is unknown. Settings are question=colors or yes-no, seed=0, split=train or test."
            )
        return cls(question, int(seed), split)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Chat]:
        """Yield conversations without end."""
        number = 0
        while True:
            yield self.sample(number)
            number += 1

    def sample(self, index: int) -> Chat:
        """Return the conversation about a scene."""
        scenes = Scenes(seed=self.seed, split=self.split, size=_SIDE)
        scene = scenes.truth(index)
        colors = [color for color in COLORS if any(tile.color == color for tile in scene.tiles)]
        image = scenes.sample(index).image
        question, answer = "which colors are the tiles ?", " ".join(colors)
        if self.question == "yes-no":
            rng = Random(f"{self.seed} {self.split} {index}")
            present = rng.random() < 0.5
            color = rng.choice(colors if present else [color for color in COLORS if color not in colors])
            question, answer = f"is there a {color} tile ?", "yes" if present else "no"
        return Chat.of(str(index), image, (Turn("human", f"{IMAGE}\n{question}"), Turn("gpt", answer)))
