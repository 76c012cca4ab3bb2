"""Index a folder of pictures and find some of them by words. Takes the model "starter", which needs no download."""

from functools import partial
from pathlib import Path

import foveal
from foveal.data import Jsonl, Scenes
from foveal.search import Indexing, Searcher

if not Path("photos").exists():  # put your own there
    Jsonl(Path("photos/scenes.jsonl")).write(Scenes(seed=1, count=8, size=96))

summary = Indexing("photos", "photos.index", "starter")(partial(foveal.load, "starter"))
print(summary)

searcher = Searcher.open("photos.index")
for hit in searcher.search("a red tile with a large top hat", k=3):
    print(f"{hit.score:6.2f}  {hit.path}")
