"""Encoders that stages share, loaded once a process."""

from functools import cache

from ..encoder import Encoder


@cache
def load_encoder(name: str, device: str | None = None) -> Encoder:
    """Load an encoder by the name or path that `foveal.load` takes, once a process."""
    from ..encoder.load import load

    return load(name, device=device)
