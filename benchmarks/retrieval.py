"""Time and memory of scoring a retrieval protocol on made-up encodings: no model, no pictures.

python benchmarks/retrieval.py                      5,000 images and 25,000 texts, embeddings of 512 numbers
python benchmarks/retrieval.py late 500 5           500 images, 5 texts each, 16 tokens on either side
python benchmarks/retrieval.py fused 500 5

Memory is what scoring needs beyond the encodings: the peak of the process, less what it held before.
"""

import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
import torch.nn.functional as F

from foveal.encoder import EncodedImages, EncodedTexts
from foveal.evaluation.encoded import Encoded
from foveal.evaluation.retrieval import Retrieval
from foveal.types import Sample

WIDTH, TOKENS = 512, 16
SHARED = 300  # pairs of texts that are equal, as 336 captions of COCO are
PROCESS = Path("/proc/self")


def made_up(images: int, texts_each: int, *, tokens: bool) -> Encoded:
    """Return samples and encodings as an encoder would give them."""
    names = [f"text {number // 2 if number < 2 * SHARED else number}" for number in range(images * texts_each)]
    row = {name: place for place, name in enumerate(dict.fromkeys(names))}
    samples = tuple(
        Sample(str(number), Path(f"{number}.jpg"), tuple(names[number * texts_each : (number + 1) * texts_each]))
        for number in range(images)
    )
    return Encoded(
        samples=samples,
        images=EncodedImages(unit(images), **sets(images, present=tokens)),
        picture=torch.arange(images),
        regions=None,
        region_picture=torch.zeros(0, dtype=torch.long),
        texts={"caption": EncodedTexts(unit(len(row)), **sets(len(row), present=tokens))},
        text_row={"caption": row},
    )


def sets(number: int, *, present: bool) -> dict[str, Any]:
    """Return token sets and masks; nothing if they are not compared."""
    full = torch.ones(number, TOKENS, dtype=torch.bool)
    return {"tokens": unit(number, TOKENS), "token_mask": full} if present else {}


def unit(*shape: int) -> torch.Tensor:
    """Return vectors of unit length."""
    return F.normalize(torch.randn(*shape, WIDTH), dim=-1)


def mebibytes(field: str) -> float:
    """Return a number of the kernel's account of this process."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def main() -> None:
    torch.manual_seed(0)
    similarity, *numbers = sys.argv[1:] or ["global"]
    images, texts_each = (int(word) for word in numbers or ("5000", "5"))
    encoded = made_up(images, texts_each, tokens=similarity != "global")
    (PROCESS / "clear_refs").write_text("5")  # the peak starts anew
    before, start, cpu = mebibytes("VmRSS"), perf_counter(), process_time()
    result = Retrieval(similarity=similarity, equal_texts="own", ties="half", read_as="caption")(encoded)
    seconds, cpu = perf_counter() - start, process_time() - cpu
    memory = mebibytes("VmHWM") - before
    print(f"{similarity}: {images:,} images, {images * texts_each:,} texts, {torch.get_num_threads()} threads")
    print(f"{seconds:.1f} s ({cpu:.1f} s of CPU), {memory:,.0f} MiB beyond the encodings")
    print("; ".join(result.notes))


if __name__ == "__main__":
    main()
