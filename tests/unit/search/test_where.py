import operator
import re
import time
from functools import partial

import lancedb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lancedb.index import BTree

from foveal.search import Query
from foveal.search.store import FEATURES, Layout, schema
from foveal.search.where import COLUMNS, COMPARISONS, DEPTH, LENGTH, MEMBERS, PATTERNS, WILDCARDS, sql_of

TEXTS = [name for name, kind in COLUMNS.items() if kind is str]
NUMBERS = [name for name, kind in COLUMNS.items() if kind is int]
LETTERS = "aAbB%_\\' é\n0"
SIGNS = {
    "=": operator.eq,
    "==": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def made_up(number):
    """A row of the columns that filters name; NULL where the number has a bit set."""
    text = "".join(LETTERS[number * step % len(LETTERS)] for step in range(1, 2 + number % 5))
    rest = dict.fromkeys(NUMBERS, number * 7 % 5 - 1) | dict.fromkeys(TEXTS, text)
    for bit, name in enumerate(("caption", "width", "path", "bytes")):
        if number >> bit & 1:
            rest[name] = None
    return {**rest, "id": f"a{number:02d}", "height": number % 3}


ROWS = [made_up(number) for number in range(48)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The rows in LanceDB, with the index on ids that an index has."""
    columns = schema(Layout(2, 2, 1, 1))
    rows = pa.Table.from_pylist(ROWS, pa.schema([columns.field(name) for name in COLUMNS]))
    table = lancedb.connect(tmp_path_factory.mktemp("rows")).create_table("rows", rows)
    table.create_index("id", config=BTree(), name="id_idx")
    return table


def passing(table, where):
    return sorted(table.search().select(["id"]).where(sql_of(where)).to_arrow()["id"].to_pylist())


# A slow evaluation of filters as trees, with SQL's three values: True, False and None.


def both(left, right):
    return False if left is False or right is False else None if left is None or right is None else True


def opposite(value):
    return None if value is None else not value


def compared(sign, left, right):
    return None if left is None or right is None else SIGNS[sign](left, right)


def fits(pattern, text, flags=0):
    """LIKE, letter by letter into a regular expression."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    letters = {"%": ".*", "_": "."}
    expression = "".join(letters.get(part, re.escape(part[-1])) for part in parts)
    return None if text is None else re.fullmatch(expression, text, re.DOTALL | flags) is not None


def truth(tree, row):
    kind, *parts = tree
    if kind in ("not", "and", "or"):
        values = [truth(part, row) for part in parts]
        if kind == "not":
            return opposite(*values)
        return both(*values) if kind == "and" else opposite(both(*map(opposite, values)))
    own, *others = [row[part] if isinstance(part, str) and part in COLUMNS else part for part in parts]
    return TRUTHS.get(kind, partial(compared, kind))(own, *others)


TRUTHS = {
    "is null": lambda own: own is None,
    "in": lambda own, members: None if own is None else own in members,
    "between": lambda own, low, high: both(compared(">=", own, low), compared("<=", own, high)),
    "like": lambda own, pattern: fits(pattern, own),
    "ilike": lambda own, pattern: fits(pattern, own, re.IGNORECASE),
}


def written(tree, draw):
    """A tree as a user may write it."""
    kind, *parts = tree
    word = draw(st.sampled_from([kind, kind.upper(), f"  {kind}\n"]))
    if kind in ("not", "and", "or"):
        *first, last = [f"({written(part, draw)})" for part in parts]
        return f"{''.join(first)} {word} {last}"
    own, *others = [side(part, draw) for part in parts]
    return FORMS.get(kind, "{0}{word}{1}").format(own, *others, word=word)


FORMS = {"is null": "{0} {word}", "between": "{0} {word} {1} and {2}"} | dict.fromkeys(
    ("in", "like", "ilike"), "{0} {word} {1}"
)


def side(part, draw):
    """A column, a literal or a list of literals."""
    if part in COLUMNS:
        return draw(st.sampled_from([part, part.upper(), f'"{part}"', f"`{part}`"]))
    if isinstance(part, tuple):
        return f"({' ,'.join(side(member, draw) for member in part)})"
    return str(part) if isinstance(part, int) else "'" + part.replace("'", "''") + "'"


numbers, words = st.integers(-2, 5), st.text(LETTERS, max_size=4) | st.sampled_from([row["id"] for row in ROWS])
patterns = st.lists(st.sampled_from(["a", "B", "'", " ", "é", "\n", "0", "%", "_", r"\%", r"\_", r"\\"]), max_size=4)


def leaves_of(columns, literals):
    """Comparisons of columns of one type."""
    column = st.sampled_from(columns)
    value = column | literals
    sides = st.tuples(column, value) | st.tuples(value, column)
    return (
        st.builds(lambda sign, pair: (sign, *pair), st.sampled_from(sorted(SIGNS)), sides)
        | st.tuples(st.just("in"), column, st.lists(literals, min_size=1, max_size=4).map(tuple))
        | st.tuples(st.just("between"), column, value, value)
        | st.tuples(st.just("is null"), column)
    )


leaves = (
    leaves_of(NUMBERS, numbers)
    | leaves_of(TEXTS, words)
    | st.tuples(st.sampled_from(["like", "ilike"]), st.sampled_from(TEXTS), patterns.map("".join))
)
trees = st.recursive(
    leaves,
    lambda some: (
        st.tuples(st.sampled_from(["and", "or"]), some, some)
        | st.tuples(st.just("not"), some)
        | st.tuples(st.just("not"), st.tuples(st.just("not"), some))
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(tree=trees, data=st.data())
def test_a_filter_lets_pass_what_a_slow_evaluation_lets_pass(table, tree, data):
    where = written(tree, data.draw)
    assert passing(table, where) == sorted(row["id"] for row in ROWS if truth(tree, row) is True)
    assert sql_of(sql_of(where)) == sql_of(where)


@pytest.mark.parametrize("sign", SIGNS)
def test_not_turns_every_sign_around_and_lets_no_null_pass(table, sign):
    for leaf in ((sign, "width", 1), (sign, 1, "width"), (sign, "height", "width")):
        where = f"not {leaf[1]} {sign} {leaf[2]}"
        assert passing(table, where) == [row["id"] for row in ROWS if truth(leaf, row) is False]


@given(
    text=st.text() | st.lists(st.sampled_from(["width", "'", "(", ")", "not", "or", "1", "=", ";", "--"])).map(" ".join)
)
def test_any_text_is_read_or_refused_in_one_line(text):
    told = ""
    try:
        sql_of(text)
    except ValueError as error:
        told = str(error)
    assert told.isprintable()  # a line break is not
    assert len(told) < 500


def test_filters_may_name_all_plain_columns():
    assert set(COLUMNS) == set(schema(Layout(2, 2)).names) - {*FEATURES, "thumbnail"}


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("array_length(range(0, 300000000)) > 1", "character 1: 'array_length' is called, and there are no functions"),
        ("width > 3 and now() > 1", "character 15: 'now' is called"),
        ("cast(width as int) = 1", "'cast' is called"),
        ("true) OR (true", "there is no column 'true'"),
        ("width = 1) or (width = 2", "character 10: AND, OR or the end should stand here, not ')'"),
        ("width = 1; drop table pictures", "character 10: ';' is not known here"),
        ("width = 2 -- all of them", "'-' is not known here"),
        ("width = 2 /* all */", "'/' is not known here"),
        ("width in (select width)", "there is no column 'select'"),
        ("width + 1 = 2", "'+' is not known here"),
        ("width = 2 -1", "not '-1'"),
        ("embedding is null", "there is no column 'embedding'"),
        ("_rowid = 1", "there is no column '_rowid'"),
        ("width", "a comparison should stand here, not 'the end'"),
        ("width >", "a column, a number or a text should stand here, not 'the end'"),
        ("width = NULL", "not 'NULL'"),
        ("'", "a text begins and does not end"),
        ("1 = 1", "one side of a comparison is a column"),
        ("width = '1'", "width holds whole numbers"),
        ("1 < path", "path holds texts"),
        ("width like '1%'", "width holds whole numbers"),
        ("path like caption", "a number or a text should stand here, no column"),
        ("width in ()", "not ')'"),
        ("width in (1, height)", "no column"),
        (r"path like 'C:\photos\%'", r"in a pattern \ stands before %, _ or \ alone"),
        ("width > 1.5", "'1.5' is no whole number"),
        ("width > 1e400", "'1e400' is no whole number"),
        ("width > " + "9" * 1000, "is no whole number of at most 19 digits"),
        ("bytes > 9999999999999999999", "is more than bytes can be, which is at most 9223372036854775807"),
        ("width between 0 and 3000000000", "3000000000 is more than width can be, which is at most 2147483647"),
        ("path = '\ud800'", "half of a surrogate pair"),
        ("\ud800 = 1", r"'\ud800' is not known here"),
        ("\x1b[31m = 1", r"'\x1b' is not known here"),
        ("width = 1 " * 500, f"The filter has 5000 characters. Give at most {LENGTH}."),
        ("(" * 1000 + "width = 1" + ")" * 1000, f"more than {DEPTH} deep"),
        ("not " * 900 + "width = 1", f"more than {DEPTH} deep"),
        ("not (" * 40 + "width = 1" + ")" * 40, f"more than {DEPTH} deep"),
        (" or ".join(["width=1"] * 101), "more than 100 comparisons"),
        (f"width in ({','.join('1' * (MEMBERS + 1))})", f"more than {MEMBERS} members"),
        (" or ".join(["path like 'a'"] * (PATTERNS + 1)), f"more than {PATTERNS} patterns"),
        (f"path like '{'_%' * WILDCARDS}'", f"more than {WILDCARDS} wildcards"),
    ],
)
def test_what_a_filter_may_not_hold_is_refused_in_one_line(where, told):
    start = time.process_time()
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        Query("a dog", where=where)
    assert time.process_time() - start < 1  # takes milliseconds; a stack of NOTs took the engine half a minute
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "where",
    [
        "(" * DEPTH + "width = 1" + ")" * DEPTH,
        "not (width = 2 or " * (DEPTH // 2) + "width = 1" + ")" * (DEPTH // 2),
        " or ".join(["width = 1"] * COMPARISONS),
        "path in (" + ", ".join(["'a'"] * MEMBERS) + ")",
        " or ".join([f"path like '{'_%' * (WILDCARDS // PATTERNS // 2)}'"] * PATTERNS),
        "path = '\0'",
        "bytes <= 9223372036854775807 and width >= -2147483647",
    ],
)
def test_the_largest_filters_are_answered(table, where):
    assert isinstance(passing(table, where), list)


def test_a_filter_is_written_anew():
    assert sql_of("NOT(Width>3 or\n`path`LIKE'it''s;%')") == "width <= 3 AND path NOT LIKE 'it''s;%'"
    assert sql_of(" ") == ""


def test_a_message_quotes_forty_characters_and_no_more():
    with pytest.raises(ValueError, match=f"there is no column '{'a' * 40}'"):
        sql_of("a" * 40 + " = 1")
    with pytest.raises(ValueError, match=rf"there is no column '{'a' * 40}\.\.\.'"):
        sql_of("a" * 41 + " = 1")
