"""Statements of the text form: ``Y[b, n] = X[b, c] * W[c, n] :: add(c)``.

Grammar (``#`` starts a comment)::

    statement  = access "=" expression [ "::" reduction ]
    reduction  = name "(" variable {"," variable} [ "->" variable ] ")" [order] [ "from" name ]
    order      = "sequential" | "tree" "(" integer ")"
    expression = term { ("+" | "-") term }
    term       = factor { ("*" | "/") factor }
    factor     = number | "-" factor | "(" expression ")" | access | name "(" expression {","} ")"
    access     = name [ "[" index {"," index} "]" ]

An index is affine in lower-case rank variables; an upper-case rank stands for its size, and so it
does in an expression where no tensor has its name (``S[p] / M``). One term of an index
may be an expression in braces, a data-dependent index: ``X[{I[i]} + 1, d]``. ``index(2*m)`` in an
expression is the value of an index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Iteration, Reduction
from dataflow.ir.dtype import F32, F64, S32
from dataflow.ir.expr import Access, Call, Const, Expr, Index
from dataflow.ir.ops import INFIX, OPS, REDUCERS, SELECTORS

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<symbol>::|->|>=|[-+*/=()\[\]{},:]))"
)
DEPTH = 64
CHAIN = 100
DIGITS = 40
"""Deepest nesting of an expression."""


class StatementError(Exception):
    """A statement that does not parse: column (from 1), what is wrong, how to fix it."""

    def __init__(self, column: int, what: str, fix: str) -> None:
        super().__init__(what)
        self.column = column
        self.what = what
        self.fix = fix


@dataclass(frozen=True)
class Statement:
    """A parsed statement; ``reduce`` is set when the reduction is written out."""

    output: Access
    expr: Expr
    reduce: Reduction | None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def parse_statement(text: str, sizes: Mapping[str, int]) -> Statement:
    """One statement; ``sizes`` gives the rank sizes. Raises StatementError."""
    parser = _Parser(_tokens(text), sizes)
    output = parser.access()
    parser.expect("=")
    expr = parser.expression(0)
    reduce = parser.reduction()
    parser.end()
    return Statement(output, expr, reduce)


def parse_loop(text: str, sizes: Mapping[str, int]) -> Iteration:
    """``iterate t from 0 until t >= T:``, the head of a loop. Raises StatementError."""
    parser = _Parser(_tokens(text), sizes)
    parser.word("iterate")
    column = parser.now.column
    variable = parser.name()
    if variable != variable.lower() or variable.upper() not in sizes:
        raise StatementError(column, f"rank {variable.upper()!r} has no size", "add it to 'shapes'")
    parser.word("from")
    start = parser.index(0)
    parser.word("until")
    parser.word(variable)
    parser.expect(">=")
    column = parser.now.column
    stop = parser.index(0)
    parser.expect(":")
    parser.end()
    if start.terms or stop.terms:
        raise StatementError(column, "the end is not constant", "use sizes of ranks")
    return Iteration(variable, start.offset, stop.offset)


def parse_index(text: str, sizes: Mapping[str, int]) -> Affine:
    """One affine index. Raises StatementError."""
    parser = _Parser(_tokens(text), sizes)
    index = parser.index(0)
    parser.end()
    return index


def _tokens(text: str) -> list[_Token]:
    text = text.split("#", 1)[0].rstrip()
    tokens, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None or match.end() == position:
            column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
            raise StatementError(column, f"unexpected {text[column - 1]!r}", "remove it")
        kind = match.lastgroup or "symbol"
        tokens.append(_Token(kind, match.group(kind), match.start(kind) + 1))
        position = match.end()
    tokens.append(_Token("end", "end of the line", len(text) + 1))
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], sizes: Mapping[str, int]) -> None:
        self.tokens = tokens
        self.position = 0
        self.sizes = sizes

    @property
    def now(self) -> _Token:
        return self.tokens[self.position]

    def error(self, what: str, fix: str) -> StatementError:
        return StatementError(self.now.column, what, fix)

    def next(self) -> _Token:
        token = self.now
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def at(self, text: str) -> bool:
        return self.now.kind == "symbol" and self.now.text == text

    def take(self, text: str) -> bool:
        if self.at(text):
            self.next()
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.error(f"expected {text!r}, found {self.now.text!r}", f"insert {text!r}")

    def name(self) -> str:
        if self.now.kind != "name":
            raise self.error(f"expected a name, found {self.now.text!r}", "insert a name")
        return self.next().text

    def word(self, text: str) -> None:
        if self.now.kind != "name" or self.now.text != text:
            raise self.error(f"expected {text!r}, found {self.now.text!r}", f"insert {text!r}")
        self.next()

    def end(self) -> None:
        if self.now.kind != "end":
            raise self.error(f"unexpected {self.now.text!r}", "write one statement a line")

    def access(self) -> Access:
        tensor = self.name()
        indices: list[Affine] = []
        indirect: list[tuple[int, Expr]] = []
        if self.take("["):
            while not self.at("]"):
                if self.take("{"):
                    indirect.append((len(indices), self.expression(1)))
                    self.expect("}")
                    more = self.at("+") or self.at("-")
                    if self.at("+"):
                        self.next()
                    indices.append(self.index(0) if more else Affine())
                else:
                    indices.append(self.index(0))
                if not self.take(","):
                    break
            self.expect("]")
        return Access(tensor, tuple(indices), tuple(indirect))

    def index(self, depth: int) -> Affine:
        self.shallow(depth)
        negative = self.take("-")
        total = self.product(depth)
        total = total * -1 if negative else total
        while self.at("+") or self.at("-"):
            sign = -1 if self.next().text == "-" else 1
            total = total + self.product(depth) * sign
        return total

    def product(self, depth: int) -> Affine:
        left = self.atom(depth)
        while self.at("*"):
            column = self.next().column
            right = self.atom(depth)
            if left.terms and right.terms:
                raise StatementError(column, "the index is not affine", "multiply by a constant")
            left = left * right.offset if left.terms else right * left.offset
        return left

    def atom(self, depth: int) -> Affine:
        if self.take("("):
            inner = self.index(depth + 1)
            self.expect(")")
            return inner
        if self.now.kind == "number":
            token = self.next()
            if not token.text.isdigit() or len(token.text) > DIGITS:
                raise StatementError(token.column, "the index is no integer", "use an integer")
            return Affine.of(int(token.text))
        token = self.now
        name = self.name()
        if name.upper() not in self.sizes:
            raise StatementError(
                token.column, f"rank {name.upper()!r} has no size", "add it to 'shapes'"
            )
        if name == name.upper() and name != name.lower():
            return Affine.of(self.sizes[name])
        if name != name.lower():
            raise StatementError(
                token.column, f"{name!r} is neither upper nor lower case", "fix its spelling"
            )
        return Affine.of(name)

    def expression(self, depth: int) -> Expr:
        self.shallow(depth)
        left = self.term(depth)
        count = 0
        while self.at("+") or self.at("-"):
            count = self.counted(count)
            op = INFIX[self.next().text]
            left = Call(op, (left, self.term(depth)))
        return left

    def term(self, depth: int) -> Expr:
        left = self.factor(depth)
        count = 0
        while self.at("*") or self.at("/"):
            count = self.counted(count)
            op = INFIX[self.next().text]
            left = Call(op, (left, self.factor(depth)))
        return left

    def factor(self, depth: int) -> Expr:
        self.shallow(depth)
        if self.take("-"):
            inner = self.factor(depth + 1)
            if isinstance(inner, Const):
                return Const(-inner.value, inner.dtype)
            return Call("sub", (Const(0, S32), inner))
        if self.take("("):
            inner = self.expression(depth + 1)
            self.expect(")")
            return inner
        if self.now.kind == "number":
            if len(self.now.text) > DIGITS:
                raise self.error(f"a number of {len(self.now.text)} digits", "write a shorter one")
            return _number(self.next().text)
        following = self.tokens[min(self.position + 1, len(self.tokens) - 1)].text
        if self.now.kind == "name" and self.now.text in ("inf", "nan") and following != "[":
            return Const(float(self.next().text), F32)
        if self.now.kind == "name" and self.now.text == "index" and following == "(":
            self.next()
            self.expect("(")
            inside = self.index(depth + 1)
            self.expect(")")
            return Index(inside)
        if self.now.kind == "name" and following == "(":
            return self.call(depth)
        return self.access()

    def call(self, depth: int) -> Expr:
        token = self.now
        op = self.name()
        if op not in OPS:
            known = ", ".join(sorted(OPS))
            raise StatementError(token.column, f"unknown operator {op!r}", f"use one of {known}")
        self.expect("(")
        args = [self.expression(depth + 1)]
        while self.take(","):
            args.append(self.expression(depth + 1))
        self.expect(")")
        if len(args) != OPS[op].arity:
            raise StatementError(
                token.column, f"{op} takes {OPS[op].arity} arguments, not {len(args)}", "fix it"
            )
        return Call(op, tuple(args))

    def reduction(self) -> Reduction | None:
        if not self.take("::"):
            return None
        token = self.now
        op = self.name()
        fold = op in REDUCERS or (op in OPS and OPS[op].arity == 2)
        if not fold and op not in SELECTORS:
            known = ", ".join(REDUCERS + SELECTORS)
            raise StatementError(token.column, f"unknown reduction {op!r}", f"use one of {known}")
        self.expect("(")
        variables = [self.name()]
        while self.take(","):
            variables.append(self.name())
        into = self.name() if self.take("->") else ""
        self.expect(")")
        order = "any"
        if self.now.kind == "name" and self.now.text != "from":
            order = self.name()
            if order == "tree":
                self.expect("(")
                order = f"tree({self.next().text})"
                self.expect(")")
        base = ""
        if self.now.kind == "name" and self.now.text == "from":
            self.next()
            base = self.name()
        return Reduction(op, tuple(variables), order, base, into)

    def counted(self, count: int) -> int:
        """One operator of a chain more: a chain of n nests n deep."""
        if count == CHAIN:
            raise self.error(f"a chain of more than {CHAIN} operators", "split the statement")
        return count + 1

    def shallow(self, depth: int) -> None:
        if depth > DEPTH:
            raise self.error(f"nested deeper than {DEPTH}", "split the statement")


def _number(text: str) -> Const:
    if text.isdigit():
        return Const(int(text), S32)
    with np.errstate(over="ignore"):
        return Const(float(text), F64)
