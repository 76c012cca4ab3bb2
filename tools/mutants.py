"""Mutants: one small mistake in one place of the code, which the tests that mirror the file must notice.

    python tools/mutants.py --files src/foveal/search/where.py --count 20 --seed 0

Files are changed in a copy of the tree. A mutant is killed if the tests of its file fail, or take far longer than
without it. What no test can tell from the code stands in `equivalent_mutants.txt` beside this file and is left out.
"""

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
FILES = ("src/foveal/search", "src/foveal/language", "src/foveal/evaluation")
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
LEAST = 0.85
"""Share of mutants that the tests have to kill."""
SLOWER, PATIENCE = 5, 30.0
"""A mutant's tests may take so many times as long as without it, and so many seconds in any case."""
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "startswith": "endswith", "endswith": "startswith"}
UNTOUCHED = {"annotation", "returns", "decorator_list", "type_params"}
"""Fields of the syntax tree that do nothing when the code runs, or only make it faster."""
REMARKS = {"strict", "repr", "compare"}
"""Arguments that guard against mistakes of the program, or say how its values are shown."""


class Place(NamedTuple):
    """A node of a syntax tree and where it hangs: the list or the node that holds it, and by which index or field."""

    holder: Any
    key: int | str
    node: ast.AST

    def put(self, node: ast.AST) -> None:
        """Hang another node there."""
        if isinstance(self.key, str):
            setattr(self.holder, self.key, node)
        else:
            self.holder[self.key] = node


class Mutant(NamedTuple):
    """One mistake in a file: in which node of its tree, and what stands there instead."""

    path: Path
    tree: ast.Module
    place: Place
    mistake: ast.AST

    def __str__(self) -> str:
        """Return the file and how the place reads before and after, as the list of equivalent mutants has it."""
        before, after = (ast.unparse(node).partition("\n")[0] for node in (self.place.node, self.mistake))
        return f"{self.path.as_posix()}: {before} -> {after}"

    def source(self) -> str:
        """Return the text of the file with its mistake."""
        self.place.put(self.mistake)
        text = ast.unparse(ast.fix_missing_locations(self.tree))
        self.place.put(self.place.node)
        return text


def places(node: ast.AST) -> Iterator[Place]:
    """Yield the places below a node that may be changed."""
    for name, value in ast.iter_fields(node):
        if name in UNTOUCHED:
            continue
        children = enumerate(value) if isinstance(value, list) else [(name, value)]
        for key, child in children:
            is_remark = isinstance(child, ast.Assert) or (isinstance(child, ast.keyword) and child.arg in REMARKS)
            if isinstance(child, ast.AST) and not is_remark:
                yield Place(value if isinstance(value, list) else node, key, child)
                yield from places(child)


def mistakes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in a node's place, each with one mistake."""
    match node:
        case ast.Compare(ops=[operator]):
            yield from (_with(node, ops=[kind()]) for kind in COMPARISONS[type(operator)])
        case ast.BinOp() if type(node.op) in OPERATORS:
            yield _with(node, op=OPERATORS[type(node.op)]())
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in NAMES:
            yield _with(node, **{"id" if isinstance(node, ast.Name) else "attr": NAMES[name]})
        case _:
            yield from _detours(node)


def _detours(node: ast.AST) -> Iterator[ast.AST]:
    """Yield statements and choices that go another way."""
    match node:
        case ast.IfExp() | ast.If() | ast.While():
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Return(value=ast.expr()) if ast.unparse(node) != "return None":
            yield ast.Return(ast.Constant(None))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """Return a copy of a node with other fields."""
    return type(node)(**dict(ast.iter_fields(node)) | fields)


def mutants(path: Path, source: str) -> list[Mutant]:
    """Return all mutants of a file."""
    tree = ast.parse(source)
    return [Mutant(path, tree, place, mistake) for place in places(tree) for mistake in mistakes(place.node)]


def mirrored(path: Path) -> Path:
    """Return the test file of a file of the package."""
    return Path("tests/unit", *path.parts[2:-1], f"test_{path.name}")


class Tree:
    """A copy of the files under version control, in which tests run in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "foveal"
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in listing.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name)
        if (ROOT.parent / "shared").is_dir():
            (folder / "shared").symlink_to((ROOT.parent / "shared").resolve())

    def passes(self, tests: Path, limit: float | None = None, *, keep_code: bool = False) -> bool:
        """True if the tests of a file pass within so many seconds; compiled code may be kept for later runs."""
        process = get_context("fork").Process(target=self._run, args=(tests, keep_code))
        process.start()
        process.join(limit)
        if process.is_alive() and process.pid is not None:
            os.killpg(process.pid, signal.SIGKILL)  # the group that it has made for itself and its children
            process.join()
        return process.exitcode == 0

    def _run(self, tests: Path, keep_code: bool) -> None:
        import pytest

        os.setsid()
        os.chdir(self.folder)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silence, stream)
        os.environ["PYTHONPATH"] = str(self.folder / "src")
        sys.path.insert(0, str(self.folder / "src"))
        sys.dont_write_bytecode = not keep_code
        options = ["-x", "-q", "-m", "not slow and not gpu", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        os._exit(pytest.main([*options, str(tests)]))


def survivors(tree: Tree, path: Path, sample: Iterable[Mutant]) -> list[Mutant]:
    """Return the mutants of one file that its tests do not notice.

    Raises:
        ValueError: If its tests fail without a mistake.
    """
    tests = mirrored(path)
    if not (tree.folder / tests).is_file():
        return list(sample)
    begin = time.monotonic()
    if not tree.passes(tests, keep_code=True):
        raise ValueError(f"{tests} fails as it is. Mend it first: python -m pytest {tests}")
    limit = max(PATIENCE, SLOWER * (time.monotonic() - begin))
    original = (tree.folder / path).read_text(encoding="utf-8")
    alive = []
    for mutant in sample:
        (tree.folder / path).write_text(mutant.source(), encoding="utf-8")
        if tree.passes(tests, limit):
            alive.append(mutant)
    (tree.folder / path).write_text(original, encoding="utf-8")
    return alive


def chosen_sample(names: Iterable[str], count: int, seed: int) -> dict[Path, list[Mutant]]:
    """Return a sample of the mutants of files and folders, by file; those known as equivalent are left out.

    Raises:
        ValueError: If a name is none of a file or folder.
    """
    known = {line.partition(" # ")[0] for line in EQUIVALENT.read_text(encoding="utf-8").splitlines()}
    population: list[Mutant] = []
    for name in names:
        place = ROOT / name
        if not place.exists():
            raise ValueError(f"There is no '{name}'. Give files or folders below {ROOT}.")
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            relative = path.relative_to(ROOT)
            population += mutants(relative, path.read_text(encoding="utf-8"))
    population = [mutant for mutant in population if str(mutant) not in known]
    numbers = sorted(random.Random(seed).sample(range(len(population)), min(count, len(population))))
    by_file: dict[Path, list[Mutant]] = {}
    for number in numbers:
        by_file.setdefault(population[number].path, []).append(population[number])
    return by_file


def main() -> int:
    """Print a table by file and the mutants that survived. Return 1 if too few were killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", nargs="+", default=FILES, help="Files or folders of src (default: %(default)s).")
    parser.add_argument("--count", type=int, default=200, help="How many mutants are drawn (default: %(default)s).")
    parser.add_argument("--seed", type=int, default=0, help="Of the draw.")
    options = parser.parse_args()
    import torch  # once, before the processes part: most tests need it

    torch.set_num_threads(1)
    total, alive = 0, list[Mutant]()
    print(f"{'file':60} mutants killed  share")
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder))
        for path, sample in chosen_sample(options.files, options.count, options.seed).items():
            surviving = survivors(tree, path, sample)
            killed = len(sample) - len(surviving)
            note = "" if (tree.folder / mirrored(path)).is_file() else f"  no {mirrored(path)}"
            print(f"{path!s:60} {len(sample):7} {killed:6} {killed / len(sample):6.0%}{note}", flush=True)
            total, alive = total + len(sample), alive + surviving
    share = 1 - len(alive) / max(1, total)
    print(f"{'all':60} {total:7} {total - len(alive):6} {share:6.0%}\n")
    for mutant in alive:
        print(f"{mutant}  (line {getattr(mutant.place.node, 'lineno', 0)})")
    return int(share < LEAST)


if __name__ == "__main__":
    sys.exit(main())
