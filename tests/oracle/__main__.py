"""`python -m oracle`, in `tests/`: print how far foveal is from every JSON file; `--write` makes these anew first."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from .agreement import FAMILIES, OTHERS, differences, kept, levels_apart, opened, tokenized, write


def main() -> None:
    if "--write" in sys.argv:
        for name in (*FAMILIES, *OTHERS):
            write(name)
    print("| family | numbers | float32 | float64 |\n|---|---|---|---|")
    for name in FAMILIES:
        count = sum(torch.tensor(rows).numel() for rows in kept(name)["outputs"].values())
        with TemporaryDirectory() as folder:
            encoder = opened(name, Path(folder))
        single = max(differences(name, encoder).values())
        encoder.model.double()
        double = max(differences(name, encoder).values())
        print(f"| {name} | {count:,} | {single:.1e} | {double:.1e} |")
    rows = tokenized()
    print(f"\ntokens: {sum(ids == ours for _, ids, ours in rows)} of {len(rows)} texts alike")
    for case in kept("preparation")["inputs"]["cases"]:
        print(f"pixels, {case}: {levels_apart(case):.2f} of 255 levels")


main()
