"""Detectors of `transformers` with random weights, and an encoder of random weights."""

import pytest
import torch

from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "dog", "cat", "red"]


@pytest.fixture(scope="session")
def grounding_dino(tmp_path_factory):
    """A Grounding DINO of random weights, with its processor, in a folder."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder = tmp_path_factory.mktemp("dino")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    text = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    vision = SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=vision, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=6,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_text_len=16,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"))
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 192}), tokenizer
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def owl(tmp_path_factory):
    """An OWLv2 of random weights, with its processor, in a folder."""
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    folder = tmp_path_factory.mktemp("owl")
    letters = [chr(code) for code in range(97, 123)]
    tokens = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], pad_token="!", model_max_length=16
    )
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={
            **size, "vocab_size": len(tokens), "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2,
            "pad_token_id": 0,
        },
        vision_config={**size, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder():
    """An encoder of random weights."""
    torch.manual_seed(0)
    config = tiny()
    transform = ImageTransform(size=config.vision.image_size, patch_size=config.vision.patch_size)
    return Encoder(DualEncoder(config).eval(), Tokenizer.clip(), transform)
