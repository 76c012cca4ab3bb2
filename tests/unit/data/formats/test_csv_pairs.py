import pytest

from foveal.data.formats import CsvPairs
from foveal.types import Sample


def test_rows_may_span_lines_and_columns_have_any_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufefftitle,filepath,x\r\n"a\n""b""",1.jpg,\r\n\r\nc,sub/2.jpg,4'.encode())
    part = CsvPairs(path, image="filepath", caption="title")
    assert list(part) == [
        Sample("1.jpg", tmp_path / "1.jpg", ('a\n"b"',)),
        Sample("sub/2.jpg", tmp_path / "sub" / "2.jpg", ("c",)),
    ]
    long = CsvPairs(path, image="filepath", caption="title", kind="long_caption").sample(1)
    assert (long.captions, long.long_caption) == ((), "c")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a", "1 cells for 2"),
        ("a,b,c", "3 cells for 2"),
        (",b", "'path' is empty"),
        ("a,\xff", "decode"),
        ('a,"b"c', "'\"'"),
    ],
)
def test_a_broken_row_is_named(tmp_path, row, message):
    path = tmp_path / "a.csv"
    path.write_bytes(b"path,caption\nok,fine\n" + row.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=rf"a\.csv:3: .*{message}"):
        list(CsvPairs(path))


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("path,text\n1,2\n")
    with pytest.raises(ValueError, match=r"no column 'caption'\. There are: path, text"):
        list(CsvPairs(path))
