import pytest

from foveal.data.formats.paths import expand


@pytest.fixture
def folder(tmp_path):
    for name in ("a-00.tar", "a-01.tar", "a-02.tar", "a-10.tar", "b-1.tar", "c-00.tar"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-00.tar", ["a-00"]),
        ("a-{00..02}.tar", ["a-00", "a-01", "a-02"]),
        ("{a,c}-00.tar", ["a-00", "c-00"]),
        ("{c,a}-{00,00}.tar", ["c-00", "c-00", "a-00", "a-00"]),
        ("b-{1..1}.tar", ["b-1"]),
        ("a-*.tar", ["a-00", "a-01", "a-02", "a-10"]),
        ("{c,a}-0?.tar", ["c-00", "a-00", "a-01", "a-02"]),
    ],
)
def test_patterns_name_files_as_a_shell_does(folder, pattern, names):
    assert [path.stem for path in expand(folder / pattern)] == names


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("a-{00..03}.tar", "a-03.tar"), ("x*.tar", r"x\*"), ("a-{2..0}.tar", "counts downwards")],
)
def test_what_is_not_there_is_named(folder, pattern, message):
    with pytest.raises(ValueError, match=message):
        expand(folder / pattern)
