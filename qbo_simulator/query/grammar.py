"""The grammar of `/query`, as Intuit documents it and as connectors in production use it.

    SELECT * | property, ... | COUNT(*)  FROM Entity
        [WHERE property operator value [AND ...]]
        [ORDERBY property [ASC | DESC]]
        [STARTPOSITION n] [MAXRESULTS n]           in either order

One entity; no OR, NOT, JOIN or GROUP BY. Operators are `= < > <= >= IN LIKE`. Keywords and names are
case-insensitive; `ORDER BY` is taken for `ORDERBY`. Text, numbers and times stand in single quotes with backslash
escapes, booleans are bare: `Balance > 0` does not parse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

DEFAULT_PAGE = 100
_LARGEST = 2**31 - 1

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|'(?P<text>(?:[^'\\]|\\.)*)'"
    r"|(?P<symbol><=|>=|[=<>(),*])"
    r")",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_KEYWORDS = frozenset(
    ["SELECT", "FROM", "WHERE", "AND", "ORDERBY", "ORDER", "BY", "STARTPOSITION", "MAXRESULTS", "IN", "LIKE"]
)
_OPERATORS = frozenset(["=", "<", ">", "<=", ">=", "IN", "LIKE"])


class QueryFault(Exception):  # noqa: N818 - QuickBooks' own word
    """A statement QuickBooks refuses: `code` 4000 (it does not parse) or 4001 (it parses but is not valid)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Condition:
    """`property operator value`; `values` has several members for IN only. A bare true or false is a bool."""

    property: str
    operator: str
    values: tuple[str | bool, ...]


@dataclass(frozen=True)
class OrderBy:
    property: str
    descending: bool = False


@dataclass(frozen=True)
class Query:
    """A parsed statement. `start` is 1-based; `limit` is None when not given.

    `columns` is empty for `*`, and `also` are the columns named beside it: `SELECT *, Sku` was needed when Sku was left
    out of `*`.
    """

    entity: str
    columns: tuple[str, ...] = ()
    count: bool = False
    conditions: tuple[Condition, ...] = ()
    order: OrderBy | None = None
    start: int = 1
    limit: int | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Token:
    kind: str
    value: str
    column: int
    keyword: str = field(default="")


def _tokens(statement: str) -> list[_Token]:
    tokens = []
    at = 0
    end = len(statement.rstrip())
    while at < end:
        match = _TOKEN.match(statement, at)
        if match is None or match.lastgroup is None:
            at += len(statement[at:]) - len(statement[at:].lstrip())
            raise QueryFault("4000", f'QueryParserError: Encountered "{statement[at]}" at line 1, column {at + 1}.')
        kind = match.lastgroup
        value = match.group(kind)
        keyword = value.upper() if kind == "word" else ""
        tokens.append(_Token(kind, value, match.start(kind) + 1, keyword))
        at = match.end()
    return tokens


class _Parser:
    def __init__(self, statement: str) -> None:
        self._tokens = _tokens(statement)
        self._at = 0
        self._end = _Token("end", "<EOF>", len(statement) + 1)

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else self._end

    def _next(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _refuse(self, token: _Token) -> NoReturn:
        raise QueryFault("4000", f'QueryParserError: Encountered "{token.value}" at line 1, column {token.column}.')

    def _accept(self, keyword: str) -> bool:
        if self._peek().keyword == keyword:
            self._at += 1
            return True
        return False

    def _expect(self, keyword: str) -> None:
        if not self._accept(keyword):
            self._refuse(self._peek())

    def _symbol(self, symbol: str) -> bool:
        token = self._peek()
        if token.kind == "symbol" and token.value == symbol:
            self._at += 1
            return True
        return False

    def _name(self) -> str:
        token = self._next()
        if token.kind != "word" or token.keyword in _KEYWORDS:
            self._refuse(token)
        return token.value

    def parse(self) -> Query:
        self._expect("SELECT")
        count, columns, also = self._columns()
        self._expect("FROM")
        entity = self._name()
        conditions = self._conditions() if self._accept("WHERE") else ()
        order = self._order()
        start, limit = self._paging()
        if self._peek() is not self._end:
            self._refuse(self._peek())
        return Query(entity, columns, count, conditions, order, start, limit, also)

    def _columns(self) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        if self._peek().keyword == "COUNT":
            self._at += 1
            for symbol in "(*)":
                if not self._symbol(symbol):
                    self._refuse(self._peek())
            return True, (), ()
        every = False
        named = []
        while True:
            if self._symbol("*"):
                every = True
            else:
                named.append(self._name())
            if not self._symbol(","):
                return (False, (), tuple(named)) if every else (False, tuple(named), ())

    def _conditions(self) -> tuple[Condition, ...]:
        found = [self._condition()]
        while self._accept("AND"):
            found.append(self._condition())
        return tuple(found)

    def _condition(self) -> Condition:
        name = self._name()
        token = self._next()
        operator = token.keyword or token.value
        if operator not in _OPERATORS or token.kind not in ("word", "symbol"):
            self._refuse(token)
        if operator != "IN":
            return Condition(name, operator, (self._value(),))
        if not self._symbol("("):
            self._refuse(self._peek())
        values = [self._value()]
        while self._symbol(","):
            values.append(self._value())
        if not self._symbol(")"):
            self._refuse(self._peek())
        return Condition(name, operator, tuple(values))

    def _value(self) -> str | bool:
        token = self._next()
        if token.kind == "text":
            return _ESCAPE.sub(r"\1", token.value)
        if token.keyword not in ("TRUE", "FALSE"):
            self._refuse(token)
        return token.keyword == "TRUE"

    def _order(self) -> OrderBy | None:
        if self._accept("ORDER"):
            self._expect("BY")
        elif not self._accept("ORDERBY"):
            return None
        name = self._name()
        if self._accept("DESC"):
            return OrderBy(name, descending=True)
        self._accept("ASC")
        return OrderBy(name)

    def _paging(self) -> tuple[int, int | None]:
        given: dict[str, int] = {}
        while self._peek().keyword in ("STARTPOSITION", "MAXRESULTS"):
            keyword = self._next()
            if keyword.keyword in given:
                self._refuse(keyword)
            number = self._next()
            if number.kind != "number" or not number.value.isdigit():
                self._refuse(number)
            given[keyword.keyword] = int(number.value)
        for value in given.values():
            if value < 1:
                raise QueryFault("4001", f"QueryValidationError: value {value} is too small. Min allowed value is 1")
            if value > _LARGEST:
                raise QueryFault(
                    "4001", f"QueryValidationError: value {value} is too large. Max allowed value is {_LARGEST}"
                )
        return given.get("STARTPOSITION", 1), given.get("MAXRESULTS")


def parse(statement: str) -> Query:
    """What the statement says. QueryFault 4000 when it does not parse, 4001 when a position is out of range."""
    return _Parser(statement).parse()
