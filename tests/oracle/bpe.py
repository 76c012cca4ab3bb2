"""CLIP's tokenizer (arXiv:2103.00020, section 2.4) by its rules: clean, split, merge the pair that was learnt first.

The merges are those of the packaged vocabulary file; cleaning is ftfy's, as OpenAI's code has it.
"""

import gzip
import html
import unicodedata
from itertools import pairwise
from pathlib import Path

import ftfy

VOCABULARY = Path(__file__).parents[2] / "src/foveal/data/vocabulary/clip_bpe.txt.gz"
ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
TEXTS = [
    "",
    "a photo of a cat",
    "Don't you'll they're I'm we've he'd it's O'Neill's rock'n'roll 'tis",
    "DON'T SHOUT, IT'S 3:45PM!!! #!/bin/sh ... ---> <=>",
    "1234567890 12.5% 3/4 ½ ² Ⅷ x2y3z",
    "naïve café Ångström über crème brûlée São Paulo",
    "cafe\u0301 re\u0301sume\u0301 combining, and A\u030a",
    "İstanbul'da ışık, İI ıi",
    "Ωmega Здравствуй мир مرحبا שלום हिन्दी ไทย",
    "日本語の文章、中国語：汉字！한국어 문장",
    "👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☃",
    "&lt;b&gt;bold&lt;/b&gt; AT&amp;T &amp;amp; &quot;quoted&quot; &#8364; &nbsp;x",
    "âœ” No problems â€œquotedâ€\x9d schÃ¶n",
    "“curly” ‘quotes’ – en — em … ellipsis",
    "tabs\tand\nnew lines\r\n  and   many    spaces \u00a0 \u3000 end",
    "snake_case camelCase kebab-case a+b=c e-mail@example.com https://example.com/a?b=c&d=e",
    "ﬁne ﬂow ﬀ ǆ ŉ ß ẞ",
    "zero\u200bwidth\u200djoiner \ufeffmark \u00adsoft",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb '''''''' !!!!!!!! ''s''t",
    "a text that holds <|endoftext|> and <|startoftext|>, letter by letter",
    "𝐁𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 ① ㊗ ™ © ®",
]


def letters() -> dict[int, str]:
    """A letter for every byte: printable ones are themselves, the others follow from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def vocabulary() -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """The id of every token, and the rank of every merge."""
    with gzip.open(VOCABULARY, "rt", encoding="utf-8") as lines:
        merges = [tuple(line.split()) for line in lines][1:]
    singles = sorted(letters().values(), key=lambda letter: (ord(letter) >= 256, ord(letter)))
    tokens = [*singles, *(letter + "</w>" for letter in singles), *("".join(pair) for pair in merges)]
    ids = {token: number for number, token in enumerate([*tokens, "<start>", "<end>"])}
    return ids, {pair: rank for rank, pair in enumerate(merges)}


def kind(letter: str) -> str:
    """ "L" for letters, "N" for numbers, "Z" for space, "" for all else."""
    if letter.isspace():
        return "Z"
    first = unicodedata.category(letter)[0]
    return first if first in "LN" else ""


def words(text: str) -> list[str]:
    """Endings after an apostrophe, runs of letters, single digits, runs of other signs."""
    found, place = [], 0
    while place < len(text):
        ending = next((end for end in ENDINGS if text.startswith(end, place)), None)
        stop = place + 1
        if ending:
            stop = place + len(ending)
        elif kind(text[place]) in ("L", ""):
            while stop < len(text) and kind(text[stop]) == kind(text[place]):
                stop += 1
        if kind(text[place]) != "Z":
            found.append(text[place:stop])
        place = stop
    return found


def merged(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """The parts of a word after all merges: the earliest learnt pair first, everywhere it stands."""
    of_byte = letters()
    parts = [of_byte[byte] for byte in word.encode("utf-8")]
    parts[-1] += "</w>"
    while True:
        pairs = [pair for pair in pairwise(parts) if pair in ranks]
        if not pairs:
            return parts
        best = min(pairs, key=ranks.__getitem__)
        place = 0
        while place < len(parts) - 1:
            if (parts[place], parts[place + 1]) == best:
                parts[place : place + 2] = ["".join(best)]
            place += 1


def inputs() -> dict:
    return {"texts": TEXTS}


def outputs(given: dict) -> dict[str, list[list[int]]]:
    """Ids between the two marks."""
    ids, ranks = vocabulary()
    rows = []
    for text in given["texts"]:
        clean = " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()
        tokens = [token for word in words(clean) for token in merged(word, ranks)]
        rows.append([ids["<start>"], *(ids[token] for token in tokens), ids["<end>"]])
    return {"ids": rows}
