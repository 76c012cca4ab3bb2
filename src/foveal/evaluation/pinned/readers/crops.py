"""Images of which a part is measured: without a border, or a box."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from ....data.formats.boxes import Frame
from ....data.images import open_upright, stored_frame, stored_size
from ..canonical import Edges
from ..reading import Folders, Images


@dataclass(frozen=True)
class Borders(Folders):
    """Images as files, whose border is cut off.

    Attributes:
        width: Of the border, in pixels.
    """

    width: int = 0

    def load(self, place: Path) -> bytes:
        """Return the inner part as PNG."""
        width, height = stored_size(place)
        return _part(place, (self.width, self.width, width - 2 * self.width, height - 2 * self.width))


@dataclass(frozen=True)
class Crops:
    """Boxes of images, each an image of its own.

    Attributes:
        images: Where whole images are.
        boxes: Image and (x, y, width, height) in its pixels, by the place of the crop.
    """

    images: Images
    boxes: Mapping[Path, tuple[Path, Edges]] = field(default_factory=dict)

    def place(self, name: str) -> Path:
        """Return the place of a whole image."""
        return self.images.place(name)

    def holds(self, place: Path) -> bool:
        """True if the image is there."""
        return self.images.holds(self.boxes[place][0] if place in self.boxes else place)

    def load(self, place: Path) -> Path | bytes:
        """Return the box as PNG."""
        if place not in self.boxes:
            return self.images.load(place)
        whole, box = self.boxes[place]
        return _part(self.images.load(whole), box)


def _part(image: Path | bytes, edges: Edges) -> bytes:
    """A box of an image as PNG, cut at the border, upright as EXIF says; its pixels are counted as they are stored.

    Raises:
        ValueError: If the image cannot be read, or the box shows nothing of it.
    """
    width, height, turn = stored_frame(image)
    x0, y0, x1, y1 = Frame(width, height, turn).box(list(edges), least=0.0)
    upright, _ = open_upright(image, max(width, height))
    corners = [
        round(edge) for edge in (x0 * upright.width, y0 * upright.height, x1 * upright.width, y1 * upright.height)
    ]
    if corners[0] >= corners[2] or corners[1] >= corners[3]:
        name = str(image) if isinstance(image, Path) else "An image"
        raise ValueError(
            f"{name} of {width} x {height} pixels shows nothing in the box {list(edges)}. Get the files again."
        )
    file = BytesIO()
    upright.crop((corners[0], corners[1], corners[2], corners[3])).save(file, "PNG", compress_level=1)
    return file.getvalue()
