import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

import foveal
from foveal.cli import main as module
from foveal.cli.main import main
from foveal.training import start

ROOT = Path(__file__).parents[3]
COMMAND = Path(sys.executable).with_name("foveal")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [["--help"], [], ["train", "--help"], ["demo", "--help"]])
def test_help_and_the_door_load_no_torch(arguments):
    code = f"""
import sys, foveal
from foveal.cli.main import main
code = main({arguments})
heavy = {{"torch", "numpy", "PIL", "matplotlib"}} & set(sys.modules)
sys.exit(f"loaded {{heavy}}" if heavy else code)
"""
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout


def test_the_command_is_installed_and_returns_the_exit_code(tmp_path):
    helped = subprocess.run([COMMAND, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0
    assert all(f" {verb} " in helped.stdout for verb in ("train", "eval", "scenes", "demo"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    wrong = subprocess.run([COMMAND, "scenes", "--out", tmp_path / "full"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr == f"foveal: {tmp_path}/full is not empty. Choose another folder.\n"
    assert wrong.stdout == ""


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("train", ["recipe", "--out", "--data", "--init", "--resume", "--set", "a wrong name lists the right ones"]),
        (
            "eval",
            [
                "model protocol",
                "--list",
                "--explain",
                "--check",
                "--pin",
                "--limit",
                "--strict",
                "--dtype",
                "--root",
                "--similarity",
                "--out",
                "--batch-size",
                "--scaled-decoding",
            ],
        ),
        *((verb, ["--dtype", "--threads"]) for verb in ("eval", "index", "search", "similar", "serve")),
        ("scenes", ["--out", "--count", "--seed", "--split", "--size", "--shard"]),
        ("demo", ["--out", "--recipes", "--scenes", "--steps", "--seed"]),
    ],
)
def test_each_verb_explains_itself(capsys, verb, words):
    assert main([verb, "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split()).lower()
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize("verb", typer.main.get_command(module.app).commands)
def test_each_verb_says_where_things_go_and_gives_an_example(verb):
    command = typer.main.get_command(module.app).commands[verb]
    assert f"For example: `foveal {verb} " in command.help
    kinds = {parameter.name: parameter.param_type_name for parameter in command.params}
    assert kinds.get("out", "option") == "option"
    assert "data" not in kinds or verb == "train"


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        ("convert mine theirs", "Missing option '--out'."),
        ("export mine graphs --onnx", "Missing option '--out'."),
        ("upgrade clip start --to long", "Missing option '--out'."),
        ("scenes shards", "Missing option '--out'."),
        ("eval mine urban1k@1000 --data pictures", "Protocols' files lie below --root DIR."),
    ],
)
def test_an_old_spelling_is_answered_with_the_new_one(capsys, arguments, way_out):
    assert main(arguments.split()) == 2
    answer = capsys.readouterr().err
    assert answer.startswith(f"foveal: {way_out}")
    assert answer.count("\n") == 1


def test_the_version_is_one_in_package_command_and_metadata(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"foveal {foveal.__version__}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert f'__version__ = "{foveal.__version__}"' in (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text()


def test_eval_decodes_whole_pictures_unless_it_is_told_otherwise(monkeypatch, tmp_path, unchecked):
    asked = []

    class AskedError(Exception):
        pass

    def measure(*_, scaled_decoding, **__):
        asked.append(scaled_decoding)
        raise AskedError

    monkeypatch.setattr("foveal.encoder.load.load", lambda _, dtype: SimpleNamespace())
    monkeypatch.setattr(import_module("foveal.evaluation.evaluate"), "evaluate", measure)
    for flags in ([], ["--scaled-decoding"], ["--no-scaled-decoding"]):
        with pytest.raises(AskedError):
            main(["eval", "model", "scenes", *flags])
    assert asked == [False, True, False]


def test_training_has_no_flags_but_where_things_come_from_and_go(capsys):
    main(["train", "--help"])
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    columns = {"--image-column", "--caption-column"}
    assert flags - {"--help"} == {"--out", "--data", "--init", "--resume", "--set", *columns}


@pytest.fixture
def full(tmp_path):
    """A folder in use, for outputs that must not lie there."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    return tmp_path / "full"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tarin", "No such command 'tarin'"),
        ("train", "recipe"),
        ("train clip", "Missing option '--out'."),
        ("train clip --out x --lr 1", "No such option"),
        ("train clap --out x", "There is no recipe 'clap'. There are: "),
        ("train clip:stage9 --out x", "'clip' has no recipe 'stage9'. It has: clip, demo, smoke."),
        ("train clip:smoke --out x --set optimizer.rate=1", "Optimizer has no 'rate'. It has: lr, "),
        ("train clip:smoke --out x --set steps", "'steps' sets nothing. Write path.to.field=value."),
        ("train clip:smoke --out x --set steps=many", "steps=many: expected a whole number."),
        ("train clip --out x", "The run has no data. Name some with --data"),
        ("train clip:smoke --out x --data nowhere.tar", "No such file: 'nowhere.tar'"),
        ("train clip:smoke --out x --data scenes:sed=1", "Scenes has no 'sed'. It has: seed, "),
        ("train clip:smoke --out x --init nowhere", "There is no nowhere/model.safetensors"),
        ("train clip:smoke --out x --resume", "There is nothing to resume in x"),
        ("train clip:smoke --out full", "full is not empty. Resume it with --resume, or choose another folder."),
        ("train clip:smoke --out full/notes.txt", "full/notes.txt"),
        ("scenes --out full", "full is not empty. Choose another folder."),
        ("scenes --out x --count none", "Invalid value for '--count'"),
        ("scenes --out x --split both", "Split 'both' is unknown"),
        ("eval nowhere scenes", "There is no nowhere, neither a folder nor a file"),
        ("demo --out full", "full holds something else. Choose another folder."),
        ("demo --out x --recipes clip,clap", "No module named 'clap'. Ours are: "),
        ("demo --out x --scenes 5", "Invalid value for '--scenes'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_leaves_nothing_behind(capsys, monkeypatch, full, arguments, message):
    monkeypatch.chdir(full.parent)
    assert main(arguments.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("foveal: ")
    assert message.lower() in told.err.lower()
    assert told.err.count("\n") == 1
    assert [path.name for path in full.parent.rglob("*")] == ["full", "notes.txt"]


def test_what_is_no_mistake_of_the_user_keeps_its_traceback(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("ours")

    monkeypatch.setattr(start, "train", broken)
    with pytest.raises(RuntimeError, match="ours"):
        main(["train", "clip:smoke", "--out", "x"])


@pytest.mark.parametrize(
    ("said", "told"), [("Stopped after step 3 of 6.", "Stopped after step 3 of 6."), ("", "Stopped.")]
)
def test_an_interruption_says_where_it_stopped_and_exits_with_130(capsys, monkeypatch, said, told):
    def interrupted(*_, **__):
        raise KeyboardInterrupt(*[said] * bool(said))

    monkeypatch.setattr(start, "train", interrupted)
    assert main(["train", "clip:smoke", "--out", "x"]) == 130
    assert capsys.readouterr().err == f"foveal: {told}\n"


def test_a_recipe_in_the_current_folder_is_found(capsys, monkeypatch, tmp_path):
    (tmp_path / "recipe_of_mine.py").write_text(
        "from foveal.recipes.clip import smoke\nfrom foveal.training.run import Run\n\n"
        "def mine() -> Run:\n    return smoke()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    seen = []
    monkeypatch.setattr(start, "train", lambda run, out, **options: seen.append((run.name, out, options)))
    assert main(["train", "recipe_of_mine:mine", "--out", "x", "--data", "a", "--data", "b", "--set", "steps=3"]) == 0
    options = {"data": ["a", "b"], "init": None, "resume": False, "changes": ["steps=3"]}
    assert seen == [("clip", Path("x"), options)]


def test_every_file_that_defines_a_verb_is_one(capsys):
    paths = Path(module.__file__).parent.glob("*.py")
    files = {path.stem for path in paths if f"\ndef {path.stem}(" in path.read_text()} - {"main"}
    assert len(files) > 15
    main(["--help"])
    told = capsys.readouterr().out
    assert all(f" {'eval' if name == 'evaluate' else name} " in told for name in files)
