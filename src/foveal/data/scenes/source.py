"""The endless source of scenes: a picture by its number, with all that is true and nearly true about it."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import count, islice
from random import Random

from ...types import Region, Sample
from .artwork import NOUNS
from .language import PHRASES, describe, draw_caption, draw_long_caption, draw_position, write
from .layout import PixelBox, arrange, paint
from .negatives import ALTERED_KINDS, caption_negatives, long_caption_negatives, position_negatives, region_negatives
from .truth import Scene, alterations, draw_scene, split_of

PATIENCE = 8  # tries for each sibling before any of the family may be altered


@dataclass(frozen=True)
class Scenes:
    """Pictures of emoji on colored tiles, each the same whenever and in whatever order one asks for it.

    A composition (which nouns in which sizes on which colors) belongs to one split for every seed, so what is
    learnt from the training scenes is measured on combinations never seen.

    Attributes:
        seed: Other seeds give other scenes.
        split: "train" has seven of eight compositions, "test" the rest.
        count: How many scenes one iteration yields; None is endless.
        first: Number of the scene that an iteration begins with.
        size: Side of the pictures in pixels, 32 or more.
        nouns: How many of `NOUNS` appear, counted from the front, where the most distinct are.
        objects: Least and greatest number of tiles in a scene, within 2 to 9.
        relations: Pairs of tiles that a long caption relates; the way to longer or shorter texts.
        negatives: Hard negatives of each region, up to 10.
        told: Share of regions whose phrase is a whole sentence, which also says where the tile lies: in which part
            of the picture, or how to another tile. FG-CLIP draws between a short and a long expression alike.
        siblings: Scenes in a row that differ in one fact from the first of them (or two facts exchanged), or
            from another of them where the split has too few of these: a gallery in which only an attentive
            reader of the whole text finds the picture.
    """

    seed: int = 0
    _: KW_ONLY
    split: str = "train"
    count: int | None = None
    first: int = 0
    size: int = 64
    nouns: int = 64
    objects: tuple[int, int] = (2, 5)
    relations: int = 4
    negatives: int = 10
    told: float = 0.0
    siblings: int = 1

    def __post_init__(self) -> None:
        """Refuse settings that no scene can be made of."""
        if self.split not in ("train", "test"):
            raise ValueError(f'Split {self.split!r} is unknown; there are "train" and "test".')
        if not 2 <= self.objects[0] <= self.objects[1] <= 9:
            raise ValueError(f"Objects {self.objects} must be two numbers in order, from 2 to 9.")
        limits = {
            "count": (0, None),
            "first": (0, None),
            "size": (32, None),
            "nouns": (24, len(NOUNS)),
            "relations": (0, None),
            "negatives": (0, 10),
            "told": (0, 1),
            "siblings": (1, 16),
        }
        for name, (least, greatest) in limits.items():
            value = getattr(self, name)
            if value is not None and (value < least or (greatest is not None and value > greatest)):
                bound = f"{least} or more" if greatest is None else f"from {least} to {greatest}"
                raise ValueError(f"Scenes with {name} {value} cannot be made; it must be {bound}.")

    def __len__(self) -> int:
        """Return the number of scenes that an iteration yields.

        Raises:
            ValueError: If the source is endless.
        """
        if self.count is None:
            raise ValueError("Endless scenes have no length; set `count`.")
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples from `first` on."""
        return (self.sample(index) for index in islice(count(self.first), self.count))

    def sample(self, index: int) -> Sample:
        """Build one scene's picture and texts, without making those before it.

        Args:
            index: Which, from 0; iteration gives `first`, `first + 1`, and so on.

        Returns:
            A sample with a PNG, one caption, a long one, a region for each tile, and hard negatives of all.
        """
        scene, boxes = self.truth(index), self.boxes(index)
        rng = self._random("text", index)
        names = self._names()
        caption = draw_caption(rng)
        sentences = draw_long_caption(scene, rng, self.relations)
        regions = []
        position_rng = self._random("told", index)
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            form = rng.randrange(len(PHRASES))
            phrase = describe(scene.tiles[number], form)
            hard_negatives = region_negatives(scene, number, form, names, rng, self.negatives)
            if position_rng.random() < self.told:
                sentence = draw_position(scene, number, position_rng)
                phrase, hard_negatives = (
                    sentence(scene),
                    position_negatives(sentence, scene, names, position_rng, self.negatives),
                )
            box = (x0 / self.size, y0 / self.size, x1 / self.size, y1 / self.size)
            regions.append(Region(box, phrase, hard_negatives))
        return Sample(
            id=f"scenes-{self.split}-{self.seed}-{index}",
            image=paint(scene, boxes, self.size),
            captions=(caption(scene),),
            long_caption=write(sentences, scene),
            regions=tuple(regions),
            caption_negatives=caption_negatives(caption, scene, names, rng),
            long_caption_negatives=long_caption_negatives(sentences, scene, names, rng),
        )

    def truth(self, index: int) -> Scene:
        """Return all facts about one scene, without drawing a picture.

        Args:
            index: Which, from 0.

        Returns:
            The scene, whose tiles come in the order of the sample's regions.
        """
        family, member = divmod(index, self.siblings)
        rng, names = self._random("scene", family), self._names()
        scenes = [draw_scene(rng, names, self.objects)]
        while split_of(scenes[0]) != self.split:
            scenes[0] = draw_scene(rng, names, self.objects)
        for attempt in count():
            if len(scenes) > member:
                break
            # Two tiles have fewer test scenes one fact away than a large family needs.
            model = scenes[0] if attempt < PATIENCE * self.siblings else rng.choice(scenes)
            for scene in alterations(model, rng.choice(ALTERED_KINDS), names, rng):
                if scene not in scenes and split_of(scene) == self.split:
                    scenes.append(scene)
                    break
        return scenes[member]

    def boxes(self, index: int) -> tuple[PixelBox, ...]:
        """Return the tiles of one scene in whole pixels.

        Args:
            index: Which scene, from 0.

        Returns:
            (x0, y0, x1, y1) of each tile, in the order of `truth(index).tiles`.
        """
        return arrange(self.truth(index), self.size, self._random("layout", index))

    def _names(self) -> list[str]:
        return list(NOUNS)[: self.nouns]

    def _random(self, purpose: str, index: int) -> Random:
        """Return randomness for one purpose of one scene. Text seeds hash alike on every machine, unlike tuples."""
        return Random(f"{purpose} {self.seed} {self.split} {index}")
