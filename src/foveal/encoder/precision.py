"""Precision of a model's arithmetic, by a word."""

from typing import Literal, get_args

import torch

Precision = Literal["auto", "fp32", "bf16"]


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the type that a model computes in.

    Args:
        precision: "fp32", "bf16", or "auto": bf16 where it is fast, on a GPU that has it and on a processor with
            avx512_bf16 or AMX, else fp32.
        device: Where the model runs.

    Raises:
        ValueError: If there is no such precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"There is no precision '{precision}'. There are: {', '.join(get_args(Precision))}.")
    coarse = precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
    return torch.bfloat16 if coarse else torch.float32


def word_of(dtype: torch.dtype) -> Precision:
    """Return the word for the type that a model computes in."""
    return "bf16" if dtype == torch.bfloat16 else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    """True if a device multiplies matrices in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    flags: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # since torch 2.11; before it "auto" is fp32
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))
