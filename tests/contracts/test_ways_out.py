"""Every way out that a message names exists as it is written: options, settings, extras, verbs, files, arguments.

All texts of the package are read, docstrings too, and all commands of the documentation.
"""

import ast
import dataclasses
import re
import shlex
import tomllib
from functools import cache
from importlib import import_module
from itertools import chain, pairwise
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer

from foveal.annotation.stages.lookup import STAGES
from foveal.annotation.stages.settings import Settings
from foveal.cli.main import app
from foveal.data.scenes import Scenes
from foveal.recipes.lookup import find, names, recipes_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/foveal"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
VERBS = {
    name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for name, command in typer.main.get_command(app).commands.items()
}
EVERY_OPTION = set().union(*VERBS.values(), {"--help", "--version"})
OF_OTHERS = {"--nproc-per-node", "aligned"}  # torchrun's, torchvision's
GAP = "\N{HORIZONTAL ELLIPSIS}"  # stands for what an f-string fills in

SETTING = re.compile(rf"--set ([a-z_]++(?:\.[a-z_]++)*+)(?!\.?{GAP})")
OPTION = re.compile(r"(?<![\w`-])`?(--[a-z][a-z0-9-]*)")
EXTRAS = re.compile(r"(?:foveal|-e '?\.)\[([a-z, ]+)\]")
COMMAND = re.compile(r"(?:`|^ *|: |\bRun |\b(?i:make one: ))foveal ([a-z]+)\b", re.MULTILINE)
PAGE = re.compile(r"\b(docs/[\w/.-]+\.md|README\.md|CONTRIBUTING\.md)")
PATH = re.compile(r"(?<![\w.{/])((?:data|optimizer|machine|objective|assistant)(?!\.jsonl?\b)(?:\.[a-z_]+)+)\b(?!\()")
BARE = re.compile(r"\b[Ss]et (?:fewer |more |another )?([a-z]+(?:[._][a-z_]+)+)\b")
ARGUMENT = re.compile(r"(?<![\w.{-])([a-z_]+)=(?:True|False|None|'|\"|\.\.\.|\[)")
NOT_SETTINGS = {"data.json", "data.noun", "data.pkl"}  # files


@cache
def texts() -> list[tuple[str, str]]:
    """Every text in the package and where it stands."""
    return [
        (f"{path.relative_to(PACKAGE)}:{line}", text)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in texts_of(ast.parse(path.read_text(encoding="utf-8")))
    ]


def texts_of(tree):
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value


def paths_of(value, path=""):
    """Every field of a dataclass tree; of one that is None, those that its type would have."""
    for field in dataclasses.fields(value):
        kind = value if isinstance(value, type) else type(value)
        member, name = None if value is kind else getattr(value, field.name), f"{path}{field.name}"
        yield name
        members = [member] if dataclasses.is_dataclass(member) else get_args(get_type_hints(kind).get(field.name))
        for one in members:
            if dataclasses.is_dataclass(one):
                yield from paths_of(one, f"{name}.")


@cache
def run_paths(recipe: str) -> set[str]:
    return set(paths_of(find(recipe)()))


@cache
def every_run_path() -> set[str]:
    recipes = (f"{name}:{run}" for name in names() for run in recipes_of(import_module(f"foveal.recipes.{name}")))
    return set(chain.from_iterable(map(run_paths, recipes)))


@cache
def annotate_paths() -> set[str]:
    stages = {name: getattr(import_module(f"foveal.annotation.stages.{name}"), name.capitalize()) for name in STAGES}
    return set(paths_of(Settings)) | {f"{name}.{path}" for name, stage in stages.items() for path in paths_of(stage)}


@cache
def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@cache
def arguments() -> set[str]:
    """The names of all parameters and fields in the package."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg):
                found.add(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def known(path: str) -> bool:
    return path in every_run_path() or path in annotate_paths() or path == "path.to.field"


def is_module(path: str) -> bool:
    return any(PACKAGE.rglob(f"{path.replace('.', '/')}.py"))


def missing(text: str) -> list[str]:
    """What a text names and is not there."""
    plain = " ".join(text.split())
    checks = (
        ((match[1] for match in SETTING.finditer(plain)), known),
        ((match[1] for match in OPTION.finditer(plain)), (EVERY_OPTION | OF_OTHERS).__contains__),
        ((one.strip() for match in EXTRAS.finditer(plain) for one in match[1].split(",")), extras().__contains__),
        ((match[1] for match in COMMAND.finditer(text)), VERBS.__contains__),
        ((match[1] for match in PAGE.finditer(plain)), lambda name: (ROOT / name).is_file()),
        (
            (match[1] for match in PATH.finditer(plain) if match[1] not in NOT_SETTINGS and not is_module(match[1])),
            known,
        ),
        ((match[1] for match in BARE.finditer(plain)), known),
        (
            (match[1] for match in ARGUMENT.finditer("" if re.search(r"<[a-z]", text) else plain)),
            (arguments() | OF_OTHERS).__contains__,
        ),
    )
    return list(dict.fromkeys(name for found, exists in checks for name in found if not exists(name)))


def test_whatever_a_text_of_the_package_names_is_there():
    wrong = {place: names for place, text in texts() if (names := missing(text))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Install it: pip install 'foveal[annotation]'.", ["annotation"]),
        ("pip install -e '.[search,serf]'", ["serf"]),
        ("add one or set long_caption_length to None.", ["long_caption_length"]),
        ("Use --set data.long_caption=false.", ["data.long_caption"]),
        ("Take fewer: --set worker=1.", ["worker"]),
        ("Go on with --resum.", ["--resum"]),
        ("Run `foveal trein` again. See docs/nowhere.md.", ["trein", "docs/nowhere.md"]),
        ("Make one: foveal indices FOLDER", ["indices"]),
        ("Look at them, or lower optimizer.rate.", ["optimizer.rate"]),
        ('Leave it out, or take parzer="rules".', ["parzer"]),
        ("Pass allow_url=True to fetch pictures.", ["allow_url"]),
        ("Set fewer micro_batches.", ["micro_batches"]),
    ],
)
def test_what_is_not_there_is_noticed(text, named):
    assert missing(text) == named


def test_many_texts_are_read():
    """The walk sees messages, their parts that are filled in, help and docstrings."""
    every = [text for _, text in texts()]
    assert len(every) > 3000
    for part in (
        f"{GAP} is not empty. Resume it with --resume, or choose another folder.",
        "Go on from the last checkpoint in OUT.",
        "Interface of an objective, whose terms' sum is minimized.",
    ):
        assert any(part in text for text in every)
    assert sum(len(SETTING.findall(text)) for text in every) > 10


def commands(page: Path) -> list[str]:
    """The calls of foveal in the code of a page."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^(?: {4}|\t)(.*)$", text, re.MULTILINE) + re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    lines = chain.from_iterable(block.splitlines() for block in [*blocks, *spans])
    calls = (re.search(r"(?:^\s*|\$\(which )foveal\)? (.*)", line) for line in lines)
    return [call[1] for call in calls if call]


def called_wrongly(command: str) -> list[str]:
    """What in a command is no verb, no option of it, or no setting of what it is about."""
    words = shlex.split(command, comments=True)
    verb, *rest = words or [""]
    if verb not in VERBS:
        return [verb] if verb != "--help" else []
    wrong = [word for word in rest if re.match(r"-\w|--\w", word) and word.split("=")[0] not in VERBS[verb]]
    settings = [after.split("=")[0] for word, after in pairwise(rest) if word == "--set"]
    if not settings or (verb == "train" and rest[0].split(":")[0] not in names()):
        return wrong  # a recipe of a page's own has its own fields
    fields = annotate_paths() if verb == "annotate" else run_paths(rest[0])
    return wrong + [path for path in settings if path not in fields]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_whatever_the_documentation_calls_or_names_is_there(page):
    wrong = {command: parts for command in commands(page) if (parts := called_wrongly(command))}
    assert wrong == {}


def test_recipes_and_verbs_call_what_is_there():
    """The commands in docstrings, which help prints."""
    calls = [line.strip() for _, text in texts() for line in text.splitlines() if re.match(r" *foveal [a-z]+ ", line)]
    calls += [call for _, text in texts() for call in re.findall(r"`(foveal [^`]+)`", text)]
    wrong = {call: parts for call in calls if (parts := called_wrongly(call.removeprefix("foveal ")))}
    assert len(calls) > 10
    assert wrong == {}


def test_commands_that_are_wrong_are_noticed():
    assert called_wrongly("train clip --data a --oot b") == ["--oot"]
    assert called_wrongly("train clip --set data.x=1 --set steps=2") == ["data.x"]
    assert called_wrongly("annotate a --set ground.level=1") == ["ground.level"]
    assert called_wrongly("learn clip") == ["learn"]
    assert len(commands(ROOT / "README.md")) > 8


def test_scenes_are_made_with_the_options_that_texts_name():
    fields = {field.name for field in dataclasses.fields(Scenes)}
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    specs = re.findall(
        r"scenes:((?:[a-z_]+=[\w.,]+?,?)+)(?=['\"`\s)]|$)", "\n".join([*(t for _, t in texts()), *pages])
    )
    named = {option.split("=")[0] for spec in specs for option in re.split(r",(?=[a-z_]+=)", spec)}
    assert named
    assert named <= fields
