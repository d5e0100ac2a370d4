"""Conditions of the mapping language: parsed once, compiled to closures over paths. For `compile`.

`=`, `in` and `like` hold when *some* value of the path fits; `!=` and
`not in` are their exact opposites, so they hold for a missing value.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

GRAMMAR = """
condition  = both { "or" both }
both       = test { "and" test }
test       = "not" test | "(" condition ")" | path [ comparison ]
comparison = ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) literal
           | [ "not" ] "in" "(" literal { "," literal } ")"
           | [ "not" ] "like" text
           | "is" ( "present" | "missing" | "null" | "empty" )
literal    = text | number
text       = "'" characters "'"
"""

Test = Callable[[Any, Any], bool]
Values = Callable[[Any, Any], list[str]]
"""(run, scope) -> the texts a path yields there."""


def as_it_is(test: Test) -> Test:
    """The test itself."""
    return test


@dataclass(frozen=True, slots=True)
class Operand:
    """What a compiled path offers a condition."""

    values: Values
    present: Callable[[Any, Any], bool]
    null: Callable[[Any, Any], bool]
    missing: Callable[[Any, Any], bool]
    quicken: Callable[[Test], Test] = as_it_is
    """Makes a test of this path alone cheaper, where the source knows how."""


class ConditionError(ValueError):
    """A condition that does not parse; `offset` is where, from 0."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


_WORDS = {"and", "or", "not", "in", "like", "is", "present", "missing", "null", "empty"}
_OPERATORS = ("!=", "<=", ">=", "=", "<", ">")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


def tokens(text: str) -> list[_Token]:
    """Cut a condition into words, operators, literals and paths (whose brackets may hold anything)."""
    out: list[_Token] = []
    i = 0
    while i < len(text):
        c = text[i]
        if c.isspace():
            i += 1
            continue
        operator = next((o for o in _OPERATORS if text.startswith(o, i)), None)
        if c in "(),":
            out.append(_Token(c, c, i))
            i += 1
        elif c == "'":
            end = text.find("'", i + 1)
            if end < 0:
                raise ConditionError("a text literal is not closed", i)
            out.append(_Token("text", text[i + 1 : end], i))
            i = end + 1
        elif operator:
            out.append(_Token("op", operator, i))
            i += len(operator)
        else:
            end = _operand_end(text, i)
            word = text[i:end]
            kind = "word" if word in _WORDS else "number" if _NUMBER.fullmatch(word) else "path"
            out.append(_Token(kind, word, i))
            i = end
    return out


def paths_in(text: str) -> list[str]:
    """The paths a condition looks at, each once; none of a condition that cannot be read."""
    try:
        return list(dict.fromkeys(t.text for t in tokens(text) if t.kind == "path"))
    except ConditionError:
        return []


_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def _operand_end(text: str, start: int) -> int:
    depth, quoted, i = 0, False, start
    while i < len(text):
        c = text[i]
        if quoted:
            quoted = c != "'"
        elif c == "'":
            quoted = True
        elif c in "[(":
            depth += 1
        elif c in "])":
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and (c.isspace() or c in "=<>!,"):
            break
        i += 1
    if depth or quoted:
        raise ConditionError("a bracket or quote is not closed", start)
    return i


def compile_condition(text: str, operand: Callable[[str, int], Operand]) -> Test:
    """`text` as a closure; `operand(path, offset)` compiles the paths in it. Raises ConditionError."""
    parser = _Parser(text, tokens(text), operand)
    test = parser.either()
    if parser.peek() is not None:
        raise ConditionError("unexpected text after the condition", parser.offset())
    return test


class _Parser:
    def __init__(
        self, text: str, toks: list[_Token], operand: Callable[[str, int], Operand]
    ) -> None:
        self.text = text
        self.toks = toks
        self.i = 0
        self.operand = operand

    def peek(self) -> _Token | None:
        return self.toks[self.i] if self.i < len(self.toks) else None

    def offset(self) -> int:
        token = self.peek()
        return token.offset if token else len(self.text)

    def take(self, kind: str, text: str = "") -> _Token | None:
        token = self.peek()
        if token is None or token.kind != kind or (text and token.text != text):
            return None
        self.i += 1
        return token

    def need(self, kind: str, what: str) -> _Token:
        token = self.take(kind)
        if token is None:
            raise ConditionError(f"expected {what}", self.offset())
        return token

    def either(self) -> Test:
        tests = [self.both()]
        while self.take("word", "or"):
            tests.append(self.both())
        return _any(tests)

    def both(self) -> Test:
        tests = [self.test()]
        while self.take("word", "and"):
            tests.append(self.test())
        return _every(tests)

    def test(self) -> Test:
        if self.take("word", "not"):
            inner = self.test()
            return lambda run, scope: not inner(run, scope)
        if self.take("("):
            inner = self.either()
            self.need(")", "')'")
            return inner
        path = self.need("path", "a path")
        left = self.operand(path.text, path.offset)
        return left.quicken(self.comparison(left))

    def comparison(self, left: Operand) -> Test:
        if self.take("word", "is"):
            return self._is(left)
        negated = self.take("word", "not") is not None
        if self.take("word", "in"):
            if negated:
                return _not_among(left.values, self._list())
            test = _among(left.values, self._list())
        elif self.take("word", "like"):
            test = _like(left.values, self.need("text", "a text in quotes").text)
        elif negated:
            raise ConditionError("expected 'in' or 'like' after 'not'", self.offset())
        elif (op := self.take("op")) is not None:
            return self._compare(left, op.text)
        else:
            return left.present
        return (lambda run, scope: not test(run, scope)) if negated else test

    def _is(self, left: Operand) -> Test:
        word = self.need("word", "present, missing, null or empty").text
        present, null = left.present, left.null
        if word == "present":
            return present
        if word == "null":
            return null
        if word == "missing":
            return left.missing
        if word == "empty":
            return lambda run, scope: not present(run, scope)
        raise ConditionError(
            "expected present, missing, null or empty", self.toks[self.i - 1].offset
        )

    def _list(self) -> frozenset[str]:
        self.need("(", "'('")
        values = {self._literal()}
        while self.take(","):
            values.add(self._literal())
        self.need(")", "')'")
        return frozenset(values)

    def _literal(self) -> str:
        token = self.take("text") or self.take("number")
        if token is None:
            raise ConditionError("expected a text in quotes or a number", self.offset())
        return token.text

    def _compare(self, left: Operand, op: str) -> Test:
        token = self.peek()
        literal = self._literal()
        values = left.values
        if op == "=":
            return _among(values, frozenset({literal}))
        if op == "!=":
            return _not_among(values, frozenset({literal}))
        if token is not None and token.kind == "number":
            return _numeric(values, op, float(literal))
        compare = _ORDER[op]
        return lambda run, scope: any(compare(value, literal) for value in values(run, scope))


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _any(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def either(run: Any, scope: Any) -> bool:
        for test in tests:  # noqa: SIM110 - half the cost of any() where most time goes
            if test(run, scope):
                return True
        return False

    return either


def _every(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def both(run: Any, scope: Any) -> bool:
        for test in tests:  # noqa: SIM110 - half the cost of all() where most time goes
            if not test(run, scope):
                return False
        return True

    return both


def _among(values: Values, wanted: frozenset[str]) -> Test:
    return lambda run, scope: not wanted.isdisjoint(values(run, scope))


def _not_among(values: Values, unwanted: frozenset[str]) -> Test:
    return lambda run, scope: unwanted.isdisjoint(values(run, scope))


def _like(values: Values, pattern: str) -> Test:
    escaped = pattern.replace("[", "[[]")
    match = re.compile(fnmatch.translate(escaped)).match
    return lambda run, scope: any(match(value) for value in values(run, scope))


def _numeric(values: Values, op: str, literal: float) -> Test:
    compare = _ORDER[op]

    def test(run: Any, scope: Any) -> bool:
        for value in values(run, scope):
            try:
                number = float(value)
            except ValueError:
                continue
            if compare(number, literal):
                return True
        return False

    return test
