"""Images of which a part is measured: without a border, or a box."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image

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
        with Image.open(place) as image:
            edges = (self.width, self.width, image.width - self.width, image.height - self.width)
            return _png(image, edges)


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
        whole, (x, y, width, height) = self.boxes[place]
        content = self.images.load(whole)
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content) as image:
            return _png(image, (x, y, x + width, y + height))


def _png(image: Image.Image, edges: Edges) -> bytes:
    file = BytesIO()
    image.convert("RGB").crop(tuple(round(edge) for edge in edges)).save(file, "PNG", compress_level=1)  # type: ignore[arg-type]
    return file.getvalue()
