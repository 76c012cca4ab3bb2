"""How pictures are scaled, cut and normalized, without a library: sums over pixels, in levels from 0 to 255."""

import math

import numpy as np

CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
SIGLIP = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
CASES = {
    "OpenAI, open_clip: crop": {"mode": "crop", "rounding": "half_even", "filter": "bicubic", "size": 12, **CLIP},
    "transformers: crop": {"mode": "crop", "rounding": "floor", "filter": "bicubic", "size": 12, **CLIP},
    "FG-CLIP: squash": {"mode": "squash", "filter": "bicubic", "size": 12, **CLIP},
    "SigLIP: squash": {"mode": "squash", "filter": "bicubic", "size": 14, **SIGLIP},
    "SigLIP 2: any aspect": {"mode": "native", "filter": "bilinear", "patch": 4, "patches": 12, **SIGLIP},
}
SIZES = [[47, 29], [24, 39], [9, 11]]  # 12 * 47 / 29 = 19.4: a surplus of 7, whose half is 3 or 4


def picture(width: int, height: int) -> np.ndarray:
    """Waves of three colors with a dark square: rows, columns, colors. No sum of them leaves 0 to 255."""
    levels = np.zeros((height, width, 3), dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            for color in range(3):
                wave = math.sin((x + 2 * color) / 2.5) + math.cos((y - color * x / 7) / 3)
                levels[y, x, color] = round(127.5 + 45 * wave)
    levels[3:8, 4:9] = 50
    return levels


def cubic(x: float) -> float:
    """Keys' kernel with a = -1/2."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def resized(levels: np.ndarray, size: int, kernel: str) -> np.ndarray:
    """The first axis at another size: each pixel a mean of those below the kernel, as wide as the coarser step."""
    weigh, reach = {"bicubic": (cubic, 2), "bilinear": (triangle, 1)}[kernel]
    step = len(levels) / size
    wide = max(step, 1.0)
    rows = []
    for place in range(size):
        center = (place + 0.5) * step
        first, last = int(center - reach * wide + 0.5), int(center + reach * wide + 0.5)
        near = range(max(first, 0), min(last, len(levels)))
        weights = [weigh((pixel + 0.5 - center) / wide) for pixel in near]
        mixed = sum(weight * levels[pixel] for weight, pixel in zip(weights, near, strict=True)) / sum(weights)
        rows.append(mixed)
    return np.array(rows)


def scaled(levels: np.ndarray, columns: int, rows: int, kernel: str) -> np.ndarray:
    """Across first, then down."""
    across = resized(levels.astype(float).transpose(1, 0, 2), columns, kernel)
    return resized(across.transpose(1, 0, 2), rows, kernel)


def middle(surplus: int, rounding: str) -> int:
    """Where the middle begins."""
    whole, odd = divmod(surplus, 2)
    return whole + (1 if odd and rounding == "half_even" and whole % 2 else 0)


def grid(width: int, height: int, patches: int) -> tuple[int, int]:
    """Columns and rows at the largest scale that takes no more patches, among all at which a side is whole."""
    best = (0.0, 1, 1)
    for side in (width, height):
        for count in range(1, patches + 1):
            scale = count / side
            columns, rows = math.ceil(width * scale - 1e-9), math.ceil(height * scale - 1e-9)
            if columns * rows <= patches:
                best = max(best, (scale, columns, rows))
    return best[1:]


def prepared(levels: np.ndarray, case: dict) -> np.ndarray:
    """What a model is to see of a picture, in levels."""
    height, width, _ = levels.shape
    if case["mode"] == "native":
        columns, rows = (case["patch"] * side for side in grid(width, height, case["patches"]))
        return scaled(levels, columns, rows, case["filter"])
    size = case["size"]
    if case["mode"] == "squash":
        return scaled(levels, size, size, case["filter"])
    short = min(width, height)
    columns, rows = int(size * width / short), int(size * height / short)
    whole = scaled(levels, columns, rows, case["filter"])
    left, top = middle(columns - size, case["rounding"]), middle(rows - size, case["rounding"])
    return whole[top : top + size, left : left + size]


def inputs() -> dict:
    return {"sizes": SIZES, "cases": CASES}


def outputs(given: dict) -> dict[str, list]:
    return {
        name: [np.round(prepared(picture(*size), case), 1).tolist() for size in given["sizes"]]
        for name, case in given["cases"].items()
    }
