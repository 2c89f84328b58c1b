"""Vector micro-programs from map expressions.

The compiler turns an expression tree into a list of operations in evaluation order
(`Code`), and `assemble` gives them registers, constants and dependency marks. All rounding is that
of ``evaluate``: an addition is FMA(a, 1, b), a product FMA(a, b, -0), both exact to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dataflow.ir.expr import Access, Call, Const, Expr, Index
from dataflow.ir.ops import STAGED
from dataflow.lower.assemble import Result
from dataflow.lower.division import reciprocal
from dataflow.lower.emitter import MINUS_ZERO, ONE, ZERO, Emitter, Value
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.staged import staged
from dataflow.machine.isa import Op, Operand
from dataflow.rewrite.stage_functions import infinite

Array = np.ndarray

EXACT_FLOAT = 1 << 24
"""Integers below this magnitude are float32 numbers."""

SIGN = 128
"""What is added to the entries of a signed table, which come back zero-extended."""

DIVISOR_RANGE = (2.0**-100, 2.0**100)
"""Magnitudes of divisors for which the division sequence neither over- nor underflows where it
could change a result that is rounded to an integer."""


class Compiler(Emitter):
    """Compiles expressions over known leaves."""

    # Expressions

    def compile(self, expr: Expr) -> Value:
        """Emits the operations of an expression."""
        if expr in self.known:
            return self.known[expr]
        if isinstance(expr, Const):
            return Value(self.bits(expr.value, expr.dtype), expr.dtype.is_float)
        assert not isinstance(expr, Index)  # refused before lowering
        try:
            value = self.access(expr) if isinstance(expr, Access) else self._call(expr)
        except CannotFuse as reason:
            reason.at = reason.at or expr
            raise
        if value.ref != Operand.S1:
            self.known[expr] = value
        return value

    def _call(self, expr: Call) -> Value:
        args = expr.args
        if expr.op in STAGED:
            first = len(self.code.nodes)
            return staged(self, expr.op, self.compile(args[0]), first)
        match expr.op:
            case "f32":
                return self._f32(args[0])
            case "fma":
                a, b, c = (self.compile(x) for x in args)
                return self.emit(Op.FMA, a, b, c, is_float=True)
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
            case "neg" | "abs" if self._is_float(expr):
                return self._signed(expr)
            case "where" if self._is_float(expr):
                return self._leaky(expr)
        raise CannotFuse(
            f"the vector unit has no {expr.op}",
            "replace it by add, multiply, minimum, maximum and division by constants, or quantise "
            "directly before and behind it",
        )

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
                    return self.emit(Op.FMA, a, b, Value(ZERO, True), is_float=True)
                if not b.is_float:
                    b = self.converted(b)
                if expr.op == "sub":
                    b = replace(b, negate=not b.negate)
                return self.emit(Op.FMA, a, Value(ONE, True), b, is_float=True)
        value = self.compile(expr)
        if value.is_float:
            raise CannotFuse("converts a float to float32", "export the model in float32")
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
        if expr.op in ("f32", "fma", "div", *STAGED):
            return True
        if expr.op in ("rint", "lookup"):
            return False
        return self._is_float(expr.args[1 if expr.op == "where" else 0])

    def _mul(self, expr: Call) -> Value:
        if not self._is_float(expr):
            raise CannotFuse(
                "multiplies integers outside an array product",
                "dequantise both factors before they are multiplied",
            )
        a, b = (self.compile(x) for x in expr.args)
        for one, other in ((a, b), (b, a)):
            if one.ref is ONE and other.is_float:
                return other
        return self.emit(Op.FMA, a, b, Value(MINUS_ZERO, True), is_float=True)

    def _sum(self, expr: Call) -> Value:
        left, right = expr.args
        if not self._is_float(expr):
            return self._int_sum(expr, left, right)
        a, b = self.compile(left), self.compile(right)
        if expr.op == "sub":
            b = replace(b, negate=not b.negate)
            if not b.is_float:
                b = replace(self.converted(replace(b, negate=False)), negate=True)
        elif not b.is_float and a.is_float and not a.negate:
            a, b = b, a  # the addend cannot be converted on the way in
        return self.emit(Op.FMA, a, Value(ONE, True), b, is_float=True)

    def _int_sum(self, expr: Call, left: Expr, right: Expr) -> Value:
        if expr.op == "sub":
            if not isinstance(right, Const):
                raise CannotFuse(
                    "subtracts two integer tensors", "dequantise both before the subtraction"
                )
            if isinstance(left, Access) and self.zeros.get(left, 0) == right.value:
                return self.access(left, int(right.value))
            if right.value == 0:
                return self.compile(left)
            return self.emit(
                Op.IADD, self.compile(left), self.number(-int(right.value)), is_float=False
            )
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Const) and one.value == 0:
                return self.compile(other)
        return self.emit(Op.IADD, self.compile(left), self.compile(right), is_float=False)

    def _extreme(self, op: str, a: Value, b: Value) -> Value:
        if a.is_float or b.is_float:
            return self.emit(Op.FMAX if op == "max" else Op.FMIN, a, b, is_float=True)
        return self.emit(Op.IMAX if op == "max" else Op.IMIN, a, b, is_float=False)

    def _signed(self, expr: Call) -> Value:
        """-x, or the larger of x and -x."""
        value = self.compile(expr.args[0])
        opposite = replace(value, negate=not value.negate)
        if expr.op == "neg":
            return opposite
        if value.ref in (Operand.S0, Operand.S1):
            raise CannotFuse(
                "takes the magnitude of codes beside other work",
                "quantise directly behind it, so that it is a table",
            )
        return self.emit(Op.FMAX, value, opposite, is_float=True)

    def _leaky(self, expr: Call) -> Value:
        """x where it is at least 0, else x times a slope: the larger of the two, or the smaller.

        A product with a slope of at most 1 is, rounded too, above x where x is negative and below
        it where x is positive; with a larger slope it is the other way round. Slopes on both sides
        of 1: min(x, 0) * slope + max(x, 0), of which one term is 0.
        """
        test, below, value = expr.args
        zero = isinstance(test, Call) and test.op == "less" and test.args[0] == value
        slope = None
        if isinstance(below, Call) and below.op == "mul" and value in below.args:
            slope = below.args[1] if below.args[0] == value else below.args[0]
        known = zero and isinstance(test, Call) and _is_zero(test.args[1])
        if not known or slope is None:
            raise CannotFuse(
                "chooses between computed numbers",
                "quantise directly before and behind it, so that it is a table",
            )
        low, high = self._range(slope)
        x = self.compile(value)
        if low <= 1 <= high and low != high and high != 1:
            rest = self.emit(Op.FMIN, x, self.single(0.0), is_float=True)
            kept = self.emit(Op.FMAX, x, self.single(0.0), is_float=True)
            return self.emit(Op.FMA, rest, self.compile(slope), kept, is_float=True)
        product = self.compile(below)
        return self.emit(Op.FMAX if high <= 1 else Op.FMIN, x, product, is_float=True)

    def _range(self, expr: Expr) -> tuple[float, float]:
        """Smallest and largest value of a known number."""
        if isinstance(expr, Const):
            return float(expr.value), float(expr.value)
        data = self.leaf(expr).data if isinstance(expr, Access) else None
        if data is None:
            raise CannotFuse(
                "has a slope that is computed at run time", "make the slope a constant"
            )
        return float(data.min()), float(data.max())

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
            raise CannotFuse(
                f"rounds to codes from {low} to {high}, wider than 8 bit",
                "quantise to int8 or uint8 here",
            )
        before = len(self.code.nodes)
        value = self.compile(expr)
        last = Result(len(self.code.nodes) - 1)
        fresh = value.ref == last and last.node >= before
        if not fresh or value.negate or not value.is_float:
            value = self.emit(
                Op.FMA, value, Value(ONE, True), Value(MINUS_ZERO, True), is_float=True
            )
        return self.rounded(value, (zero, low, high))

    def _lookup(self, expr: Call) -> Value:
        index, operand = expr.args
        assert isinstance(operand, Access)
        data = np.asarray(self.tables(operand.tensor)).reshape(-1)
        if data.dtype not in (np.int8, np.uint8) or data.size != 256:
            raise CannotFuse(
                f"looks up a table of {data.size} x {data.dtype}, not of 256 bytes",
                "index it by 8-bit codes and make its entries 8-bit codes",
            )
        value = self.compile(low_byte(index))
        # Entries come back zero-extended; a signed table is stored shifted by 128.
        shift = SIGN if data.dtype == np.int8 else 0
        stored = (data.astype(np.int64) + shift).astype(np.uint8).tobytes()
        if self.table is not None and self.table != stored:
            raise CannotFuse(
                "looks up two tables in one layer",
                "quantise between the two functions",
            )
        self.table = stored
        found = self.emit(Op.LOOKUP, value, is_float=False)
        if not shift:
            return found
        return self.emit(Op.IADD, found, self.number(-shift), is_float=False)

    def without_sign(self, value: Value) -> Value:
        """The result without the shift of a signed table: the sink takes the low byte alone.

        Only where the table is looked up once, as the last but one operation.
        """
        nodes = self.code.nodes
        bits = -SIGN & 0xFFFFFFFF
        if len(nodes) < 2 or value.ref != Result(len(nodes) - 1) or self.table is None:
            return value
        if bits not in self.code.constants:
            return value
        found, shift = Result(len(nodes) - 2), nodes[-1]
        signed = Operand.K0 + self.code.constants.index(bits)
        lookups = [node for node in nodes if node.op == Op.LOOKUP]
        shifted = shift.op == Op.IADD and (shift.a, shift.b) == (found, signed)
        if not shifted or lookups != [nodes[-2]]:
            return value
        nodes.pop()
        uses = [ref for node in nodes for ref in (node.a, node.b, node.c)]
        if signed not in uses and signed == Operand.K0 + len(self.code.constants) - 1:
            self.code.constants.pop()
        self.table = bytes(entry ^ SIGN for entry in self.table)
        return Value(found, False)

    # Division

    def _div(self, expr: Call) -> Value:
        top, bottom = expr.args
        if infinite(top):
            raise CannotFuse(
                "divides what may be infinite by no single number",
                "multiply by the inverse instead",
            )
        a = self.compile(top)
        if isinstance(bottom, Const):
            b = np.float32(bottom.value)
            mantissa, _ = np.frexp(b)
            if abs(mantissa) == 0.5 and np.isfinite(np.float32(1) / b) and b != 0:
                return self.emit(
                    Op.FMA,
                    a,
                    self.single(np.float32(1) / b),
                    Value(MINUS_ZERO, True),
                    is_float=True,
                )
            _check_divisor(np.asarray(b))
            pair = reciprocal(float(b))
            if pair is not None:
                return self._product(a, *(self.single(part) for part in pair))
            return self._quotient(a, lambda: self.single(b), lambda: self.single(np.float32(1) / b))
        if not isinstance(bottom, Access):
            raise CannotFuse(
                "divides by a computed number",
                "quantise directly before this function, so that it reads one 8-bit tensor, and "
                "directly behind it",
            )
        leaf = self.leaf(bottom)
        if leaf.kind not in ("param", "word") or leaf.data is None or not leaf.dtype.is_float:
            raise CannotFuse(
                "divides by a reduced value", "multiply by a quantised reciprocal instead"
            )
        data = leaf.data
        _check_divisor(data)
        pairs = [reciprocal(float(d)) for d in data.reshape(-1)]
        known = [p for p in pairs if p is not None]
        if len(known) == len(pairs):
            high, low = (
                np.array(part, np.float32).reshape(data.shape) for part in zip(*known, strict=True)
            )
            if leaf.kind == "param":
                parts = (Value(self.param(part), True) for part in (high, low))
                return self._product(a, *parts)
            tail = self.emit(Op.FMA, a, self._next(low), Value(MINUS_ZERO, True), is_float=True)
            return self.emit(Op.FMA, a, self._next(high), tail, is_float=True)
        inverse = (np.float32(1) / data).astype(np.float32)
        if leaf.kind == "param":
            return self._quotient(
                a, lambda: Value(self.param(data), True), lambda: Value(self.param(inverse), True)
            )
        return self._quotient(a, lambda: self._next(data), lambda: self._next(inverse))

    def _product(self, a: Value, high: Value, low: Value) -> Value:
        """a * (high + low): a / b correctly rounded, see `division`."""
        tail = self.emit(Op.FMA, a, low, Value(MINUS_ZERO, True), is_float=True)
        return self.emit(Op.FMA, a, high, tail, is_float=True)

    def _next(self, data: Array) -> Value:
        """A word straight from the second source, in the order of use."""
        self.words.append(data)
        return Value(Operand.S1, True)

    def _quotient(self, a: Value, b: Callable[[], Value], y: Callable[[], Value]) -> Value:
        """a / b correctly rounded, with y = RN(1 / b) (Markstein 1990, theorem 8.3).

        The first correction makes the quotient faithful, the second rounds it correctly.
        """
        if not a.is_float:
            a = self.converted(a)
        if not isinstance(a.ref, Result):
            a = self.emit(Op.MOVE, a, is_float=True)
        q = self.emit(Op.FMA, a, y(), Value(MINUS_ZERO, True), is_float=True)
        for _ in range(2):
            divisor = b()
            r = self.emit(Op.FMA, replace(divisor, negate=not divisor.negate), q, a, is_float=True)
            q = self.emit(Op.FMA, r, y(), q, is_float=True)
        return q


def low_byte(expr: Expr) -> Expr:
    """An integer of which the low byte alone is used, without the cast that says so."""
    return expr.args[0] if isinstance(expr, Call) and expr.op in ("u8", "s8") else expr


def _is_zero(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.value == 0


def _check_divisor(data: Array) -> None:
    low, high = DIVISOR_RANGE
    size = np.abs(data.astype(np.float64))
    if not ((size >= low) & (size <= high)).all():
        raise CannotFuse(
            "divides by a constant outside 2^-100..2^100",
            "calibrate again: such a scale is of data that are all zero or not finite",
        )
