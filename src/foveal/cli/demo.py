"""`foveal demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything.")] = Path("demo"),
    recipes: Annotated[str, typer.Option(help="Names with commas between them, or 'all'.")] = "clip,foveal",
    scenes: Annotated[int, typer.Option(min=100, help="Pictures to train on.")] = 8000,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates of each training.")] = None,
    seed: Annotated[int, typer.Option(help="Of pictures, start and order.")] = 0,
) -> None:
    """Make scenes, train recipes on them, compare them on scenes never seen, and write a page to look at.

    Interrupted, it goes on where it was when called again.

    For example: `foveal demo --out demo --recipes clip,foveal`
    """
    from ..demo.showcase import Showcase
    from ..recipes.lookup import encoder_names

    recipe_names = tuple(encoder_names() if recipes == "all" else recipes.replace(" ", "").split(","))
    showcase = Showcase(recipes=recipe_names, scenes=scenes, steps=steps, seed=seed)
    print(showcase(out, lambda line: print(f"\n{line}", flush=True)))
    print(f"\nLook at {out / 'index.html'}; the models are in {', '.join(str(out / name) for name in recipe_names)}.")
