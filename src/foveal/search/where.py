"""Filters over an index's columns: a closed grammar, and the SQL that the engine gets instead of the user's text.

    filter     = conjunction {OR conjunction}
    conjunction = test {AND test}
    test       = NOT test | ( filter ) | comparison
    comparison = value (= | == | <> | != | < | <= | > | >=) value
               | column [NOT] LIKE text | column [NOT] ILIKE text | column [NOT] IN ( literal {, literal} )
               | column [NOT] BETWEEN value AND value | column IS [NOT] NULL
    value      = column | literal
    literal    = whole number | text in single quotes

There are no calls, casts, arithmetic, statements or comments, so a filter costs what a pass over the columns costs.
"""

import re
from typing import NamedTuple

COLUMNS: dict[str, type] = {
    "id": str,
    "path": str,
    "bytes": int,
    "modified": int,
    "hash": str,
    "width": int,
    "height": int,
    "caption": str,
}
"""Columns that a filter may name, and their types."""
LENGTH = 4_000  # characters
DEPTH = 16  # parentheses and NOTs, one in another
COMPARISONS = 100
MEMBERS = 500  # of all lists together
PATTERNS, WILDCARDS = 16, 64  # a pattern takes a pass over every letter of a column
LARGEST = {"width": 2**31 - 1, "height": 2**31 - 1}  # of other columns 2**63 - 1

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*')
      | (?P<number>[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*|"[^"]*"|`[^`]*`)
      | (?P<sign><=|>=|<>|!=|==|[=<>(),])""",
    re.VERBOSE,
)
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_SPELLINGS = {"==": "=", "!=": "<>"}
_WORDS = frozenset({"AND", "OR", "NOT", "LIKE", "ILIKE", "IN", "BETWEEN", "IS", "NULL"})


def sql_of(where: str) -> str:
    """Return the SQL that a filter stands for, written anew; empty for an empty filter.

    NOT is moved inwards to the comparisons, which changes no result, those with NULL included.

    Args:
        where: Such as "width >= 640 and path like 'holiday/%'". Words and columns may be in any case.

    Raises:
        ValueError: If it is anything but this grammar, or too large.
    """
    if len(where) > LENGTH:
        raise ValueError(f"The filter has {len(where)} characters. Give at most {LENGTH}.")
    return _Parser(where).whole() if where.strip() else ""


class _Token(NamedTuple):
    """A piece of a filter: its kind, its text (words and signs in their one spelling) and where it begins."""

    kind: str
    text: str
    start: int


class _Value(NamedTuple):
    """One side of a comparison: its SQL, its type, and the column or the number that it is."""

    sql: str
    type: type
    column: str = ""
    number: int = 0


class _Parser:
    """Reads one filter from left to right."""

    def __init__(self, where: str) -> None:
        self._where, self._place = where, 0
        self._tokens = self._split()
        self._counts = dict.fromkeys(("comparisons", "members", "patterns", "wildcards"), 0)

    def whole(self) -> str:
        sql = self._filter(negated=False, depth=0)
        if self._token.kind != "end":
            raise self._error("AND, OR or the end should stand here, not " + _quoted(self._token.text))
        return sql

    def _split(self) -> list[_Token]:
        tokens, place = [], 0
        while place < len(self._where):
            if self._where[place].isspace():
                place += 1
                continue
            match = _TOKEN.match(self._where, place)
            if match is None:
                rest = self._where[place:]
                complaint = (
                    "a text begins and does not end" if rest[0] == "'" else f"{_quoted(rest[0])} is not known here"
                )
                raise self._error(complaint, place)
            kind, text = str(match.lastgroup), match[0]
            if kind == "name" and text.upper() in _WORDS:
                kind, text = "word", text.upper()
            tokens.append(_Token(kind, _SPELLINGS.get(text, text) if kind == "sign" else text, place))
            place = match.end()
        return [*tokens, _Token("end", "the end", place)]

    @property
    def _token(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        token = self._token
        self._place += 1
        return token

    def _takes(self, *texts: str) -> bool:
        """Step over words or signs if these come next, all of them."""
        tokens = self._tokens[self._place : self._place + len(texts)]
        matches = [token.text for token in tokens if token.kind in ("word", "sign")] == list(texts)
        self._place += len(texts) * matches
        return matches

    def _expect(self, text: str) -> None:
        if not self._takes(text):
            raise self._error(f"{text} should stand here, not {_quoted(self._token.text)}")

    def _filter(self, *, negated: bool, depth: int) -> str:
        parts = [self._conjunction(negated, depth)]
        while self._takes("OR"):
            parts.append(self._conjunction(negated, depth))
        return _joined(parts, "AND" if negated else "OR")

    def _conjunction(self, negated: bool, depth: int) -> str:
        parts = [self._test(negated, depth)]
        while self._takes("AND"):
            parts.append(self._test(negated, depth))
        return _joined(parts, "OR" if negated else "AND")

    def _test(self, negated: bool, depth: int) -> str:
        if depth > DEPTH:
            raise self._error(f"parentheses and NOTs lie one in another more than {DEPTH} deep")
        if self._takes("NOT"):
            return self._test(not negated, depth + 1)
        if self._takes("("):
            sql = self._filter(negated=negated, depth=depth + 1)
            self._expect(")")
            return sql
        return self._comparison(negated)

    def _comparison(self, negated: bool) -> str:
        self._count("comparisons", 1, COMPARISONS)
        start = self._token.start
        left = self._value()
        if self._token.kind == "sign" and self._token.text in _OPPOSITE:
            sign = self._next().text
            right = self._value(left)
            if not (left.column or right.column):
                raise self._error("one side of a comparison is a column", start)
            return f"{left.sql} {_OPPOSITE[sign] if negated else sign} {right.sql}"
        if not left.column:
            raise self._error("one of = <> < <= > >= should stand here, not " + _quoted(self._token.text))
        if self._takes("IS"):
            negated ^= self._takes("NOT")
            self._expect("NULL")
            return f"{left.sql} IS {'NOT ' * negated}NULL"
        negated ^= self._takes("NOT")
        return f"{left.sql} {'NOT ' * negated}{self._range(left)}"

    def _range(self, column: _Value) -> str:
        """Read what follows a column, and NOT, if it is no sign."""
        if self._takes("BETWEEN"):
            low = self._value(column).sql
            self._expect("AND")
            return f"BETWEEN {low} AND {self._value(column).sql}"
        if self._takes("IN"):
            return f"IN ({', '.join(self._members(column))})"
        for word in ("LIKE", "ILIKE"):
            if self._takes(word):
                return f"{word} {self._pattern(column)}"
        raise self._error("a comparison should stand here, not " + _quoted(self._token.text))

    def _members(self, column: _Value) -> list[str]:
        self._expect("(")
        members = [self._literal(column)]
        while self._takes(","):
            members.append(self._literal(column))
        self._expect(")")
        self._count("members", len(members), MEMBERS)
        return members

    def _literal(self, column: _Value) -> str:
        start, value = self._token.start, self._value(column)
        if value.column:
            raise self._error("a number or a text should stand here, no column", start)
        return value.sql

    def _pattern(self, column: _Value) -> str:
        start, sql = self._token.start, self._literal(column)
        if column.type is not str:
            raise self._error(f"{column.column} holds whole numbers, which have no patterns", start)
        wildcards = re.sub(r"\\[\\%_]", "", sql)
        if "\\" in wildcards:
            raise self._error(r"in a pattern \ stands before %, _ or \ alone", start)
        self._count("patterns", 1, PATTERNS)
        self._count("wildcards", len(re.findall("[%_]", wildcards)), WILDCARDS)
        return sql

    def _value(self, operand: _Value | None = None) -> _Value:
        """Read a column, a number or a text, of the type of the operand that it is compared with."""
        token = self._next()
        if token.kind == "text":
            value = self._text(token)
        elif token.kind == "number":
            value = self._number(token)
        elif token.kind == "name":
            value = self._column(token)
        else:
            raise self._error(f"a column, a number or a text should stand here, not {_quoted(token.text)}", token.start)
        if operand is not None:
            self._check_types(operand, value, token.start)
        return value

    def _text(self, token: _Token) -> _Value:
        try:
            token.text.encode()
        except UnicodeEncodeError as error:
            complaint = "a text holds half of a surrogate pair, which is no character"
            raise self._error(complaint, token.start) from error
        return _Value(token.text, str)

    def _number(self, token: _Token) -> _Value:
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", token.text):
            raise self._error(f"{_quoted(token.text)} is no whole number of at most 19 digits", token.start)
        return _Value(str(int(token.text)), int, number=int(token.text))

    def _column(self, token: _Token) -> _Value:
        name = token.text.strip('"`').lower()
        if self._token.text == "(":
            raise self._error(f"{_quoted(token.text)} is called, and there are no functions", token.start)
        if name not in COLUMNS:
            raise self._error(f"there is no column {_quoted(token.text)}", token.start)
        return _Value(name, COLUMNS[name], column=name)

    def _check_types(self, left: _Value, right: _Value, start: int) -> None:
        if left.type is not right.type:
            column = left.column or right.column
            kind = "whole numbers" if column and COLUMNS[column] is int else "texts"
            raise self._error(f"{column} holds {kind}" if column else "a number is compared with a text", start)
        for column, number in ((left.column, right.number), (right.column, left.number)):
            if column and abs(number) > (most := LARGEST.get(column, 2**63 - 1)):
                raise self._error(f"{number} is more than {column} can be, which is at most {most}", start)

    def _count(self, unit: str, more: int, most: int) -> None:
        self._counts[unit] += more
        if self._counts[unit] > most:
            raise self._error(f"it has more than {most} {unit}")

    def _error(self, complaint: str, place: int | None = None) -> ValueError:
        place = self._token.start if place is None else place
        return ValueError(
            f"The filter is refused at character {place + 1}: {complaint}. A filter compares the columns"
            f" {', '.join(COLUMNS)} with whole numbers and 'texts' by = <> < <= > >=, LIKE, ILIKE, IN, BETWEEN and"
            " IS NULL, joined by AND, OR, NOT and parentheses."
        )


def _joined(parts: list[str], word: str) -> str:
    """Join parts with a word between them; alternatives in parentheses, as AND binds closer."""
    joined = f" {word} ".join(parts)
    return f"({joined})" if word == "OR" and len(parts) > 1 else joined


def _quoted(text: str) -> str:
    """Return a piece of a filter for a message: short, and without anything that a terminal obeys."""
    return ascii(text if len(text) <= 40 else text[:40] + "...")
