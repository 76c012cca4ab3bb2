"""Scenes made in a second on one core: picture, texts, regions and hard negatives, and the facts alone.

In processor time, so that what else runs on the machine does not count.
"""

from argparse import ArgumentParser
from time import process_time

from foveal.data.scenes import NOUNS, Scenes


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="Scenes of each size.")
    count = parser.parse_args().count
    for size in (64, 96, 224):
        for nouns in (64, len(NOUNS)):
            source = Scenes(size=size, nouns=nouns, count=count)
            start = process_time()
            stored = sum(len(sample.image) for sample in source if isinstance(sample.image, bytes))
            first = process_time() - start
            start = process_time()
            for _ in Scenes(1, size=size, nouns=nouns, count=count):
                pass
            warm = process_time() - start
            print(
                f"{size:4d} px, {nouns:3d} nouns: {count / warm:6.0f} scenes/s "
                f"({count / first:6.0f} while artwork is first drawn), {stored / count / 1024:.1f} KiB a picture"
            )
    source = Scenes()
    start = process_time()
    for index in range(count):
        source.truth(index)
    print(f"facts only: {count / (process_time() - start):.0f} scenes/s")


if __name__ == "__main__":
    main()
