"""A group of reductions over one fibre: expressions in terms of the group's own reductions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Const, Einsum, Expr
from dataflow.ir.dtype import DType
from dataflow.ir.expr import accesses, call, substitute, variables
from dataflow.rewrite.carried.algebra import Algebra
from dataflow.rewrite.carried.network import Network, NotDecomposableError, UnrelatedError
from dataflow.rewrite.carried.terms import Shift, Stream, Term

Kind = Literal["extremum", "mean", "ratio"]
"""How a reduction gets a running value."""


@dataclass(frozen=True)
class Member:
    """One reduction of a group.

    Attributes:
        number: position of its Einsum.
        variable: its name for the rank variable that is walked.
        terms: what it sums; for a maximum or minimum one term, scaled and shifted afterwards.
        shift: for a maximum or minimum, what is added after it (does not change with m).
        root: whether it depends on no other member.
        late: reduced variables other than ``variable`` on which something outside of the
            accumulators depends (the mean of each pixel under a window): they stay open until the
            result.
    """

    number: int
    variable: str
    terms: tuple[Term, ...]
    shift: Expr | None
    root: bool
    late: tuple[str, ...] = ()


class Group:
    """Reductions over one fibre, in program order; each may depend on those before it."""

    def __init__(self, network: Network, first: tuple[int, str]) -> None:
        self.network = network
        self.members: list[Member] = []
        self.by_tensor: dict[str, Member] = {}
        self.tainted: frozenset[str] = frozenset()
        number, variable = first
        self.size = network.cascade.size(variable)
        self.dtype: DType = network.cascade.tensors[network.einsum(number).output.tensor].dtype
        self.add(number, variable)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Positions of the members' Einsums."""
        return tuple(m.number for m in self.members)

    @property
    def dependent(self) -> bool:
        """Whether some member depends on another: as it stands, the fibre is traversed again."""
        return any(not m.root for m in self.members)

    def einsum(self, member: Member) -> Einsum:
        """The Einsum of a member."""
        return self.network.einsum(member.number)

    def add(self, number: int, variable: str) -> None:
        """Adds a reduction; raises NotDecomposableError when it has no carried state."""
        member = self.member(number, variable)
        self.members.append(member)
        self.by_tensor[self.einsum(member).output.tensor] = member
        self.tainted = self.network.tainted(self.by_tensor)

    def member(self, number: int, variable: str) -> Member:
        """A reduction in terms of the group's; raises NotDecomposableError."""
        einsum = self.network.einsum(number)
        assert einsum.reduction is not None
        if self.network.cascade.tensors[einsum.output.tensor].dtype != self.dtype:
            raise NotDecomposableError("its element type differs from the others'")
        if self.network.cascade.size(variable) != self.size:
            raise NotDecomposableError("its rank has another size than the others'")
        expr = self.expand(einsum.expr, variable)
        terms, shift = self._decompose(einsum.reduction.op, expr, variable)
        root = not self.reduced(expr)
        if not root and not all(self.network.inside(a) for a in accesses(expr)):
            raise NotDecomposableError("it reads beyond the ends of a tensor")
        outside = {v for e in _outside(terms, shift) for v in variables(e)}
        late = tuple(v for v in einsum.reduction.variables if v in outside)
        return Member(number, variable, terms, shift, root, late)

    def reduced(self, expr: Expr) -> bool:
        """Whether an expression depends on the group's reductions."""
        return any(a.tensor in self.tainted for a in accesses(expr))

    def expand(self, expr: Expr, variable: str) -> Expr:
        """The expression with every streamed operand that depends on the group written out."""
        if isinstance(expr, Call):
            return Call(expr.op, tuple(self.expand(a, variable) for a in expr.args))
        if not isinstance(expr, Access) or expr.tensor not in self.tainted:
            if isinstance(expr, Access) and any(self.reduced(p) for _, p in expr.indirect):
                raise NotDecomposableError(f"a reduction decides which {expr.tensor} is read")
            return expr
        if variable not in expr.variables:
            return expr
        if expr.tensor in self.by_tensor:
            raise UnrelatedError(f"{expr.tensor} is read along the rank itself")
        inner = self.network.inline(expr)
        if inner is None:
            raise NotDecomposableError(
                f"{expr.tensor} depends on a reduction over the rank and is itself reduced over "
                "another one, or stored in another layout"
            )
        return self.expand(inner, variable)

    # Decomposition

    def _decompose(
        self, op: str, expr: Expr, variable: str
    ) -> tuple[tuple[Term, ...], Expr | None]:
        if not self.reduced(expr):
            return (Term(factors=(Stream(expr),)),), None
        algebra = self.algebra(variable)
        if op == "add":
            return tuple(algebra.split(expr)), None
        if op not in ("max", "min"):
            raise NotDecomposableError(f"a reduction by {op} depends on another reduction")
        addends = algebra.addends(expr)
        still = [a for a in addends if variable not in variables(a.atom)]
        moving = [a for a in addends if variable in variables(a.atom)]
        if moving and not any(self.reduced(a.atom) for a in moving):
            if any(a.num or a.den or a.sign < 0 for a in moving):
                raise NotDecomposableError(f"a {op} of scaled elements, of unknown sign")
            stream = _total([(a.sign, a.expr()) for a in moving], self.dtype)
            return (Term(factors=(Stream(stream),)),), _total(
                [(a.sign, a.expr()) for a in still], self.dtype
            )
        terms = algebra.split(expr)
        (only, *more) = terms
        scaled = all(self.nonnegative(e) for e in only.num + only.den)
        kinds = all(not isinstance(f, Shift) for f in only.factors)
        if more or only.sign < 0 or only.masks or only.guards or not scaled or not kinds:
            raise NotDecomposableError(
                f"a {op} commutes with the reduction it depends on only if that scales all "
                "elements by one factor that is not negative"
            )
        return (only,), None

    def algebra(self, variable: str) -> Algebra:
        """The algebra of expressions of a reduction that walks ``variable``."""
        return Algebra(
            streamed=lambda e: variable in variables(e),
            reduced=self.reduced,
            located=lambda e: self.located(e) is not None,
            unfold=self.unfold,
            bare=self._bare,
            dtype=self.dtype,
        )

    def unfold(self, expr: Expr) -> Expr | None:
        """A pointwise tensor that is computed from the group, one level written out."""
        if not isinstance(expr, Access) or expr.tensor in self.by_tensor:
            return None
        return self.network.inline(expr)

    def _bare(self, stream: Expr) -> bool:
        """Whether the group already sums this exponential, or reads it, uncorrected."""
        for member in self.members:
            for term in member.terms:
                for factor in term.factors:
                    if isinstance(factor, Stream):
                        opened = _opened(self.network, factor.expr)
                        if any(canonical(part) == canonical(stream) for part in opened):
                            return True
        return False

    def nonnegative(self, expr: Expr) -> bool:
        """Whether an expression is known not to be negative (NaN aside)."""
        if isinstance(expr, Const):
            return expr.value >= 0
        if isinstance(expr, Access):
            member = self.by_tensor.get(expr.tensor)
            if member is not None:
                einsum = self.einsum(member)
                return self.nonnegative(self.expand(einsum.expr, member.variable))
            data = self.network.cascade.constants.get(expr.tensor)
            if data is not None:
                return bool((data >= 0).all())
            opened = self.network.inline(expr)
            return opened is not None and self.nonnegative(opened)
        if not isinstance(expr, Call):
            return False
        if expr.op in ("exp", "sub_exp", "abs", "sqrt"):
            return True
        if expr.op == "mul" and expr.args[0] == expr.args[1]:
            return True
        if expr.op in ("mul", "div", "add", "min"):
            return all(self.nonnegative(a) for a in expr.args)
        if expr.op == "max":
            return any(self.nonnegative(a) for a in expr.args)
        return expr.op in ("f32", "f64") and self.nonnegative(expr.args[0])

    # Running values

    def located(self, expr: Expr) -> Kind | None:
        """How an expression that does not change with m gets a running value, or None.

        ``extremum``: it is a maximum or minimum of the group; ``mean``: it is a sum divided by
        the number of elements; ``ratio``: a sum divided by another (a weighted mean).
        """
        if not isinstance(expr, (Access, Call)) or not self.reduced(expr):
            return None
        if isinstance(expr, Access):
            member = self.by_tensor.get(expr.tensor)
            if member is not None and member.late:
                return None
            if member is not None:
                op = self._op(member)
                if op in ("max", "min"):
                    return "extremum"
                if (
                    op == "add"
                    and len(member.terms) == 1
                    and any(self._is_sum(d) for d in member.terms[0].den)
                ):
                    return "ratio"
        if self.mean_error(expr) is not None:
            return "mean"
        if isinstance(expr, Access) and expr.tensor not in self.by_tensor:
            opened = self.network.inline(expr)
            return None if opened is None else self.located(opened)
        if isinstance(expr, Call) and expr.op == "div" and all(self._is_sum(a) for a in expr.args):
            return "ratio"
        return None

    def _op(self, member: Member) -> str:
        reduction = self.einsum(member).reduction
        assert reduction is not None
        return reduction.op

    def _is_sum(self, expr: Expr) -> bool:
        if not isinstance(expr, Access):
            return False
        member = self.by_tensor.get(expr.tensor)
        if member is not None:
            return self._op(member) == "add" and not member.late
        opened = self.network.inline(expr) if expr.tensor in self.tainted else None
        return opened is not None and self._is_sum(opened)

    def mean_error(self, expr: Expr) -> float | None:
        """k*n - 1 for an expression that is k times a sum of n elements, k about 1/n; else None.

        It is not 0 where 1/n was rounded to float32.
        """
        found = self.scaled_sum(expr)
        if found is None:
            return None
        factor, item = found
        member = self.by_tensor[item.tensor]
        einsum = self.einsum(member)
        assert einsum.reduction is not None
        count = prod(self.network.cascade.size(v) for v in einsum.reduction.variables)
        factor *= self.stripped(member.terms[0].factors[0])[0]
        return factor * count - 1 if abs(factor * count - 1) < 1e-5 else None

    def scaled_sum(self, expr: Expr) -> tuple[float, Access] | None:
        """k and R, when the expression is k times a plain sum R of the group; else None."""
        if isinstance(expr, Access):
            member = self.by_tensor.get(expr.tensor)
            if member is not None:
                return (1.0, expr) if self._op(member) == "add" and member.root else None
            opened = self.network.inline(expr) if expr.tensor in self.tainted else None
            return None if opened is None else self.scaled_sum(opened)
        if not isinstance(expr, Call):
            return None
        if expr.op in ("f32", "f64"):
            return self.scaled_sum(expr.args[0])
        if expr.op not in ("mul", "div"):
            return None
        for inner, factor in (expr.args, expr.args[::-1]) if expr.op == "mul" else (expr.args,):
            number, found = self.number(factor), self.scaled_sum(inner)
            if number and found is not None:
                scale = number if expr.op == "mul" else 1 / number
                return found[0] * scale, found[1]
        return None

    def number(self, expr: Expr) -> float | None:
        """The value of a literal, or of a constant tensor whose elements are all the same."""
        if isinstance(expr, Const):
            return float(expr.value)
        if isinstance(expr, Access):
            data = self.network.cascade.constants.get(expr.tensor)
            if data is not None and data.size and np.all(data == data.flat[0]):
                return float(data.flat[0])
        return None

    def stripped(self, factor: object) -> tuple[float, Expr | None]:
        """A streamed factor as a number times the rest."""
        if not isinstance(factor, Stream):
            return 1.0, None
        value, expr = 1.0, factor.expr
        while isinstance(expr, Call) and expr.op in ("mul", "div"):
            left, right = expr.args
            number = self.number(right)
            if number:
                value, expr = (value * number if expr.op == "mul" else value / number), left
            elif expr.op == "mul" and self.number(left) is not None:
                value, expr = value * (self.number(left) or 0.0), right
            else:
                break
        return value, expr


def _outside(terms: tuple[Term, ...], shift: Expr | None) -> Iterator[Expr]:
    """Expressions of a member that stand outside of its accumulators, references included."""
    if shift is not None:
        yield shift
    for term in terms:
        yield from term.num + term.den
        for factor in term.factors:
            if not isinstance(factor, Stream):
                for part in factor.parts:
                    yield from (part.node, *part.num, *part.den)
        for guard in term.guards:
            yield from _outside(guard, None)


def _total(parts: list[tuple[int, Expr]], dtype: DType) -> Expr:
    total: Expr = Const(0.0, dtype)
    for k, (sign, expr) in enumerate(parts):
        total = expr if k == 0 and sign > 0 else call("add" if sign > 0 else "sub", total, expr)
    return total


def _opened(network: Network, expr: Expr) -> list[Expr]:
    """The factors of a product of streamed expressions, each also one level written out."""
    found = [expr]
    if isinstance(expr, Call) and expr.op in ("mul", "div"):
        for arg in expr.args:
            found += _opened(network, arg)
    if isinstance(expr, Access):
        inner = network.inline(expr)
        found += [] if inner is None else [inner]
    return found


def canonical(expr: Expr, names: dict[str, str] | None = None) -> Expr:
    """The expression with rank variables named by order of first use (and as ``names`` says)."""
    values = {v: Affine.of(n) for v, n in (names or {}).items()}
    for variable in variables(expr):
        values.setdefault(variable, Affine.of(f"@{len(values)}"))
    return substitute(expr, values)
