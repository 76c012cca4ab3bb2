"""A model as the benchmarks of mteb (MIEB, arXiv:2504.10471) call one. mteb itself is not needed to make it.

mteb.evaluate(MtebModel("BeichenZhang/LongCLIP-B"), tasks=mteb.get_benchmark("MIEB(lite)"))
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..encoder import Encoder
from ..encoder.load import load
from ..similarity import cosine
from ..types import Kind

TextPath = Literal["by length", "caption", "long_caption"]


class MtebModel:
    """Embeds what mteb's loaders give: texts, images, or both, whose unit vectors are then added."""

    def __init__(
        self,
        model_name: str | Encoder,
        revision: str | None = None,
        *,
        device: str | None = None,
        texts: TextPath = "by length",
        **_: Any,
    ) -> None:
        """Open a model.

        Args:
            model_name: As `foveal.load` takes it, or an encoder.
            revision: Branch, tag or commit on the hub.
            device: Where the model runs. None: on the GPU if there is one.
            texts: How texts are read. mteb does not say which are long; by length, those beyond the model's short
                table go the long way, and the others the short one. Part of the revision, as numbers hang on it.
            _: What mteb passes to all models.
        """
        self.encoder = model_name if isinstance(model_name, Encoder) else load(model_name, revision, device)
        self.texts = texts
        self.name = self.encoder.protocol.source or str(model_name)

    @property
    def revision(self) -> str:
        """The weights' revision, and how texts are read."""
        return f"{self.encoder.protocol.revision or 'local'}; texts {self.texts}"

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb files results under. Needs `pip install "foveal[mteb]"`."""
        from mteb.models.model_meta import ModelMeta

        parameters = sum(each.numel() for each in self.encoder.model.parameters())
        return ModelMeta(
            loader=None,
            name=self.name if self.name.count("/") == 1 else f"foveal/{self.name.rpartition('/')[2] or 'model'}",
            revision=self.revision,
            release_date=None,
            languages=["eng-Latn"],
            n_parameters=parameters,
            n_embedding_parameters=None,
            memory_usage_mb=round(parameters * 4 / 2**20),
            max_tokens=self.encoder.model.config.text.length("long_caption"),
            embed_dim=self.encoder.embed_width,
            license=None,
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch"],
            reference=None,
            similarity_fn_name="cosine",
            use_instructions=False,
            training_datasets=None,
            modalities=["image", "text"],
            model_type=["dense"],
            adapted_from=None,
            extra_requirements_groups=None,
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any = None,  # noqa: ARG002  # mteb's signature
        hf_split: str = "",  # noqa: ARG002
        hf_subset: str = "",  # noqa: ARG002
        prompt_type: Any = None,  # noqa: ARG002
        **_: Any,
    ) -> Float[np.ndarray, "N E"]:
        """Return a unit vector for each row of a loader.

        Args:
            inputs: Batches: {"text": [...], "image": [...]}, one of them or both. Its `dataset.features` say which.
            task_metadata: Not used, nor are the others that mteb passes.
            hf_split: Likewise.
            hf_subset: Likewise.
            prompt_type: Likewise.
            _: Likewise.

        Raises:
            ValueError: If rows have neither texts nor images.
        """
        features = inputs.dataset.features
        kinds = [name for name in ("text", "image") if name in features]
        if not kinds:
            raise ValueError(f"Rows have neither text nor image. They have: {', '.join(features)}.")
        parts = [self._both(batch, kinds) for batch in inputs]
        rows = torch.cat(parts) if parts else torch.zeros(0, self.encoder.embed_width)
        return rows.numpy()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Float[Tensor, "A B"]:
        """Return the cosine of every pair."""
        return cosine(_unit(embeddings1), _unit(embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Float[Tensor, " A"]:
        """Return the cosine of row i and row i."""
        return (_unit(embeddings1) * _unit(embeddings2)).sum(dim=1)

    def _both(self, batch: Any, kinds: Sequence[str]) -> Float[Tensor, "B E"]:
        """The sum of a row's text and image, made unit length again."""
        parts = []
        if "text" in kinds:
            parts.append(self._texts(batch["text"]))
        if "image" in kinds:
            parts.append(self.encoder.encode_images([image.convert("RGB") for image in batch["image"]]))
        return F.normalize(torch.stack(parts).sum(dim=0), dim=-1)

    def _texts(self, texts: Iterable[str]) -> Float[Tensor, "B E"]:
        """Embed texts, each by its own path."""
        given = list(texts)
        rows = torch.zeros(len(given), self.encoder.embed_width)
        kinds = self._kinds(given)
        for kind in dict.fromkeys(kinds):
            places = [place for place, text_kind in enumerate(kinds) if text_kind == kind]
            rows[places] = self.encoder.encode_texts([given[place] for place in places], kind)
        return rows

    def _kinds(self, texts: Sequence[str]) -> list[Kind]:
        return self.encoder.text_kinds(texts) if self.texts == "by length" else [self.texts] * len(texts)


def _unit(embeddings: Any) -> Float[Tensor, "N E"]:
    return F.normalize(torch.as_tensor(embeddings).float(), dim=-1)
