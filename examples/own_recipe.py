"""A recipe of your own: `foveal train own_recipe:mine --data mine.jsonl --out runs/mine`."""

from dataclasses import dataclass, replace
from pathlib import Path

from foveal.losses import contrastive
from foveal.recipes import clip
from foveal.training import Feed, Run, train


@dataclass(frozen=True)
class Objective:
    """Long captions, and short ones with a smaller weight."""

    short: float = 0.1

    def __call__(self, output, world):
        terms = {}
        for name, weight in (("long_caption", 1.0), ("caption", self.short)):
            loss = contrastive(output.image, output.need(name).embedding, output.scale, world=world)
            terms[name] = weight * loss
        return terms


def mine() -> Run:
    """A CLIP of seconds; every field can be changed with --set, also objective.short."""
    data = Feed(sources=("scenes:seed=0,size=32",), long_captions=True, shuffle_buffer=16)
    return replace(clip.smoke(), name="mine", objective=Objective(), data=data)


if __name__ == "__main__":
    print(train(mine(), Path("runs/own"), changes=["steps=2", "objective.short=0.2"], progress=False))
