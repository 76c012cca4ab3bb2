"""Names that say nothing of what they hold: fail where a bare pronoun or participle is bound in the code.

A name says what it holds (`rows`, `hits`, `boxes`), not how it came about or which of several it is.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

WORDS = """
about again alike another asked at both chosen each every found given here his how known kept looks made many
mine near nothing of one other others ours own passed same said seen several shown some something such that
their theirs them there these thing things this those todo told usual want wanted what which who
"""
VAGUE = frozenset(WORDS.split())
ALLOWED = 0.01
"""Share of all bound names that may be vague: what is left where a word is a term of its own."""


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that a module binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def main() -> int:
    """Print the vague names and their share. Return 1 if there are too many."""
    places = [
        (path, line, name)
        for path in sorted(Path("src").rglob("*.py"))
        for line, name in bound_names(ast.parse(path.read_text(encoding="utf-8")))
    ]
    vague = [place for place in places if place[2].lower().strip("_") in VAGUE]
    share = len(vague) / len(places)
    if share > ALLOWED or "--list" in sys.argv:
        for path, line, name in vague:
            print(f"{path}:{line}: {name}")
        print(*(f"{name} {count}" for name, count in Counter(name for *_, name in vague).most_common()), sep=", ")
    print(f"{len(vague)} of {len(places)} bound names are vague: {share:.1%}, at most {ALLOWED:.0%} may be.")
    return int(share > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
