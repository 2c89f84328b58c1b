"""The parts of a decomposed expression: factors, terms, addends."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.ir.cascade import Call, Expr
from dataflow.ir.expr import call
from dataflow.ir.printing import format_expr


@dataclass(frozen=True)
class Stream:
    """A factor free of reductions; in the denominator when ``inverse``."""

    expr: Expr
    inverse: bool = False


@dataclass(frozen=True)
class Part:
    """``sign * num / den * node`` inside a sum; ``node`` is a reduction with a running value.

    Inside a shift (``linear``) differences of the node are multiplied, inside an exponential
    they are exponents.
    """

    sign: int
    num: tuple[Expr, ...]
    den: tuple[Expr, ...]
    node: Expr
    linear: bool


@dataclass(frozen=True)
class Exp:
    """A factor ``exp``; ``tree`` is the call, in which the nodes of ``parts`` occur."""

    tree: Expr
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Shift:
    """A factor ``streamed + parts``; ``tree`` is the sum, in which the nodes occur."""

    tree: Expr
    parts: tuple[Part, ...]


Factor = Stream | Exp | Shift


@dataclass(frozen=True)
class Term:
    """A signed product. ``num`` and ``den`` do not change with m.

    ``masks`` are streamed conditions: where one does not hold (or holds, if False is beside it)
    the term is 0. ``guards`` are sums whose NaN turns the whole contribution into 0.
    """

    sign: int = 1
    factors: tuple[Factor, ...] = ()
    masks: tuple[tuple[Expr, bool], ...] = ()
    num: tuple[Expr, ...] = ()
    den: tuple[Expr, ...] = ()
    guards: tuple[tuple[Term, ...], ...] = ()

    def times(self, other: Term) -> Term:
        """The product."""
        return Term(
            self.sign * other.sign,
            self.factors + other.factors,
            self.masks + other.masks,
            self.num + other.num,
            self.den + other.den,
            self.guards + other.guards,
        )


@dataclass(frozen=True)
class Addend:
    """``sign * num / den * atom`` in a sum; num and den do not change with m."""

    sign: int
    num: tuple[Expr, ...]
    den: tuple[Expr, ...]
    atom: Expr

    def expr(self) -> Expr:
        """The addend without its sign."""
        return product([self.atom, *self.num], self.den)


def product(factors: list[Expr], den: tuple[Expr, ...] = ()) -> Expr:
    """``f1 * f2 * ... / d1 / d2``; there is at least one factor."""
    result = factors[0]
    for factor in factors[1:]:
        result = call("mul", result, factor)
    for divisor in den:
        result = call("div", result, divisor)
    return result


def replaced(expr: Expr, values: dict[Expr, Expr]) -> Expr:
    """The expression with whole subexpressions replaced."""
    if expr in values:
        return values[expr]
    if isinstance(expr, Call):
        return Call(expr.op, tuple(replaced(a, values) for a in expr.args))
    return expr


def shown(expr: Expr) -> str:
    """An expression for a message, shortened."""
    text = format_expr(expr)
    return text if len(text) <= 80 else f"{text[:77]}..."
