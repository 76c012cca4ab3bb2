"""`foveal scenes`."""

from pathlib import Path
from typing import Annotated

import typer


def scenes(
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 1000,
    seed: Annotated[int, typer.Option(help="Other seeds give other pictures.")] = 0,
    split: Annotated[str, typer.Option(help="train or test; they share no composition.")] = "train",
    size: Annotated[int, typer.Option(min=32, help="Side of the pictures in pixels.")] = 224,
    shard: Annotated[int, typer.Option(min=1, help="Pictures per shard.")] = 1000,
) -> None:
    """Write made-up pictures with exact captions, boxes and hard negatives as WebDataset shards.

    Read them with `foveal train clip --data OUT`. The artwork is OpenMoji's, CC BY-SA 4.0: pass the pictures on with
    ATTRIBUTION.txt and LICENSE in OUT. Each shard holds the notice, too.

    For example: `foveal scenes --out scenes --count 8000 --seed 1`
    """
    from tqdm import tqdm

    from ..data.scenes import Scenes, write_shards

    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty. Choose another folder.")
    source = Scenes(seed, split=split, count=count, size=size)
    with tqdm(source, unit="scene") as samples:
        write_shards(samples, out, shard)
