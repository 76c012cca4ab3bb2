"""Upgrade of a model to a richer architecture, as the papers do it before they train."""

import logging

import torch
from torch import Tensor

from .config import ModelConfig
from .dual_encoder import DualEncoder
from .positions import Positions, stretch_positions
from .text import TextTower

log = logging.getLogger(__name__)

# A part that the smaller model lacks begins as a copy of this part of it, as the papers do.
COPIES = {
    "text_projections.long_caption.": "text_projections.caption.",
    "text_projections.phrase.": "text_projections.caption.",
    "vision.dense_head.": "vision.head.",
    "log_region_scale": "log_scale",
    "log_negative_scale": "log_scale",
}


@torch.no_grad()
def upgrade(model: DualEncoder, config: ModelConfig) -> DualEncoder:
    """Return a model of another config that starts from this one's weights.

    Tensors of the same name and shape are kept. Longer position tables are stretched (Long-CLIP), heads that a
    kind of text gains begin as captions' head (FG-CLIP), a dense head as the pooling head (FG-CLIP 2). Token
    refinement (FineLIP) and learned parts begin at random, which is said of parts.

    Raises:
        ValueError: If the two differ in more than that. The message names the first tensors that do not fit.
    """
    if config == model.config:
        return model
    new = DualEncoder(config)
    old = {name: value for name, value in model.state_dict().items() if "positions." not in name}
    state = {name: value for name, value in new.state_dict().items() if "positions." not in name}
    sources = {name: _source(name, old) for name in state}
    wrong = [
        name
        for name, value in sources.items()
        if (value is None and not _begins_fresh(name)) or (value is not None and value.shape != state[name].shape)
    ]
    if wrong:
        raise ValueError(
            f"{len(wrong)} tensors do not fit the new config, the first are {', '.join(sorted(wrong)[:3])}."
            " Start from a model of the same towers."
        )
    fresh = sorted(
        {name.split(".")[1] for name, value in sources.items() if value is None and name.startswith("parts.")}
    )
    if fresh:
        log.warning("The model has no %s yet: it begins at random.", " and no ".join(fresh))
    new.load_state_dict({name: value for name, value in sources.items() if value is not None}, strict=False)
    _take_positions(new, model)
    return new


def _begins_fresh(name: str) -> bool:
    return "_refiner." in name or name.startswith("parts.")


def _source(name: str, old: dict[str, Tensor]) -> Tensor | None:
    if name in old:
        return old[name]
    for part, origin in COPIES.items():
        if name.startswith(part):
            return old.get(origin + name.removeprefix(part))
    return None


def _take_positions(new: DualEncoder, model: DualEncoder) -> None:
    if not (isinstance(new.text, TextTower) and isinstance(model.text, TextTower)):
        return  # other towers have no such tables of positions
    table: Tensor = model.text.positions()
    _fill(new.text.positions, table)
    if new.config.text.long_context is not None:
        separate = model.config.text.long_context is not None
        _fill(new.text.long_positions, model.text.long_positions() if separate else table)


def _fill(positions: Positions, table: Tensor) -> None:
    """Take over a table, stretched if it is the shorter one, cut if it is the longer one."""
    length, keep = len(positions()), 0 if positions.kept is None else len(positions.kept)
    if length > len(table):
        ratio, rest = divmod(length - keep, len(table) - keep)
        if rest:
            raise ValueError(
                f"{len(table)} positions cannot be stretched to {length} with {keep} kept."
                f" Choose {keep} + n * {len(table) - keep}."
            )
        table = stretch_positions(table, keep, ratio)
    positions.set(table[:length])
