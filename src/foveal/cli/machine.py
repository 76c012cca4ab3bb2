"""How a verb uses the machine: precision, threads and memory."""

import ctypes
import os
import sys
from typing import Annotated, Literal

import typer

Dtype = Annotated[
    Literal["auto", "fp32", "bf16"] | None,
    typer.Option(
        help="Precision of the model. auto: bf16 where the processor or GPU is fast at it.",
        show_default="the index's, at first auto",
    ),
]
QueryDtype = Annotated[
    Literal["auto", "fp32", "bf16"] | None,
    typer.Option(help="Precision of the model.", show_default="fp32; to cast weights takes longer than one query"),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads that a model computes with. Beside other work: fewer than processors."),
]

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # parameters of mallopt(3)
_KEPT = 512 << 20  # bytes of freed memory that stay with the process
_LARGEST = 32 << 20  # bytes of a block, the most that glibc takes


def prepare_machine() -> None:
    """Set what must be set before torch is loaded, unless the environment says otherwise.

    Threads that wait for work sleep (`OMP_WAIT_POLICY`): spinning, they take the processor from whatever else runs,
    their own siblings too. And glibc keeps freed memory for the next layer instead of giving it back and getting it
    again page by page, filled with zeros (`FOVEAL_MALLOC=system` leaves that to glibc).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "linux" and os.environ.get("FOVEAL_MALLOC") != "system":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other libraries than glibc have none, or ignore it
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _LARGEST)
            mallopt(_TRIM_THRESHOLD, _KEPT)


def use_threads(threads: int | None) -> None:
    """Compute with so many threads. None: as many as torch takes by itself."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
