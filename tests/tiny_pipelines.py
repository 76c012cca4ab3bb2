"""Pipelines of diffusers from random tiny configs, real in all but size, and encoders that fit them."""

from dataclasses import replace
from functools import cache

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from foveal.data.tokenizer import Tokenizer
from foveal.diffusion.text_encoder import text_tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.models.config import TextConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import long_text, tiny

CALL = {"num_inference_steps": 2, "height": 32, "width": 32, "output_type": "np"}


def config(width=32):
    return replace(tiny(), text=TextConfig(width=width, layers=3, heads=4, mlp_width=37))


def encoder_of(model_config, seed=3):
    torch.manual_seed(seed)
    model = DualEncoder(model_config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.15)
    protocol = Protocol(family="clip", resize="crop", cleaning="nfc")
    transform = protocol.transform(model_config.vision)
    return Encoder(model, Tokenizer.clip("nfc"), transform, protocol=protocol, progress=False)


@cache
def short_tokenizer(pad="end"):
    return text_tokenizer(encoder_of(config()), pad=pad)


@cache
def long_encoder(width=32):
    return encoder_of(long_text(config(width)))


def clip_text(width=32, *, projection=False, length=77):
    torch.manual_seed(5)
    values = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=16,
        max_position_embeddings=length,
        vocab_size=49408,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(values).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def stable_diffusion():
    pipeline = StableDiffusionPipeline(
        vae=vae(4),
        text_encoder=clip_text(),
        tokenizer=short_tokenizer(),
        unet=unet(32),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return quiet(pipeline)


def stable_diffusion_xl(second_length=77, *, zeros=True):
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
        "transformer_layers_per_block": (1, 1),
        "use_linear_projection": True,
    }
    pipeline = StableDiffusionXLPipeline(
        vae=vae(4),
        text_encoder=clip_text(),
        text_encoder_2=clip_text(24, projection=True, length=second_length),
        tokenizer=short_tokenizer(),
        tokenizer_2=short_tokenizer("zero"),
        unet=unet(32 + 24, **added),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        force_zeros_for_empty_prompt=zeros,
    )
    return quiet(pipeline)


def stable_diffusion_3():
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=32,
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(4, shift_factor=0.0),
        text_encoder=clip_text(projection=True),
        tokenizer=short_tokenizer(),
        text_encoder_2=clip_text(24, projection=True),
        tokenizer_2=short_tokenizer("zero"),
        text_encoder_3=None,
        tokenizer_3=None,
    )
    return quiet(pipeline)


def flux():
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(1, shift_factor=0.0),
        text_encoder=clip_text(),
        tokenizer=short_tokenizer(),
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=transformer.eval(),
    )
    return quiet(pipeline)


def vae(channels, **settings):
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=channels,
        sample_size=64,
        **settings,
    ).eval()


def unet(width, **settings):
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        cross_attention_dim=width,
        **settings,
    ).eval()


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
