from pathlib import Path

import pytest

from foveal.serving import Batching, Limits, Settings, connection, guard, pictures, settings_for

KEY = "0123456789abcdef"


def settings(host="127.0.0.1", key_file=None, open_to_all=False, names=(), root_path=""):
    return settings_for(host, key_file, open_to_all, names, ["Example.org"], Batching(), root_path)


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    return file


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machine_needs_no_key(host):
    made = settings(host)
    assert made.api_key is None
    assert {"localhost", "127.0.0.1", "[::1]"} <= set(made.hosts)
    assert made.image_hosts == ("example.org",)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "box.example.org"])
def test_a_network_wants_a_key_or_an_explicit_yes(host, key_file):
    with pytest.raises(ValueError, match="--key-file"):
        settings(host)
    assert settings(host, key_file).api_key == KEY
    assert settings(host, open_to_all=True).api_key is None


def test_which_names_it_answers_to(key_file):
    assert settings("0.0.0.0", key_file).hosts == ()
    assert "photos.example.org" in settings("0.0.0.0", key_file, names=["Photos.Example.org"]).hosts
    assert "192.168.1.4" in settings("192.168.1.4", key_file).hosts


@pytest.mark.parametrize("text", ["", "short", "with spaces in it all", "schlüsselschlüssel"])
def test_a_bad_key_is_refused(tmp_path, text):
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(ValueError, match="holds no key"):
        settings(key_file=file)


def test_a_name_is_also_where_a_proxy_s_page_may_lie():
    assert settings(names=["Photos.Example.org"]).origins == ("https://photos.example.org",)
    assert settings().origins == ()


@pytest.mark.parametrize(
    ("given", "path"), [("", ""), ("/", ""), ("/photos", "/photos"), ("photos/", "/photos"), ("/a/b-1/", "/a/b-1")]
)
def test_a_root_path_has_a_slash_before_it_and_none_behind(given, path):
    assert settings(root_path=given).root_path == path


@pytest.mark.parametrize("given", ["/a b", "/a?b", "https://h/a", "/a//b", "/../a", "/a/.", "/é"])
def test_what_is_no_root_path_is_refused(given):
    with pytest.raises(ValueError, match="--root-path"):
        settings(root_path=given)


def test_the_documented_limits_are_those_that_hold():
    limits, page = Limits(), Path(__file__).parents[3] / "docs" / "serving.md"
    rows = [line.split("|")[1:4] for line in page.read_text().partition("## Limits")[2].splitlines() if "|" in line]
    stated = {what.strip(): f"{value.strip()} {beyond.strip()}" for what, value, beyond in rows}
    decoded = "bytes of decoded pictures, and of those being decoded, of all requests"
    arrival = f"{limits.body_seconds:g} s (headers: {limits.head_seconds:g} s)"
    values = guard._VALUES + guard._VALUES_OF_AN_INPUT * limits.inputs
    for what, value in {
        "bytes of a request": f"{limits.bytes >> 20} MiB 413",
        "head of a request": f"{connection._HEAD_BYTES >> 10} KiB 400",
        "values in the JSON of a request": f"{values:,} 413",
        "pixels of a picture, read from its header before anything is decoded": f"{limits.pixels // 10**6} million 413",
        "texts and pictures in a request": f"{limits.inputs} 413",
        "characters of a text": f"{limits.characters:,} 413",
        "hits of a search": f"{limits.results} 413",
        decoded: f"{limits.picture_bytes >> 30} GiB 429",
        "inputs in the queue": f"{Batching().queue} 429",
        "requests worked on at once": f"{limits.requests} 429",
        "bytes of all bodies held, and of all answers not yet read": f"{limits.buffered_bytes >> 20} MiB 429",
        "connections at once (at most half of the files that the process may open)": f"{limits.connections:,} 503",
        "time for a request to arrive": f"{arrival} 408 (headers: closed)",
        "time until an answer begins, waiting included": f"{limits.answer_seconds:g} s 503",
        "time without the client reading on": f"{limits.unread_seconds:g} s closed",
        "time for an answer to be read": f"{limits.reading_seconds / 60:g} min closed",
        "time between two requests of a connection": f"{limits.idle_seconds:g} s closed",
    }.items():
        assert stated[what] == value
    assert f"had {limits.linger_seconds:g} s to read" in page.read_text().replace("\n", " ")
    assert f"takes {pictures.FETCH_SECONDS:g} s at most" in page.read_text()


def test_the_key_is_never_printed():
    assert KEY not in repr(Settings(api_key=KEY))
