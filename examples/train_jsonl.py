"""Train on a JSONL file of your own, and open the result. Minutes become seconds with `smoke`."""

from pathlib import Path

import foveal
from foveal.data import Jsonl, Scenes
from foveal.recipes import fg_clip
from foveal.training import train

data = Path("mine.jsonl")
if not data.exists():  # put your own there: {"image", "captions", "long_caption", "regions"} a line
    Jsonl(data).write(Scenes(seed=1, count=32, size=64))

folder = train(
    fg_clip.smoke(),  # fg_clip.stage2() is the paper's; `demo` is for two cores
    Path("runs/mine"),
    data=[str(data)],
    changes=["steps=2", "batch_size=4"],
    progress=False,
)
encoder = foveal.load(folder, device="cpu")
print(encoder.encode_texts(["a red cup on a wooden table"], kind="long_caption").shape)
