"""Single operations of a vector program: operands by kind, conversions, constants, parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from dataflow.evaluate.functions import Function
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.lower.assemble import Code, Node, Ref, Result
from dataflow.lower.refusal import CannotFuse
from dataflow.machine.isa import Op, Operand

Array = np.ndarray

LINES = 2
"""Parameter lines of a column block."""

ONE, MINUS_ZERO, ZERO = Operand.ONE, Operand.MINUS_ZERO, Operand.ZERO

LeafKind = Literal["s0", "s1", "param", "word", "row"]


@dataclass(frozen=True)
class Leaf:
    """What an access of the expression is on the vector unit.

    Attributes:
        kind: ``s0`` first source, ``s1`` second source, ``param`` one 32-bit number per channel,
            ``word`` one 32-bit number per point, read through the second source; ``row`` the same
            that another layer has written, byte by byte.
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
class Emitter:
    """Emits operations into `code`, and collects what they read.

    Attributes:
        leaf: what an access is; raises CannotFuse when it is nothing that the unit reads.
        tables: data of table operands by tensor name.
        params: per-channel numbers in the order of their parameter lines, at most `LINES`, the
            bias that an accumulator is read with among them.
        words: per-point numbers in the order of their uses.
        direct: words of rows that are read once, where they arrive.
        channels: of the layer, which may have lines of parameters; 0: it has none.
    """

    leaf: Callable[[Access], Leaf]
    tables: Callable[[str], Array]
    code: Code = field(default_factory=Code)
    params: list[Array] = field(default_factory=list)
    words: list[Array] = field(default_factory=list)
    direct: set[Access] = field(default_factory=set)
    zeros: dict[Expr, int] = field(default_factory=dict)
    known: dict[Expr, Value] = field(default_factory=dict)
    table: bytes | None = None
    channels: int = 0

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
            raise CannotFuse(
                "subtracts two zero points from one tensor",
                "dequantise this tensor with one zero point",
            )
        return found.pop() if found else 0

    def _kind(self, access: Expr) -> str:
        assert isinstance(access, Access)
        return self.leaf(access).kind

    def access(self, access: Access, folded: int = 0) -> Value:
        """The number that an access reads, less ``folded`` where a source has a zero point."""
        leaf = self.leaf(access)
        if leaf.kind == "s0":
            value = Value(Operand.S0, leaf.dtype.is_float)
        elif leaf.kind == "s1":
            value = Value(Operand.S1, leaf.dtype.is_float)
        elif leaf.kind == "row":
            if access in self.direct:
                return Value(Operand.S1, leaf.dtype.is_float)
            return Value(self.code.add(Node(Op.MOVE, a=Operand.S1)), leaf.dtype.is_float)
        elif leaf.kind == "param":
            assert leaf.data is not None
            value = Value(self.param(leaf.data), leaf.dtype.is_float)
        else:
            assert leaf.data is not None
            return Value(self.word(leaf.data), leaf.dtype.is_float)
        own = self.zeros.get(access, 0)
        if leaf.kind in ("s0", "s1") and own != folded:
            offset = own - folded
            return self.emit(Op.IADD, value, self.number(offset), is_float=False)
        return value

    def param(self, data: Array) -> int:
        """The selector of per-channel numbers; CannotFuse when there are too many."""
        for at, known in enumerate(self.params):
            if known.dtype == data.dtype and np.array_equal(known, data):
                return int(Operand.P0) + at
        if len(self.params) == LINES:
            raise CannotFuse(
                "needs more than two numbers per channel",
                "fold scales and offsets per channel into one multiplication and one addition",
            )
        self.params.append(data)
        return int(Operand.P0) + len(self.params) - 1

    def word(self, data: Array) -> Ref:
        """A copy of the next word in a register: each use of the source is the next word."""
        self.words.append(data)
        node = Node(Op.MOVE, a=Operand.S1)
        return self.code.add(node)

    def bits(self, value: float, dtype: DType) -> Ref:
        """The selector of a literal."""
        if dtype.is_float:
            number = np.float32(value)
            bits = int(number.view(np.uint32))
            fixed = {0x3F800000: ONE, 0x80000000: MINUS_ZERO, 0: ZERO}
            return fixed.get(bits) or self._literal(bits, number)
        bits = int(value) & 0xFFFFFFFF
        return ZERO if bits == 0 else self._literal(bits, np.uint32(bits).astype(np.int32))

    def _literal(self, bits: int, number: np.generic) -> Ref:
        """One of the program's constants, or else a line of parameters, all the same."""
        try:
            return self.code.constant(bits)
        except CannotFuse:
            if not self.channels or len(self.params) == LINES:
                raise
            return self.param(np.full(self.channels, number))

    def number(self, value: int) -> Value:
        """An int32 literal."""
        return Value(self.bits(value, DType("int", True, 32)), False)

    def single(self, value: float | np.float32) -> Value:
        """A float32 literal."""
        return Value(self.bits(float(value), DType("float", True, 32)), True)

    # Emission

    def emit(
        self,
        op: Op,
        a: Value,
        b: Value | None = None,
        c: Value | None = None,
        *,
        is_float: bool,
        function: Function = Function.IDENTITY,
    ) -> Value:
        """One operation; integer operands of float operations are converted on the way in.

        ``c`` of EXP2 is an integer, its scale.
        """
        floats = op in (Op.FMA, Op.FMAX, Op.FMIN)
        if c is not None and not c.is_float and function is not Function.EXP2:
            c = self.converted(c)
        if floats and b is not None and not (a.is_float or b.is_float) and a.ref != b.ref:
            # A line converts one operand. What goes through a register anyway is converted there.
            if a.ref == Operand.S1:
                a = self._float_copy(a)
            else:
                b = self._float_copy(b)
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
            function=function,
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

    def _float_copy(self, value: Value) -> Value:
        """An integer as a float in a register; a negation stays with the reader, where -0 is -0."""
        node = Node(Op.FMA, a=value.ref, b=ONE, c=MINUS_ZERO, a_float=True)
        return Value(self.code.add(node), True, value.negate)

    def rounded(self, value: Value, bounds: tuple[int, int, int]) -> Value:
        """The result of the last operation, which makes a float, rounded: zero point, low, high."""
        assert isinstance(value.ref, Result)
        at = value.ref.node
        self.code.nodes[at] = replace(self.code.nodes[at], to_int=bounds)
        self.forget(value.ref)
        return Value(value.ref, False)

    def forget(self, ref: Ref) -> None:
        """An operation was changed: no expression is known to be its result any more."""
        self.known = {e: v for e, v in self.known.items() if v.ref != ref}

    def converted(self, value: Value) -> Value:
        """An integer as a float in a register."""
        return self.emit(Op.FMA, value, Value(ONE, True), Value(ZERO, True), is_float=True)
