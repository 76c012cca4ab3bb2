import pytest

from foveal.serving import Batching, Settings, settings_for

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


def test_the_key_is_never_printed():
    assert KEY not in repr(Settings(api_key=KEY))
