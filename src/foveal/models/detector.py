"""F-ViT (CLIPSelf, arXiv:2310.01403, section 3.3): a Faster R-CNN with a text classifier on a frozen dual encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..types import BoxedBatch
from .assignment import draw_samples, match
from .boxes import Scales, areas, class_nms, clipped, decode_boxes, encode_boxes, grid_anchors
from .dual_encoder import DualEncoder
from .pyramid import FeaturePyramid, Norm, normalization
from .regions import pool_regions, sample_regions
from .vision import VisionTower

REGION_SCALES: Scales = (0.1, 0.1, 0.2, 0.2)
_RATIOS = (0.5, 1.0, 2.0)
_SIDE = 14  # strides of the finest level along a box that is read from it, at most twice as many
_LEVELS = 4  # that boxes are read from
_LEAST_SIDE = 1e-3  # pixels of a proposal


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The detector around an encoder. The defaults are F-ViT's for a tower of 12 blocks.

    Attributes:
        taps: Blocks that the pyramid reads, the last one as the model's dense features are read.
        image_size: Side of the square that pictures are scaled into, in pixels.
        width: Channels of the pyramid's maps.
        hidden: Width of the region head.
        convs: Convolutions of the region head before its linear layers.
        norm: By groups, or over the batches of all ranks (the authors').
        anchor_size: Side of square anchors, in strides of their level.
        proposals: Kept of a picture.
        anchor_samples: Anchors a picture is trained on; half of them positive, at most.
        region_samples: Proposals a picture is trained on; a quarter of them positive, at most.
        temperature: Scale of the text classifier at the start; it is learned.
        learn_background: The background's vector is learned (CLIM, arXiv:2312.04043), from a text's on.
    """

    taps: tuple[int, int, int, int] = (3, 5, 7, 11)
    image_size: int = 640
    width: int = 256
    hidden: int = 512
    convs: int = 4
    norm: Norm = "group"
    anchor_size: float = 8.0
    proposals: int = 1000
    anchor_samples: int = 256
    region_samples: int = 512
    temperature: float = 50.0
    learn_background: bool = True


@dataclass(frozen=True)
class Fusion:
    """How the head's probability s and the frozen encoder's v become a score: s^(1 - a) v^a.

    Attributes:
        base: a for names that were trained on, and for the background.
        novel: a for names that were not. 0: the head alone; 1: the encoder alone.
        scale: Inverse temperature of the encoder's softmax.
    """

    base: float = 0.1
    novel: float = 0.8
    scale: float = 75.0


@dataclass(frozen=True)
class DetectorOutput:
    """All that the losses of a batch need. Weights of a picture's rows sum to its share of the batch.

    Attributes:
        objectness: Logit of each anchor drawn.
        is_object: Whether it covers a true box.
        anchor_weight: Of each anchor.
        anchor_deltas: Of each positive anchor.
        anchor_targets: What they should be.
        anchor_delta_weight: Of each positive anchor.
        region_logits: Of each proposal drawn, over names and background.
        region_label: Its name, or the number after the last one for background.
        region_weight: Of each proposal.
        region_deltas: Of each positive proposal.
        region_targets: What they should be.
        region_delta_weight: Of each positive proposal.
        allowed: Names that may be learned, and the background.
    """

    objectness: Float[Tensor, " _a"]
    is_object: Bool[Tensor, " _a"]
    anchor_weight: Float[Tensor, " _a"]
    anchor_deltas: Float[Tensor, "_b 4"]
    anchor_targets: Float[Tensor, "_b 4"]
    anchor_delta_weight: Float[Tensor, " _b"]
    region_logits: Float[Tensor, "_r _c"]
    region_label: Int[Tensor, " _r"]
    region_weight: Float[Tensor, " _r"]
    region_deltas: Float[Tensor, "_q 4"]
    region_targets: Float[Tensor, "_q 4"]
    region_delta_weight: Float[Tensor, " _q"]
    allowed: Bool[Tensor, " _c"]


@dataclass(frozen=True)
class Candidates:
    """Proposals of one picture.

    Attributes:
        boxes: In pixels.
        objectness: 0 to 1.
        refined: The same boxes after the region head.
        score: Of each box and name, head and encoder joined.
    """

    boxes: Float[Tensor, "R 4"]
    objectness: Float[Tensor, " R"]
    refined: Float[Tensor, "R 4"]
    score: Float[Tensor, "R C"]


class ProposalHead(nn.Module):
    """Objectness and shape of the anchors of every cell, whatever their class."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.objectness = nn.Conv2d(width, len(_RATIOS), 1)
        self.deltas = nn.Conv2d(width, 4 * len(_RATIOS), 1)
        for layer in (self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(
        self, maps: Sequence[Float[Tensor, "B _c _y _x"]]
    ) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B A 4"]]:
        """Return a logit and a change for every anchor, level by level, in the order of `grid_anchors`."""
        shared = [self.shared(level) for level in maps]
        logits = torch.cat([self.objectness(level).movedim(1, -1).flatten(1) for level in shared], dim=1)
        changes = [self.deltas(level).movedim(1, -1).reshape(len(level), -1, 4) for level in shared]
        return logits, torch.cat(changes, dim=1)


class RegionHead(nn.Module):
    """What a box shows, as a vector to compare with texts, and how its shape should change."""

    def __init__(self, config: DetectorConfig, embed_width: int) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden
        layers: list[nn.Module] = []
        for _ in range(config.convs):
            layers += [nn.Conv2d(width, width, 3, padding=1), normalization(width, config.norm), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(49 * width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
        self.shared = nn.Sequential(*layers)
        self.embedding = nn.Sequential(nn.Linear(hidden, embed_width), nn.ReLU(), nn.Linear(embed_width, embed_width))
        self.deltas = nn.Sequential(nn.Linear(hidden, embed_width), nn.ReLU(), nn.Linear(embed_width, 4))
        nn.init.normal_(self.deltas[2].weight, std=0.001)  # type: ignore[arg-type]
        nn.init.zeros_(self.deltas[2].bias)  # type: ignore[arg-type]

    def forward(self, regions: Float[Tensor, "R _c 7 7"]) -> tuple[Float[Tensor, "R E"], Float[Tensor, "R 4"]]:
        """Return a unit-length vector and a change of each box."""
        shared = self.shared(regions)
        return F.normalize(self.embedding(shared), dim=-1), self.deltas(shared)


class BoxDetector(nn.Module):
    """Boxes by texts: a pyramid, proposals and a region head that are trained, on an encoder that is not.

    Attributes:
        classes: Text embedding of each name that is trained on or kept apart.
        novel: Names that are kept apart: their logits are left out of training.
    """

    classes: Tensor
    novel: Tensor

    def __init__(
        self,
        encoder: DualEncoder,
        config: DetectorConfig,
        classes: Float[Tensor, "C E"],
        novel: Bool[Tensor, " C"],
        background: Float[Tensor, " E"],
    ) -> None:
        """Build a detector around an encoder, which is frozen.

        Args:
            encoder: Whose image tower is tapped, and whose dense features have a say in the score.
            config: Of what is trained.
            classes: Text embeddings of the names.
            novel: Names that are kept out of training.
            background: Text embedding of "background".

        Raises:
            ValueError: If the tower has no blocks to tap, or pictures of `image_size` cannot be cut into patches.
        """
        super().__init__()
        tower = encoder.vision
        if not isinstance(tower, VisionTower):
            raise ValueError(f"A detector taps the blocks of a transformer, and the tower is a {type(tower).__name__}.")  # noqa: TRY004
        if config.image_size % tower.config.patch_size:
            raise ValueError(f"image_size {config.image_size} is no multiple of the patch, {tower.config.patch_size}.")
        self.config = config
        self.encoder = encoder.requires_grad_(False)
        self.pyramid = FeaturePyramid(tower.width, config.width, config.norm)
        self.proposal_head = ProposalHead(config.width)
        self.region_head = RegionHead(config, encoder.config.embed_width)
        self.classes = nn.Buffer(classes)
        self.novel = nn.Buffer(novel)
        self.background = nn.Parameter(background.clone(), requires_grad=config.learn_background)
        self.temperature = nn.Parameter(torch.tensor(config.temperature))

    def forward(self, batch: BoxedBatch) -> DetectorOutput:
        """Return what the losses of a batch need: samples of anchors and proposals with what they should be."""
        maps, _, _ = self.features(batch.pixels)
        logits, deltas = self.proposal_head(maps)
        anchors, levels = self._anchors(maps)
        counts, images = torch.bincount(batch.region_image, minlength=len(batch.pixels)).tolist(), len(batch.pixels)
        truths, labels = batch.boxes.split(counts), batch.region_class.split(counts)
        anchor_rows, region_rows = [], []
        for image, (truth, label) in enumerate(zip(truths, labels, strict=True)):
            seed = int(batch.seed[image])
            anchor_rows.append(self._anchor_rows(anchors, truth, logits[image], deltas[image], seed))
            proposals = self._propose(
                anchors, levels, logits[image].detach(), deltas[image].detach(), batch.sizes[image]
            )
            region_rows.append(self._region_rows(torch.cat([proposals[0], truth]), truth, label, seed))
        boxes = torch.cat([rows.boxes for rows in region_rows])
        owner = torch.arange(images, device=boxes.device).repeat_interleave(
            torch.tensor([len(rows.boxes) for rows in region_rows], device=boxes.device)
        )
        embedding, changes = self.region_head(self._read(maps, boxes, owner))
        shares = [1 / max(1, len(rows.boxes)) / images for rows in region_rows]
        positives = torch.cat([rows.is_positive for rows in region_rows])
        weight = boxes.new_tensor(shares)[owner]
        return DetectorOutput(
            objectness=torch.cat([rows.logits for rows in anchor_rows]),
            is_object=torch.cat([rows.is_positive for rows in anchor_rows]),
            anchor_weight=torch.cat([rows.weight(images) for rows in anchor_rows]),
            anchor_deltas=torch.cat([rows.deltas for rows in anchor_rows]),
            anchor_targets=torch.cat([rows.targets for rows in anchor_rows]),
            anchor_delta_weight=torch.cat([rows.weight(images)[rows.is_positive] for rows in anchor_rows]),
            region_logits=self.logits(embedding, self.classes),
            region_label=torch.cat([rows.label for rows in region_rows]),
            region_weight=weight,
            region_deltas=changes[positives],
            region_targets=torch.cat([rows.targets for rows in region_rows]),
            region_delta_weight=weight[positives],
            allowed=torch.cat([~self.novel, self.novel.new_ones(1)]),
        )

    def features(
        self, pixels: Float[Tensor, "B 3 Y X"]
    ) -> tuple[list[Float[Tensor, "B _c _y _x"]], Float[Tensor, "B P E"], Int[Tensor, "B 2"]]:
        """Return the pyramid's maps, and the encoder's dense features with their grid."""
        with torch.no_grad():
            tower = self.encoder.vision
            assert isinstance(tower, VisionTower)
            features = tower(pixels, taps=self.config.taps)
            dense = self.encoder.image_projection(features.patches)
            rows, columns = features.grid[0].tolist()
            taps = [tap.mT.unflatten(2, (rows, columns)) for tap in features.taps]
        return self.pyramid(taps), dense, features.grid

    def logits(self, embedding: Float[Tensor, "R E"], classes: Float[Tensor, "C E"]) -> Float[Tensor, "R _c"]:
        """Return the head's logits over names, and the background last."""
        texts = torch.cat([classes, F.normalize(self.background, dim=0)[None]])
        return self.temperature * embedding @ texts.to(embedding).T

    @torch.no_grad()
    def candidates(
        self,
        pixels: Float[Tensor, "B 3 Y X"],
        sizes: Float[Tensor, "B 2"],
        classes: Float[Tensor, "C E"],
        novel: Bool[Tensor, " C"],
        fusion: Fusion = Fusion(),  # frozen
    ) -> list[Candidates]:
        """Return the proposals of each picture with their scores for names, any names.

        Args:
            pixels: Squares, pictures in their top left corner.
            sizes: Width and height of each picture in its square.
            classes: Text embeddings.
            novel: Names that were not trained on.
            fusion: How head and encoder are joined.
        """
        maps, dense, grid = self.features(pixels)
        logits, deltas = self.proposal_head(maps)
        anchors, levels = self._anchors(maps)
        power = torch.where(torch.cat([novel, novel.new_zeros(1)]), fusion.novel, fusion.base)
        texts = torch.cat([classes, F.normalize(self.background, dim=0)[None]])
        candidates = []
        for image in range(len(pixels)):
            boxes, objectness = self._propose(anchors, levels, logits[image], deltas[image], sizes[image])
            owner = torch.full((len(boxes),), image, device=boxes.device)
            embedding, changes = self.region_head(self._read(maps, boxes, owner))
            unit = F.normalize(dense, dim=-1)
            regional = F.normalize(pool_regions(unit, grid, boxes / self.config.image_size, owner), dim=-1)
            head, vlm = self.logits(embedding, classes).softmax(1), (fusion.scale * regional @ texts.T).softmax(1)
            score = (head ** (1 - power) * vlm**power)[:, :-1]
            width, height = sizes[image].tolist()
            refined = clipped(decode_boxes(changes, boxes, REGION_SCALES), width, height)
            candidates.append(Candidates(boxes, objectness, refined, score))
        return candidates

    def _anchors(self, maps: Sequence[Tensor]) -> tuple[Float[Tensor, "A 4"], Int[Tensor, " A"]]:
        boxes = []
        for level, cells in enumerate(maps):
            rows, columns = cells.shape[-2:]
            stride = self.stride(level)
            boxes.append(grid_anchors(rows, columns, stride, self.config.anchor_size * stride, _RATIOS))
        device = maps[0].device
        levels = [torch.full((len(part),), level, device=device) for level, part in enumerate(boxes)]
        return torch.cat(boxes).to(device), torch.cat(levels)

    def stride(self, level: int) -> float:
        """Return the pixels along a cell of one of the pyramid's maps."""
        return float(self.encoder.config.vision.patch_size * 2.0 ** (level - 2))

    def _propose(
        self, anchors: Tensor, levels: Tensor, logits: Tensor, deltas: Tensor, size: Tensor
    ) -> tuple[Float[Tensor, "_r 4"], Float[Tensor, " _r"]]:
        """Return the best anchors of all levels, changed, clipped to the picture, without doubles; and objectness."""
        count = 2 * self.config.proposals
        rows = torch.cat(
            [
                of_level[logits[of_level].topk(min(count, len(of_level))).indices]
                for level in range(int(levels.max()) + 1)
                if len(of_level := (levels == level).nonzero()[:, 0])
            ]
        )
        width, height = size.tolist()
        boxes = clipped(decode_boxes(deltas[rows].float(), anchors[rows]), width, height)
        real = ((boxes[:, 2:] - boxes[:, :2]) > _LEAST_SIDE).all(dim=1)
        boxes, rows = boxes[real], rows[real]
        best = class_nms(boxes, logits[rows].float(), levels[rows], 0.7)[: self.config.proposals]
        return boxes[best], logits[rows][best].float().sigmoid()

    def _read(self, maps: Sequence[Tensor], boxes: Tensor, owner: Tensor) -> Float[Tensor, "R _c 7 7"]:
        """Read each box from the level of its size."""
        side = areas(boxes).sqrt()
        level = (side / (_SIDE * self.stride(0))).clamp(min=1e-6).log2().floor().long().clamp(0, _LEVELS - 1)
        parts, order = [], []
        for number in range(_LEVELS):
            rows = (level == number).nonzero()[:, 0]
            order.append(rows)
            parts.append(sample_regions(maps[number], boxes[rows] / self.stride(number), owner[rows], 7))
        return torch.cat(parts).index_select(0, torch.cat(order).argsort())

    def _anchor_rows(self, anchors: Tensor, truth: Tensor, logits: Tensor, deltas: Tensor, seed: int) -> "_AnchorRows":
        positive, negative, index = match(anchors, truth, 0.7, 0.3, least=0.3)
        count = self.config.anchor_samples
        hits, others = draw_samples(positive, negative, count, count // 2, seed)
        rows = torch.cat([hits, others])
        targets = encode_boxes(truth[index[hits]], anchors[hits]) if len(hits) else truth.new_zeros(0, 4)
        is_positive = torch.arange(len(rows), device=rows.device) < len(hits)
        return _AnchorRows(logits[rows], is_positive, deltas[hits], targets)

    def _region_rows(self, boxes: Tensor, truth: Tensor, label: Tensor, seed: int) -> "_RegionRows":
        positive, negative, index = match(boxes, truth, 0.5, 0.5)
        count = self.config.region_samples
        hits, others = draw_samples(positive, negative, count, count // 4, seed)
        rows = torch.cat([hits, others])
        background = label.new_full((len(others),), len(self.classes))
        labels = torch.cat([label[index[hits]] if len(hits) else label[:0], background])
        targets = encode_boxes(truth[index[hits]], boxes[hits], REGION_SCALES) if len(hits) else truth.new_zeros(0, 4)
        is_positive = torch.arange(len(rows), device=rows.device) < len(hits)
        return _RegionRows(boxes[rows], is_positive, labels, targets)


@dataclass(frozen=True)
class _AnchorRows:
    """Anchors drawn from one picture, the positive ones first."""

    logits: Tensor
    is_positive: Tensor
    deltas: Tensor
    targets: Tensor

    def weight(self, images: int) -> Float[Tensor, " _a"]:
        """Return the weight of each row: the picture's share of the batch, shared by its rows."""
        return torch.full_like(self.logits, 1 / max(1, len(self.logits)) / images, dtype=torch.float32)


@dataclass(frozen=True)
class _RegionRows:
    """Proposals drawn from one picture, the positive ones first."""

    boxes: Tensor
    is_positive: Tensor
    label: Tensor
    targets: Tensor


def best_boxes(
    candidates: Candidates, overlap: float = 0.4, threshold: float = 0.01, top: int = 100
) -> tuple[Float[Tensor, "_r 4"], Float[Tensor, " _r"], Int[Tensor, " _r"]]:
    """Return refined boxes, scores and labels of one picture: above a threshold, without doubles of a name.

    Args:
        candidates: With their scores for all names.
        overlap: Intersection over union beyond which the worse of two boxes of a name goes.
        threshold: Least score, after head and encoder are joined.
        top: Boxes kept.
    """
    rows, label = (candidates.score > threshold).nonzero().unbind(dim=1)
    boxes, score = candidates.refined[rows], candidates.score[rows, label]
    best = class_nms(boxes, score, label, overlap)[:top]
    return boxes[best], score[best], label[best]
