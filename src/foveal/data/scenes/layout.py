"""Pictures of scenes: the places of the tiles, and drawing them."""

from io import BytesIO
from random import Random

from PIL import Image

from .artwork import artwork
from .truth import BACKGROUNDS, COLORS, Scene

PixelBox = tuple[int, int, int, int]

# Shares of the picture's side. Nothing lies between: at 64 pixels small is 13 to 16, large 20 to 28.
SIDES = {"large": (0.31, 0.44), "small": (0.2, 0.25)}
FILLED = 0.86
# A tile's center stays in its third of the picture, so that "left" and "middle" are never in doubt.
JITTER = 0.06


def arrange(scene: Scene, size: int, rng: Random) -> tuple[PixelBox, ...]:
    """Return where each tile lies, shaken a little within its cell of a grid.

    Args:
        scene: What to place.
        size: Side of the picture in pixels.
        rng: Where chance comes from.

    Returns:
        Whole pixels (x0, y0, x1, y1), one box per tile, none overlapping.
    """
    cells = [3 if any(tile.place[axis] == 1 for tile in scene.tiles) else 2 for axis in (0, 1)]
    boxes = []
    for tile in scene.tiles:
        low, high = SIDES[tile.size]
        side = round(size * rng.uniform(low, min(high, 0.96 / max(cells))))
        corner = []
        for place, number in zip(tile.place, cells, strict=True):
            center = (place * (number - 1) / 2 + 0.5) / number
            free = min((1 / number - side / size) / 2, JITTER)
            corner.append(round(size * (center + rng.uniform(-free, free)) - side / 2))
        boxes.append((corner[0], corner[1], corner[0] + side, corner[1] + side))
    return tuple(boxes)


def paint(scene: Scene, boxes: tuple[PixelBox, ...], size: int) -> bytes:
    """Draw the picture of a scene.

    Args:
        scene: What to draw.
        boxes: Of each tile, in pixels.
        size: Side of the picture in pixels.

    Returns:
        A lightly compressed PNG, so that every color is exact.
    """
    canvas = Image.new("RGB", (size, size), BACKGROUNDS[scene.background])
    for tile, box in zip(scene.tiles, boxes, strict=True):
        canvas.paste(COLORS[tile.color], box)
        side = box[2] - box[0]
        emoji = artwork(tile.noun, round(FILLED * side))
        corner = (box[0] + (side - emoji.width) // 2, box[1] + (side - emoji.height) // 2)
        canvas.paste(emoji, corner, emoji)
    buffer = BytesIO()
    canvas.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
