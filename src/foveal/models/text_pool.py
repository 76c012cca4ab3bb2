"""An attention pool of patches by texts, as a learned part: an image's embedding that depends on the text.

Systems that pool an image anew for every text need it where texts of all ranks are at hand, which is in the objective.
So the module gives its weights, and `pool_by_texts` reads them, in training and as a score alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .config import ModelConfig

Weights = Mapping[str, Tensor]
NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class TextPool:
    """An attention pool whose queries are texts, in the shared space. The defaults are FLAIR's (arXiv:2412.03561).

    Attributes:
        name: Of the part.
        heads: Of the attention; must divide the shared width.
        norms: LayerNorms of queries, keys and values.
        zero_key: A key and value of zeros, for texts that fit nothing.
        mlp_ratio: Width of an MLP that follows, in shared widths (beta-CLIP has 4). 0: none.
        initial_scale: Inverse temperature of its own at the start. None: it has none.
    """

    name: str = "text_pool"
    heads: int = 8
    norms: bool = True
    zero_key: bool = True
    mlp_ratio: int = 0
    initial_scale: float | None = None

    def build(self, config: ModelConfig) -> "TextPoolModule":
        """Return the module, at its start.

        Raises:
            ValueError: If the heads do not divide the shared width.
        """
        if config.embed_width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide embed_width {config.embed_width}. Change one of them.")
        return TextPoolModule(self, config.embed_width)


class TextPoolModule(nn.Module):
    """The weights of a `TextPool`."""

    def __init__(self, part: TextPool, width: int) -> None:
        super().__init__()
        self.zero_key = part.zero_key
        per_head = width // part.heads
        self.qkv = nn.Parameter(torch.randn(3, part.heads, per_head, width) * width**-0.5)
        self.qkv_bias = nn.Parameter(torch.zeros(3, part.heads, per_head))
        self.out = nn.Parameter(torch.randn(width, width) * width**-0.5)
        self.out_bias = nn.Parameter(torch.zeros(width))
        if part.norms:
            self.norms = nn.Parameter(torch.ones(3, width))
            self.norm_biases = nn.Parameter(torch.zeros(3, width))
        if part.mlp_ratio:
            hidden = part.mlp_ratio * width
            self.mlp_norm, self.mlp_norm_bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
            self.fc1, self.fc1_bias = (
                nn.Parameter(torch.randn(hidden, width) * width**-0.5),
                nn.Parameter(torch.zeros(hidden)),
            )
            self.fc2, self.fc2_bias = (
                nn.Parameter(torch.randn(width, hidden) * hidden**-0.5),
                nn.Parameter(torch.zeros(width)),
            )
        if part.initial_scale is not None:
            self.log_scale = nn.Parameter(torch.tensor(part.initial_scale).log())

    def forward(self) -> dict[str, Tensor]:
        """Return the weights by name, as `pool_by_texts` reads them."""
        weights = {name: parameter.clone() for name, parameter in self.named_parameters()}
        return weights | ({"zero_key": self.qkv.new_zeros(())} if self.zero_key else {})

    @property
    def score(self) -> "TextPoolScore":
        """Score of how well a text fits an image that is pooled by it."""
        return TextPoolScore(self)


@dataclass(frozen=True)
class TextPoolScore:
    """The cosine of a text and of an image pooled by it.

    Attributes:
        module: The pool.
        budget: Bytes of attention at once. Bounds memory, never changes the result.
    """

    module: TextPoolModule
    budget: int = 64 * 2**20
    needs: ClassVar[frozenset[str]] = frozenset({"patches"})

    def __call__(self, texts: Any, images: Any) -> Float[Tensor, "T N"]:
        """Return numbers in [-1, 1] for encoded texts and images (`foveal.encoder`), these with all patches."""
        weights, queries = self.module(), texts.embedding[None]
        heads, count = weights["qkv"].shape[1], len(texts.embedding)
        step = max(1, self.budget // max(1, 4 * heads * count * images.tokens.shape[1]))
        columns = [
            (pool_by_texts(weights, queries.expand(len(patches), -1, -1), patches, mask) * queries).sum(dim=-1)
            for patches, mask in zip(images.tokens.split(step), images.token_mask.split(step), strict=True)
        ]
        return torch.cat(columns).T


def pool_by_texts(
    weights: Weights,
    texts: Float[Tensor, "B Q E"],
    patches: Float[Tensor, "B P E"],
    mask: Bool[Tensor, "B P"] | None = None,
) -> Float[Tensor, "B Q E"]:
    """Pool each image's patches by each of its texts.

    Args:
        weights: What a `TextPoolModule` gives.
        texts: Unit-length embeddings, any number for each image.
        patches: In the shared space.
        mask: True where a patch is real. None: all are.

    Returns:
        Unit-length vectors.
    """
    queries, keys, values = (_projected(weights, index, x) for index, x in enumerate((texts, patches, patches)))
    real = None if mask is None else mask[:, None, None]
    if "zero_key" in weights:
        keys, values = (F.pad(x, (0, 0, 0, 1)) for x in (keys, values))
        real = None if real is None else F.pad(real, (0, 1), value=True)
    mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=real).transpose(1, 2).flatten(2)
    pooled = F.linear(mixed, weights["out"], weights["out_bias"])
    if "fc1" in weights:
        normed = F.layer_norm(pooled, pooled.shape[-1:], weights["mlp_norm"], weights["mlp_norm_bias"], NORM_EPS)
        hidden = F.linear(normed, weights["fc1"], weights["fc1_bias"])
        hidden = hidden * torch.sigmoid(1.702 * hidden)  # QuickGELU
        pooled = pooled + F.linear(hidden, weights["fc2"], weights["fc2_bias"])
    return F.normalize(pooled, dim=-1)


def _projected(weights: Weights, index: int, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B H T _d"]:
    """Return queries (0), keys (1) or values (2) of every head."""
    if "norms" in weights:
        x = F.layer_norm(x, x.shape[-1:], weights["norms"][index], weights["norm_biases"][index], NORM_EPS)
    weight, bias = weights["qkv"][index], weights["qkv_bias"][index]
    return F.linear(x, weight.flatten(0, 1), bias.flatten()).unflatten(-1, weight.shape[:2]).transpose(1, 2)
