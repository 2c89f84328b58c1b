"""Sums of products: how a map expression depends on reductions over the rank it walks.

With m the rank variable that is walked, a part of an expression is *streamed* when it changes
with m, and *reduced* when it is computed from reductions over m. `split` writes an expression as
a sum of terms; a term is a product of

* streamed factors, free of reductions,
* exponentials ``exp(s + sum of c*R)``, with s streamed and R a reduction with a running value,
* shifts ``s + sum of c*R``, likewise, and
* factors that do not change with m. These leave the reduction (deferral).

The last kind may hold any function of reductions. The middle two are what a running
reduction corrects when R moves on: ``exp(c*(R' - R))`` times the old, or binomially. What cannot
be written this way raises NotDecomposableError with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from dataflow.ir.cascade import Access, Call, Const, Expr
from dataflow.ir.dtype import DType
from dataflow.ir.expr import call
from dataflow.rewrite.carried.network import NotDecomposableError
from dataflow.rewrite.carried.terms import Addend, Exp, Part, Shift, Stream, Term, shown

MAX_POWER = 4
"""Largest integer power that is multiplied out."""


class Algebra:
    """Decomposition of expressions of one reduction.

    Args:
        streamed: whether an expression changes with m.
        reduced: whether it depends on reductions over m of the group.
        located: whether an expression that does not change with m is a multiple of a reduction
            with a running value (a maximum, a mean).
        unfold: an expression with one more level of pointwise producers written out, or None.
        bare: whether ``exp`` of a streamed expression is already summed without correction.
        dtype: type of the literals that are made.
    """

    def __init__(
        self,
        streamed: Callable[[Expr], bool],
        reduced: Callable[[Expr], bool],
        located: Callable[[Expr], bool],
        unfold: Callable[[Expr], Expr | None],
        bare: Callable[[Expr], bool],
        dtype: DType,
    ) -> None:
        self.streamed = streamed
        self.reduced = reduced
        self.located = located
        self.unfold = unfold
        self.bare = bare
        self.dtype = dtype

    # Sums inside exponentials and shifts

    def addends(self, expr: Expr) -> list[Addend]:
        """The expression as a sum; addends that change with m and with reductions stay whole."""
        if not self.streamed(expr):
            return self._reduced_addends(expr)
        if not self.reduced(expr):
            return [Addend(1, (), (), expr)]
        if isinstance(expr, Call):
            args = expr.args
            if expr.op in ("add", "sub"):
                sign = 1 if expr.op == "add" else -1
                return self.addends(args[0]) + _scaled(self.addends(args[1]), sign)
            if expr.op == "neg":
                return _scaled(self.addends(args[0]), -1)
            if expr.op == "mul" and not self._varies(args[0]):
                return _scaled(self.addends(args[1]), 1, (args[0],))
            if expr.op == "mul" and not self._varies(args[1]):
                return _scaled(self.addends(args[0]), 1, (args[1],))
            if expr.op == "div" and not self._varies(args[1]):
                return _scaled(self.addends(args[0]), 1, (), (args[1],))
            if expr.op == "fma":
                return self.addends(call("add", call("mul", args[0], args[1]), args[2]))
            if expr.op in ("f32", "f64"):
                return self.addends(args[0])
        return [Addend(1, (), (), expr)]

    def _reduced_addends(self, expr: Expr) -> list[Addend]:
        """A sum that does not change with m, taken apart as far as running values need it."""
        whole = [Addend(1, (), (), expr)]
        if not self.reduced(expr) or self.located(expr):
            return whole
        if isinstance(expr, Call) and expr.op in ("add", "sub"):
            sign = 1 if expr.op == "add" else -1
            left = self._reduced_addends(expr.args[0])
            return left + _scaled(self._reduced_addends(expr.args[1]), sign)
        if isinstance(expr, Call) and expr.op == "neg":
            return _scaled(self._reduced_addends(expr.args[0]), -1)
        if isinstance(expr, Call) and expr.op == "mul":
            for factor, rest in (expr.args, expr.args[::-1]):
                if not self.reduced(factor):
                    return _scaled(self._reduced_addends(rest), 1, (factor,))
        if isinstance(expr, Call) and expr.op == "div" and not self.reduced(expr.args[1]):
            return _scaled(self._reduced_addends(expr.args[0]), 1, (), (expr.args[1],))
        if isinstance(expr, Access):
            opened = self.unfold(expr)
            parts = [] if opened is None else self._reduced_addends(opened)
            if any(self.located(p.atom) for p in parts):
                return parts
        return whole

    def _varies(self, expr: Expr) -> bool:
        return self.streamed(expr) or self.reduced(expr)

    def _sorted(self, expr: Expr) -> tuple[list[Addend], list[Addend], list[Addend], list[Addend]]:
        """Addends by kind: streamed (or constant), located, other reduced ones, mixed."""
        plain: list[Addend] = []
        located: list[Addend] = []
        other: list[Addend] = []
        mixed: list[Addend] = []
        for addend in self.addends(expr):
            if not self.reduced(addend.atom):
                plain.append(addend)
            elif self.streamed(addend.atom):
                mixed.append(addend)
            else:
                (located if self.located(addend.atom) else other).append(addend)
        return plain, located, other, mixed

    # Products

    def split(self, expr: Expr) -> list[Term]:
        """The expression as a sum of terms."""
        if not self.streamed(expr):
            return [Term(num=(expr,))]
        if not self.reduced(expr):
            return [Term(factors=(Stream(expr),))]
        assert isinstance(expr, Call)
        op, args = expr.op, expr.args
        if op == "mul":
            right = self.split(args[1])
            return [a.times(b) for a in self.split(args[0]) for b in right]
        if op == "fma":
            return self.split(call("add", call("mul", args[0], args[1]), args[2]))
        if op == "div":
            return self._quotient(expr)
        if op in ("add", "sub"):
            return self._sum(expr)
        if op == "neg":
            return [replace(t, sign=-t.sign) for t in self.split(args[0])]
        if op in ("exp", "sub_exp"):
            return self._exponential(expr)
        if op == "pow":
            return self._power(expr)
        if op == "where":
            return self._selection(expr)
        if op == "log":
            return self._logarithm(expr)
        if op in ("f32", "f64"):
            return self.split(args[0])
        raise NotDecomposableError(
            f"{op} in {shown(expr)} is no sum, product, quotient or exponential"
        )

    def _quotient(self, expr: Call) -> list[Term]:
        top, bottom = expr.args
        if not self.streamed(bottom):
            return [replace(t, den=(*t.den, bottom)) for t in self.split(top)]
        below = self.split(bottom)
        if len(below) != 1 or not all(isinstance(f, Stream) for f in below[0].factors):
            raise NotDecomposableError(
                f"the divisor of {shown(expr)} mixes elements of the rank with a reduction over it"
            )
        (only,) = below
        flipped = Term(
            only.sign,
            tuple(Stream(f.expr, not f.inverse) for f in only.factors if isinstance(f, Stream)),
            num=only.den,
            den=only.num,
        )
        if only.masks or only.guards:
            raise NotDecomposableError(f"the divisor of {shown(expr)} is conditional")
        return [t.times(flipped) for t in self.split(top)]

    def _sum(self, expr: Call) -> list[Term]:
        plain, located, other, mixed = self._sorted(expr)
        if mixed or not located or not any(self.streamed(a.atom) for a in plain):
            right = self.split(expr.args[1])
            if expr.op == "sub":
                right = [replace(t, sign=-t.sign) for t in right]
            return self.split(expr.args[0]) + right
        parts = tuple(Part(a.sign, a.num, a.den, a.atom, True) for a in located)
        tree = expr if not other else _summed(plain + located)
        rest = [Term(a.sign, num=(a.atom, *a.num), den=a.den) for a in other]
        return [Term(factors=(Shift(tree, parts),)), *rest]

    def _exponential(self, expr: Call) -> list[Term]:
        exponent = expr.args[0] if expr.op == "exp" else call("sub", *expr.args)
        assert isinstance(exponent, Call)
        if exponent.op == "where" and not self.reduced(exponent.args[0]):
            branches = [_exp(a) for a in exponent.args[1:]]
            return self.split(call("where", exponent.args[0], *branches))
        plain, located, other, mixed = self._sorted(exponent)
        if mixed:
            raise NotDecomposableError(
                f"the exponent {shown(mixed[0].expr())} multiplies elements of the rank with a "
                "reduction over it"
            )
        num = tuple(call("exp", a.expr()) for a in other if a.sign > 0)
        den = tuple(call("exp", a.expr()) for a in other if a.sign < 0)
        if not located:
            stream = call("exp", _summed(plain))
            if not self.bare(stream):
                raise NotDecomposableError(
                    f"{shown(expr)} would overflow without the reduction in its exponent, which "
                    "has no running value"
                )
            return [Term(factors=(Stream(stream),), num=num, den=den)]
        parts = tuple(Part(a.sign, a.num, a.den, a.atom, False) for a in located)
        tree: Expr = expr if not other else call("exp", _summed(plain + located))
        return [Term(factors=(Exp(tree, parts),), num=num, den=den)]

    def _power(self, expr: Call) -> list[Term]:
        base, exponent = expr.args
        value = exponent.value if isinstance(exponent, Const) else None
        if value is None or value != int(value) or not 1 <= value <= MAX_POWER:
            raise NotDecomposableError(f"the power in {shown(expr)} is not 1 to {MAX_POWER}")
        terms = self.split(base)
        result = terms
        for _ in range(int(value) - 1):
            result = [a.times(b) for a in result for b in terms]
        return result

    def _selection(self, expr: Call) -> list[Term]:
        condition, then, otherwise = expr.args
        if self.reduced(condition):
            guarded = (
                isinstance(condition, Call)
                and condition.op == "isnan"
                and condition.args[0] == otherwise
                and isinstance(then, Const)
                and then.value == 0
            )
            if not guarded:
                raise NotDecomposableError(
                    f"the condition {shown(condition)} depends on a reduction over the rank"
                )
            # NaN at one element of the rank only if at all: it comes from the reductions.
            terms = tuple(self.split(otherwise))
            return [replace(t, guards=(*t.guards, terms)) for t in terms]
        if not self.streamed(condition):
            zero = Const(0.0, self.dtype)
            picks = (
                (call("where", condition, _one(zero), zero), then),
                (
                    call("where", condition, zero, _one(zero)),
                    otherwise,
                ),
            )
            return [
                replace(t, num=(*t.num, pick))
                for pick, branch in picks
                if not _is_zero(branch)
                for t in self.split(branch)
            ]
        result = []
        for branch, holds in ((then, True), (otherwise, False)):
            if not _is_zero(branch):
                mask = (condition, holds)
                result += [replace(t, masks=(*t.masks, mask)) for t in self.split(branch)]
        return result

    def _logarithm(self, expr: Call) -> list[Term]:
        terms = self.split(expr.args[0])
        only = terms[0]
        if len(terms) != 1 or only.sign < 0 or only.masks or only.guards:
            raise NotDecomposableError(f"{shown(expr)} is the logarithm of a sum")
        result: list[Term] = []
        for factor in only.factors:
            if isinstance(factor, Shift):
                raise NotDecomposableError(f"{shown(expr)} is the logarithm of a sum")
            if isinstance(factor, Exp):
                assert isinstance(factor.tree, Call)
                inner = factor.tree.args
                result += self.split(inner[0] if len(inner) == 1 else call("sub", *inner))
            else:
                sign = -1 if factor.inverse else 1
                result.append(Term(sign, (Stream(call("log", factor.expr)),)))
        result += [Term(num=(call("log", e),)) for e in only.num]
        result += [Term(-1, num=(call("log", e),)) for e in only.den]
        return result


def _scaled(
    addends: list[Addend], sign: int, num: tuple[Expr, ...] = (), den: tuple[Expr, ...] = ()
) -> list[Addend]:
    return [Addend(a.sign * sign, a.num + num, a.den + den, a.atom) for a in addends]


def _summed(addends: list[Addend]) -> Expr:
    """The sum as an expression, a positive addend first where there is one."""
    ordered = sorted(addends, key=lambda a: a.sign < 0)
    first = ordered[0]
    total = first.expr() if first.sign > 0 else call("neg", first.expr())
    for addend in ordered[1:]:
        total = call("add" if addend.sign > 0 else "sub", total, addend.expr())
    return total


def _exp(expr: Expr) -> Expr:
    if isinstance(expr, Const) and expr.value == -inf:
        return Const(0.0, expr.dtype)
    return call("exp", expr)


def _is_zero(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.value == 0


def _one(like: Const) -> Const:
    return Const(1.0, like.dtype)
