"""Vector micro-programs from map expressions.

The compiler turns an expression tree into a list of operations in evaluation order
(`Code`), and `assemble` gives them registers, constants and dependency marks. All rounding is that
of ``evaluate``: an addition is FMA(a, 1, b), a product FMA(a, b, -0), both exact to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from dataflow.ir.dtype import DType
from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.ir.isa import Op, Operand
from dataflow.mapper.lowering.assemble import CannotFuse, Code, Node, Ref, Result

Array = np.ndarray

ONE, MINUS_ZERO, ZERO = Operand.ONE, Operand.MINUS_ZERO, Operand.ZERO
EXACT_FLOAT = 1 << 24
"""Integers below this magnitude are float32 numbers."""

DIVISOR_RANGE = (2.0**-100, 2.0**100)
"""Magnitudes of divisors for which the division sequence neither over- nor underflows where it
could change a result that is rounded to an integer."""

LeafKind = Literal["s0", "s1", "param", "word"]


@dataclass(frozen=True)
class Leaf:
    """What an access of the expression is on the vector unit.

    Attributes:
        kind: ``s0`` first source, ``s1`` second source, ``param`` one 32-bit number per channel,
            ``word`` one 32-bit number per point, read through the second source.
        dtype: of the number that arrives.
        low, high: range of its value, for integers.
        data: of ``param`` and ``word``: the numbers.
    """

    kind: LeafKind
    dtype: DType
    low: int = -(1 << 31)
    high: int = (1 << 31) - 1
    data: Array | None = None


@dataclass(frozen=True)
class Value:
    """A compiled expression: where it is and what it is."""

    ref: Ref
    is_float: bool
    negate: bool = False


@dataclass
class Compiler:
    """Compiles expressions over known leaves into `code`.

    Attributes:
        leaf: what an access is; raises CannotFuse when it is nothing that the unit reads.
        tables: data of table operands by tensor name.
        params: per-channel numbers in the order of their parameter lines.
        words: per-point numbers in the order of their uses.
    """

    leaf: Callable[[Access], Leaf]
    tables: Callable[[str], Array]
    code: Code = field(default_factory=Code)
    params: list[Array] = field(default_factory=list)
    words: list[Array] = field(default_factory=list)
    zeros: dict[Expr, int] = field(default_factory=dict)
    bias: Array | None = None
    known: dict[Expr, Value] = field(default_factory=dict)
    table: bytes | None = None

    # Leaves

    def fold_zero_points(self, *roots: Expr) -> None:
        """Subtractions of one constant from a source move into the source's zero point."""
        seen: dict[Expr, set[int | None]] = {}
        for root in roots:
            self._zero_uses(root, seen)
        for access, zeros in seen.items():
            assert isinstance(access, Access)
            zero = next(iter(zeros))
            self.zeros[access] = zero if len(zeros) == 1 and zero is not None else 0

    def _zero_uses(self, expr: Expr, seen: dict[Expr, set[int | None]]) -> None:
        if isinstance(expr, Access):
            if self.leaf(expr).kind in ("s0", "s1"):
                seen.setdefault(expr, set()).add(None)
            return
        if not isinstance(expr, Call):
            return
        if expr.op == "sub" and isinstance(expr.args[0], Access):
            first, second = expr.args[0], expr.args[1]
            if isinstance(second, Const) and self.leaf(first).kind in ("s0", "s1"):
                seen.setdefault(first, set()).add(int(second.value))
                return
        skip = 1 if expr.op == "lookup" else len(expr.args)
        for arg in expr.args[:skip]:
            self._zero_uses(arg, seen)

    def zero_of(self, kind: LeafKind) -> int:
        """Zero point of a source; CannotFuse when its accesses disagree."""
        found = {z for a, z in self.zeros.items() if self._kind(a) == kind}
        if len(found) > 1:
            raise CannotFuse("a source has two zero points")
        return found.pop() if found else 0

    def _kind(self, access: Expr) -> str:
        assert isinstance(access, Access)
        return self.leaf(access).kind

    def _access(self, access: Access, folded: int = 0) -> Value:
        leaf = self.leaf(access)
        if leaf.kind == "s0":
            value = Value(Operand.S0, leaf.dtype.is_float)
        elif leaf.kind == "s1":
            value = Value(Operand.S1, leaf.dtype.is_float)
        elif leaf.kind == "param":
            assert leaf.data is not None
            value = Value(self._param(leaf.data), leaf.dtype.is_float)
        else:
            assert leaf.data is not None
            return Value(self._word(leaf.data), leaf.dtype.is_float)
        own = self.zeros.get(access, 0)
        if leaf.kind in ("s0", "s1") and own != folded:
            offset = own - folded
            return self._emit(Op.IADD, value, self._int(offset), is_float=False)
        return value

    def _param(self, data: Array) -> int:
        for at, known in enumerate(self.params):
            if known.dtype == data.dtype and np.array_equal(known, data):
                return int(Operand.P0) + at
        if len(self.params) == 2:
            raise CannotFuse("more than two numbers per channel")
        self.params.append(data)
        return int(Operand.P0) + len(self.params) - 1

    def _word(self, data: Array) -> Ref:
        """A copy of the next word in a register: each use of the source is the next word."""
        self.words.append(data)
        node = Node(Op.MOVE, a=Operand.S1)
        return self.code.add(node)

    def _bits(self, value: float, dtype: DType) -> Ref:
        if dtype.is_float:
            number = np.float32(value)
            bits = int(number.view(np.uint32))
            fixed = {0x3F800000: ONE, 0x80000000: MINUS_ZERO, 0: ZERO}
            return fixed.get(bits) or self.code.constant(bits)
        bits = int(value) & 0xFFFFFFFF
        return ZERO if bits == 0 else self.code.constant(bits)

    def _int(self, value: int) -> Value:
        return Value(self._bits(value, DType("int", True, 32)), False)

    def _single(self, value: float | np.float32) -> Value:
        return Value(self._bits(float(value), DType("float", True, 32)), True)

    # Emission

    def _emit(
        self,
        op: Op,
        a: Value,
        b: Value | None = None,
        c: Value | None = None,
        *,
        is_float: bool,
    ) -> Value:
        """One operation; integer operands of float operations are converted on the way in."""
        floats = op in (Op.FMA, Op.FMAX, Op.FMIN)
        if c is not None and not c.is_float:
            c = self._converted(c)
        node = Node(
            op,
            a=a.ref,
            b=b.ref if b else ZERO,
            c=c.ref if c else ZERO,
            a_float=floats and not a.is_float,
            b_float=floats and b is not None and not b.is_float,
            a_negate=a.negate,
            b_negate=b.negate if b else False,
            c_negate=c.negate if c else False,
        )
        node = self._one_memory_source(node)
        return Value(self.code.add(node), is_float)

    def _one_memory_source(self, node: Node) -> Node:
        """At most one of S0 and S1 per operation; the second goes through a register."""
        used = [r for r in (node.a, node.b, node.c) if r in (Operand.S0, Operand.S1)]
        if len(set(used)) < 2:
            return node
        copy = self.code.add(Node(Op.MOVE, a=Operand.S1))
        a, b, c = (copy if ref == Operand.S1 else ref for ref in (node.a, node.b, node.c))
        return replace(node, a=a, b=b, c=c)

    def _converted(self, value: Value) -> Value:
        """An integer as a float in a register."""
        return self._emit(Op.FMA, value, Value(ONE, True), Value(ZERO, True), is_float=True)

    # Expressions

    def compile(self, expr: Expr) -> Value:
        """Emits the operations of an expression."""
        if expr in self.known:
            return self.known[expr]
        if isinstance(expr, Const):
            return Value(self._bits(expr.value, expr.dtype), expr.dtype.is_float)
        value = self._access(expr) if isinstance(expr, Access) else self._call(expr)
        if value.ref != Operand.S1:
            self.known[expr] = value
        return value

    def _call(self, expr: Call) -> Value:
        args = expr.args
        match expr.op:
            case "f32":
                return self._f32(args[0])
            case "fma":
                a, b, c = (self.compile(x) for x in args)
                return self._emit(Op.FMA, a, b, c, is_float=True)
            case "mul":
                return self._mul(expr)
            case "add" | "sub":
                return self._sum(expr)
            case "div":
                return self._div(expr)
            case "max" | "min":
                return self._extreme(expr.op, self.compile(args[0]), self.compile(args[1]))
            case "clip":
                return self._clip(expr)
            case "lookup":
                return self._lookup(expr)
        raise CannotFuse(f"the vector unit has no {expr.op}")

    def _f32(self, expr: Expr) -> Value:
        """f32(integer). Small products and sums are computed in float32, exactly."""
        if isinstance(expr, Call) and expr.op in ("mul", "sub", "add") and not self._folds(expr):
            low, high = self.interval(expr)
            parts = [self.interval(a) for a in expr.args]
            peak = max(-low, high, *(max(-lo, hi) for lo, hi in parts))
            constant = any(isinstance(a, Const) for a in expr.args)
            if peak < EXACT_FLOAT and (expr.op != "add" or not constant):
                a, b = (self.compile(x) for x in expr.args)
                if expr.op == "mul":
                    # + 0: the product of integers has no negative zero.
                    return self._emit(Op.FMA, a, b, Value(ZERO, True), is_float=True)
                if not b.is_float:
                    b = self._converted(b)
                if expr.op == "sub":
                    b = replace(b, negate=not b.negate)
                return self._emit(Op.FMA, a, Value(ONE, True), b, is_float=True)
        value = self.compile(expr)
        if value.is_float:
            raise CannotFuse("f32 of a float")
        return value  # consumers convert it (a_float, b_float)

    def _folds(self, expr: Call) -> bool:
        """A subtraction that the source does, or an addition that the accumulator read does."""
        first, second = expr.args
        if expr.op == "sub" and isinstance(first, Access) and isinstance(second, Const):
            return first in self.zeros and self.zeros[first] == second.value
        return expr in self.known

    def interval(self, expr: Expr) -> tuple[int, int]:
        """Range of an integer expression."""
        if isinstance(expr, Const):
            return int(expr.value), int(expr.value)
        if isinstance(expr, Access):
            leaf = self.leaf(expr)
            return leaf.low, leaf.high
        assert isinstance(expr, Call)
        if expr.op in ("add", "sub", "mul"):
            (a, b), (c, d) = (self.interval(x) for x in expr.args)
            if expr.op == "add":
                return a + c, b + d
            if expr.op == "sub":
                return a - d, b - c
            products = (a * c, a * d, b * c, b * d)
            return min(products), max(products)
        if expr.op == "clip":
            return self.interval(expr.args[1])[0], self.interval(expr.args[2])[1]
        return -(1 << 31), (1 << 31) - 1

    def _is_float(self, expr: Expr) -> bool:
        if isinstance(expr, Const):
            return expr.dtype.is_float
        if isinstance(expr, Access):
            return self.leaf(expr).dtype.is_float
        assert isinstance(expr, Call)
        if expr.op in ("f32", "fma", "div"):
            return True
        if expr.op in ("rint", "lookup"):
            return False
        return self._is_float(expr.args[0])

    def _mul(self, expr: Call) -> Value:
        if not self._is_float(expr):
            raise CannotFuse("an integer product that is not converted to float at once")
        a, b = (self.compile(x) for x in expr.args)
        for one, other in ((a, b), (b, a)):
            if one.ref is ONE and other.is_float:
                return other
        return self._emit(Op.FMA, a, b, Value(MINUS_ZERO, True), is_float=True)

    def _sum(self, expr: Call) -> Value:
        left, right = expr.args
        if not self._is_float(expr):
            return self._int_sum(expr, left, right)
        a, b = self.compile(left), self.compile(right)
        if expr.op == "sub":
            b = replace(b, negate=not b.negate)
            if not b.is_float:
                b = replace(self._converted(replace(b, negate=False)), negate=True)
        elif not b.is_float and a.is_float and not a.negate:
            a, b = b, a  # the addend cannot be converted on the way in
        return self._emit(Op.FMA, a, Value(ONE, True), b, is_float=True)

    def _int_sum(self, expr: Call, left: Expr, right: Expr) -> Value:
        if expr.op == "sub":
            if not isinstance(right, Const):
                raise CannotFuse("an integer difference of two tensors")
            if isinstance(left, Access) and self.zeros.get(left, 0) == right.value:
                return self._access(left, int(right.value))
            if right.value == 0:
                return self.compile(left)
            return self._emit(
                Op.IADD, self.compile(left), self._int(-int(right.value)), is_float=False
            )
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Const) and one.value == 0:
                return self.compile(other)
        return self._emit(Op.IADD, self.compile(left), self.compile(right), is_float=False)

    def _extreme(self, op: str, a: Value, b: Value) -> Value:
        if a.is_float or b.is_float:
            return self._emit(Op.FMAX if op == "max" else Op.FMIN, a, b, is_float=True)
        return self._emit(Op.IMAX if op == "max" else Op.IMIN, a, b, is_float=False)

    def _clip(self, expr: Call) -> Value:
        inner, low, high = expr.args
        if isinstance(low, Const) and isinstance(high, Const) and not self._is_float(inner):
            rounded, zero = inner, 0
            if isinstance(inner, Call) and inner.op == "add":
                for one, other in (inner.args, inner.args[::-1]):
                    if isinstance(other, Const) and isinstance(one, Call) and one.op == "rint":
                        rounded, zero = one, int(other.value)
            if isinstance(rounded, Call) and rounded.op == "rint":
                return self._rint(rounded.args[0], zero, int(low.value), int(high.value))
        value = self._extreme("min", self.compile(inner), self.compile(high))
        return self._extreme("max", value, self.compile(low))

    def _rint(self, expr: Expr, zero: int, low: int, high: int) -> Value:
        """clip(rint(expr) + zero, low, high), on the operation that makes ``expr``."""
        if max(abs(zero), abs(low), abs(high)) > 511:
            raise CannotFuse(f"codes from {low} to {high} are wider than 8 bit")
        before = len(self.code.nodes)
        value = self.compile(expr)
        last = Result(len(self.code.nodes) - 1)
        fresh = value.ref == last and last.node >= before
        if not fresh or value.negate or not value.is_float:
            value = self._emit(
                Op.FMA, value, Value(ONE, True), Value(MINUS_ZERO, True), is_float=True
            )
        assert isinstance(value.ref, Result)
        at = value.ref.node
        self.code.nodes[at] = replace(self.code.nodes[at], to_int=(zero, low, high))
        self.known = {e: v for e, v in self.known.items() if v.ref != value.ref}
        return Value(value.ref, False)

    def _lookup(self, expr: Call) -> Value:
        index, operand = expr.args
        assert isinstance(operand, Access)
        data = np.asarray(self.tables(operand.tensor)).reshape(-1)
        if data.dtype not in (np.int8, np.uint8) or data.size != 256:
            raise CannotFuse("a table that is not 256 bytes")
        value = self.compile(index)
        # Entries come back zero-extended; a signed table is stored shifted by 128.
        shift = 128 if data.dtype == np.int8 else 0
        stored = (data.astype(np.int64) + shift).astype(np.uint8).tobytes()
        if self.table is not None and self.table != stored:
            raise CannotFuse("two tables")
        self.table = stored
        found = self._emit(Op.LOOKUP, value, is_float=False)
        if not shift:
            return found
        return self._emit(Op.IADD, found, self._int(-shift), is_float=False)

    # Division

    def _div(self, expr: Call) -> Value:
        top, bottom = expr.args
        a = self.compile(top)
        if isinstance(bottom, Const):
            b = np.float32(bottom.value)
            mantissa, _ = np.frexp(b)
            if abs(mantissa) == 0.5 and np.isfinite(np.float32(1) / b) and b != 0:
                return self._emit(
                    Op.FMA,
                    a,
                    self._single(np.float32(1) / b),
                    Value(MINUS_ZERO, True),
                    is_float=True,
                )
            _check_divisor(np.asarray(b))
            return self._quotient(
                a, lambda: self._single(b), lambda: self._single(np.float32(1) / b)
            )
        if not isinstance(bottom, Access):
            raise CannotFuse("a division by a computed number")
        leaf = self.leaf(bottom)
        if leaf.kind not in ("param", "word") or leaf.data is None or not leaf.dtype.is_float:
            raise CannotFuse("a division by an activation")
        data = leaf.data
        _check_divisor(data)
        inverse = (np.float32(1) / data).astype(np.float32)
        if leaf.kind == "param":
            return self._quotient(
                a, lambda: Value(self._param(data), True), lambda: Value(self._param(inverse), True)
            )
        return self._quotient(a, lambda: self._next(data), lambda: self._next(inverse))

    def _next(self, data: Array) -> Value:
        """A word straight from the second source, in the order of use."""
        self.words.append(data)
        return Value(Operand.S1, True)

    def _quotient(self, a: Value, b: Callable[[], Value], y: Callable[[], Value]) -> Value:
        """a / b correctly rounded, with y = RN(1 / b) (Markstein 1990, theorem 8.3).

        The first correction makes the quotient faithful, the second rounds it correctly.
        """
        if not a.is_float:
            a = self._converted(a)
        if not isinstance(a.ref, Result):
            a = self._emit(Op.MOVE, a, is_float=True)
        q = self._emit(Op.FMA, a, y(), Value(MINUS_ZERO, True), is_float=True)
        for _ in range(2):
            divisor = b()
            r = self._emit(Op.FMA, replace(divisor, negate=not divisor.negate), q, a, is_float=True)
            q = self._emit(Op.FMA, r, y(), q, is_float=True)
        return q


def _check_divisor(data: Array) -> None:
    low, high = DIVISOR_RANGE
    size = np.abs(data.astype(np.float64))
    if not ((size >= low) & (size <= high)).all():
        raise CannotFuse("a divisor outside 2^-100..2^100")
