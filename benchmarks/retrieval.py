"""Time and memory of scoring a retrieval protocol: 5,000 images and 25,000 texts, made-up embeddings of 512 numbers.

python benchmarks/retrieval.py [IMAGES TEXTS_PER_IMAGE]
"""

import resource
import sys
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F

from foveal.encoder import EncodedImages, EncodedTexts
from foveal.evaluation.encoded import Encoded
from foveal.evaluation.retrieval import Retrieval
from foveal.types import Sample

WIDTH = 512
SHARED = 300  # pairs of texts that are equal, as 336 captions of COCO are


def made_up(images: int, each: int) -> Encoded:
    """Samples and embeddings as an encoder would give them."""
    pictures = F.normalize(torch.randn(images, WIDTH), dim=1)
    names = [f"text {number // 2 if number < 2 * SHARED else number}" for number in range(images * each)]
    row = {name: place for place, name in enumerate(dict.fromkeys(names))}
    texts = F.normalize(torch.randn(len(row), WIDTH), dim=1)
    samples = tuple(
        Sample(str(number), Path(f"{number}.jpg"), captions=tuple(names[number * each : (number + 1) * each]))
        for number in range(images)
    )
    return Encoded(
        samples=samples,
        images=EncodedImages(pictures),
        picture=torch.arange(images),
        regions=None,
        region_picture=torch.zeros(0, dtype=torch.long),
        texts={"caption": EncodedTexts(texts)},
        text_row={"caption": row},
    )


def main() -> None:
    torch.manual_seed(0)
    images, each = (int(word) for word in (sys.argv[1:] or ["5000", "5"]))
    encoded = made_up(images, each)
    start = perf_counter()
    result = Retrieval(equal_texts="own", ties="half", read_as="caption")(encoded)
    seconds = perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = f"{images:,} images, {images * each:,} texts"
    print(f"{size}: {seconds:.1f} s, {memory:,.0f} MiB at most, {torch.get_num_threads()} threads")
    print("; ".join(result.notes))


if __name__ == "__main__":
    main()
