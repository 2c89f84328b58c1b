"""Micro-programs against the expressions that they were compiled from, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataflow.evaluate.functions import Function, apply
from dataflow.evaluate.primitives import compute
from dataflow.evaluate.single import fma32, rint32
from dataflow.ir.dtype import F32, U8
from dataflow.ir.expr import Access, Call, Const, Expr, access, call, integer, single
from dataflow.ir.ops import STAGED
from dataflow.layers.layer import MicroOp, MicroProgram
from dataflow.lower.assemble import Result, assemble
from dataflow.lower.emitter import Leaf
from dataflow.lower.micro import Compiler
from dataflow.lower.refusal import CannotFuse
from dataflow.machine.isa import Op, Operand

Array = NDArray[Any]
X, Y = access("x", "i"), access("y", "i")
SCALE = access("scale", "n")


@dataclass(frozen=True)
class Streams:
    """What the leaves hold: int32 codes and float32 numbers."""

    x: Array
    y: Array
    scale: Array


def leaf(a: Access) -> Leaf:
    if a == X:
        return Leaf("s0", U8, 0, 255)
    if a == Y:
        return Leaf("s1", U8, 0, 255)
    if a == SCALE:
        return Leaf("param", F32, data=np.array([0.5], np.float32))
    raise CannotFuse(a.tensor, "")


TABLE = (np.arange(256)[::-1] - 128).astype(np.int8)


def compiled(expr: Expr) -> tuple[Compiler, MicroProgram]:
    compiler = Compiler(leaf, lambda _: TABLE)
    compiler.fold_zero_points(expr)
    value = compiler.compile(expr)
    assert isinstance(value.ref, Result)
    return compiler, assemble(compiler.code, value.ref, compiler.table)


def meaning(expr: Expr, streams: Streams) -> Array:
    """The expression by ``evaluate``'s primitives."""
    if isinstance(expr, Const):
        return np.array(expr.value, expr.dtype.numpy)
    if isinstance(expr, Access):
        return {"x": streams.x, "y": streams.y, "scale": streams.scale}[expr.tensor]
    assert isinstance(expr, Call)
    if expr.op == "lookup":
        return np.asarray(TABLE[meaning(expr.args[0], streams) & 255], np.int32)
    return compute(expr.op, [meaning(a, streams) for a in expr.args])


def run(compiler: Compiler, micro: MicroProgram, streams: Streams) -> Array:
    """The micro-program on bit patterns, from the words of docs/design/machine.md."""
    shape = streams.x.shape
    fixed = {Operand.ZERO: 0, Operand.ONE: 0x3F800000, Operand.MINUS_ZERO: 0x80000000}
    registers: dict[int, Array] = {}
    result = np.zeros(shape, np.uint32)

    def operand(selector: int, to_float: bool, negate: bool) -> Array:
        if selector <= Operand.R3:
            value = registers[selector]
        elif selector == Operand.S0:
            value = (streams.x - compiler.zero_of("s0")).astype(np.int32).view(np.uint32)
        elif selector == Operand.S1:
            value = (streams.y - compiler.zero_of("s1")).astype(np.int32).view(np.uint32)
        elif selector in (Operand.P0, Operand.P1):
            numbers = compiler.params[selector - Operand.P0]
            value = np.broadcast_to(numbers, shape).copy().view(np.uint32)
        elif selector in fixed:
            value = np.full(shape, fixed[Operand(selector)], np.uint32)
        else:
            value = np.full(shape, micro.constants[selector - Operand.K0], np.uint32)
        if to_float:
            value = value.view(np.int32).astype(np.float32).view(np.uint32)
        return value ^ np.uint32(0x80000000) if negate else value

    for op in (*micro.init, *micro.body, *micro.final):
        a = operand(int(op.a), op.a_float, op.a_negate)
        b = operand(int(op.b), op.b_float, op.b_negate)
        c = operand(int(op.c), False, op.c_negate)
        value = _apply(op, a, b, c, micro.table)
        if op.dst is not None:
            registers[op.dst] = value
        if op.sink:
            result = value
    return result.view(np.int32)


def _apply(op: MicroOp, a: Array, b: Array, c: Array, table: bytes | None) -> Array:
    f = [v.view(np.float32) for v in (a, b, c)]
    if op.op is Op.LOOKUP:
        assert table is not None
        return np.asarray(np.frombuffer(table, np.uint8)[a & 255], np.uint32)
    if op.op is Op.MOVE:
        return a
    if op.op in (Op.IADD, Op.IMAX, Op.IMIN):
        whole = {Op.IADD: np.add, Op.IMAX: np.maximum, Op.IMIN: np.minimum}[op.op]
        return np.asarray(whole(a.view(np.int32), b.view(np.int32))).view(np.uint32)
    if op.op is Op.FMA:
        if op.function is Function.EXP2:
            f[2] = np.full(c.shape, -0.0, np.float32)
        value = apply(op.function, fma32(*f), c.view(np.int32))
    else:
        value = (np.maximum if op.op is Op.FMAX else np.minimum)(f[0], f[1])
    if op.to_int is None:
        return value.view(np.uint32)
    zero, low, high = op.to_int
    wide = rint32(value).astype(np.int64) + zero
    return np.asarray(np.clip(wide, low, high), np.int32).view(np.uint32)


EVERY = Streams(
    np.repeat(np.arange(256, dtype=np.int32), 256),
    np.tile(np.arange(256, dtype=np.int32), 256),
    np.full(65536, 0.5, np.float32),
)


def check(expr: Expr, streams: Streams = EVERY) -> MicroProgram:
    compiler, micro = compiled(expr)
    np.testing.assert_array_equal(
        run(compiler, micro, streams).astype(np.uint8), meaning(expr, streams).astype(np.uint8)
    )
    return micro


def codes(real: Expr, zero: int = 0) -> Expr:
    return call("clip", call("add", call("rint", real), integer(zero)), integer(0), integer(255))


def f32(e: Expr) -> Expr:
    return call("f32", e)


def test_requantisation_is_one_operation() -> None:
    micro = check(codes(call("mul", f32(call("sub", X, integer(7))), SCALE), 3))
    assert [op.op for op in micro.final] == [Op.FMA]
    assert micro.final[0].to_int == (3, 0, 255)


def test_residual_sum_is_two_operations() -> None:
    inner = call("fma", f32(Y), single(0.75), single(-3.25))
    micro = check(codes(call("fma", f32(X), single(1.5), inner)))
    assert len(micro.final) == 2
    assert micro.final[1].depends


def test_product_of_codes_is_exact() -> None:
    product = call("mul", call("sub", X, integer(200)), call("sub", Y, integer(3)))
    check(codes(call("add", call("mul", f32(product), single(0.0123)), single(11.0))))


@pytest.mark.parametrize("divisor", [3.0, 9.0, 49.0, 0.0123456, 1 / 3, 1.9999999, 8.0])
def test_division_by_a_constant_is_correctly_rounded(divisor: float) -> None:
    scaled = call("mul", f32(call("sub", X, integer(9))), single(float(np.float32(0.0371))))
    summed = call("add", scaled, f32(Y))
    check(codes(call("div", summed, single(float(np.float32(divisor))))))


ARGUMENTS = {
    "plain": call("mul", f32(call("sub", X, integer(128))), single(0.0437)),
    "sum": call("fma", f32(X), single(0.03), call("mul", f32(Y), single(-0.0291))),
    "negative": call("neg", call("mul", f32(X), single(0.0213))),
    "converted": f32(call("sub", Y, integer(100))),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("name", STAGED)
def test_functions_are_to_the_bit_what_evaluate_says(name: str, argument: str) -> None:
    value = call(name, ARGUMENTS[argument])
    # What the last places are: 2^12 codes for each unit in them.
    far = call("mul", call("sub", value, call("add", value, single(0.1))), single(1e9))
    check(codes(call("mul", value, single(19.7)), 7))
    check(codes(far))


@pytest.mark.parametrize(
    ("name", "slots"),
    [("erf", 2), ("rsqrt", 2), ("log", 3), ("sqrt", 3), ("exp", 5), ("sigmoid", 6), ("tanh", 8)],
)
def test_operations_of_a_function_behind_a_multiply_add(name: str, slots: int) -> None:
    """A product, the function on it where it has the place, a product rounded to codes."""
    argument = call("mul", f32(X), single(0.0437))
    micro = check(codes(call("mul", call(f"stage_{name}", argument), single(19.7))))
    assert len(micro.final) == slots


def test_an_argument_that_is_read_again_is_not_changed() -> None:
    x = call("mul", f32(call("sub", X, integer(99))), single(0.0437))
    product = call("mul", x, call("stage_erf", x))
    micro = check(codes(call("mul", product, single(30.0))))
    assert len(micro.final) == 4
    twice = call("add", call("stage_erf", x), call("stage_erf", x))
    assert sum(op.function != 0 for op in check(codes(twice)).final) == 1


@given(st.integers(0, 2**32 - 1))
def test_division_sequence_equals_division_in_every_bit(seed: int) -> None:
    """Quotients themselves, not only codes: random numerators, awkward divisors."""
    bits = np.random.default_rng(seed)
    a = np.ldexp(
        bits.integers(2**23, 2**24, 4096).astype(np.float32), bits.integers(-40, 40, 4096)
    ).astype(np.float32)
    b = np.ldexp(
        np.where(
            bits.random(4096) < 0.3,
            2**24 - bits.integers(1, 8, 4096),
            bits.integers(2**23, 2**24, 4096),
        ).astype(np.float32),
        bits.integers(-40, 40, 4096),
    ).astype(np.float32)
    y = (np.float32(1) / b).astype(np.float32)
    q = fma32(a, y, np.array(-0.0, np.float32))
    for _ in range(2):
        r = fma32(-b, q, a)
        q = fma32(r, y, q)
    np.testing.assert_array_equal(q, a / b)


def test_power_of_two_divisor_is_one_product() -> None:
    assert len(check(codes(call("div", f32(X), single(4.0)))).final) == 1


def test_signed_table_entries_can_be_computed_with() -> None:
    entry = call("lookup", X, Access("table", ()))
    assert len(check(entry).final) == 2
    check(codes(call("mul", f32(entry), single(0.7)), 90))


def test_clamps_of_integers_and_floats() -> None:
    check(call("clip", call("sub", X, integer(100)), integer(-20), integer(60)))
    check(codes(call("max", call("min", f32(X), single(77.5)), single(3.25))))


def test_a_value_that_is_used_twice_is_computed_once() -> None:
    shared = call("mul", f32(X), single(0.3))
    micro = check(codes(call("add", shared, call("mul", shared, shared))))
    assert len(micro.final) == 3


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        (codes(call("exp", f32(X))), "no exp"),
        (codes(call("div", f32(X), f32(Y))), "computed number"),
        (codes(call("div", f32(X), single(1e-38))), "constant outside"),
        (call("add", call("mul", X, Y), integer(1)), "multiplies integers"),
        (call("clip", call("rint", f32(X)), integer(-900), integer(900)), "wider than 8 bit"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(expr: Expr, reason: str) -> None:
    with pytest.raises(CannotFuse, match=reason):
        compiled(expr)


def test_no_operation_reads_both_sources() -> None:
    sums = call("add", call("mul", f32(X), f32(Y)), call("fma", f32(Y), single(0.75), f32(X)))
    floats = codes(call("max", sums, f32(call("sub", X, integer(3)))))
    for expr in (floats, codes(f32(call("max", X, Y))), codes(f32(call("add", X, Y)))):
        micro = check(expr)
        for op in (*micro.init, *micro.body, *micro.final):
            assert not {Operand.S0, Operand.S1} <= {op.a, op.b, op.c}


def test_a_source_with_two_zero_points_is_corrected_where_it_is_read() -> None:
    check(codes(call("fma", f32(call("sub", X, integer(7))), single(0.5), f32(X))))
    low, high = (f32(call("sub", X, integer(z))) for z in (200, 3))
    check(codes(call("max", low, call("mul", high, single(0.25)))))


def test_a_zero_point_that_one_part_has_folded_is_undone_for_another() -> None:
    compiler = Compiler(leaf, lambda _: TABLE)
    compiler.fold_zero_points(call("sub", Y, integer(7)))
    expr = codes(call("fma", f32(Y), single(0.5), f32(call("sub", Y, integer(7)))), 90)
    value = compiler.compile(expr)
    assert isinstance(value.ref, Result)
    micro = assemble(compiler.code, value.ref, None)
    found = run(compiler, micro, EVERY)
    np.testing.assert_array_equal(found.astype(np.uint8), meaning(expr, EVERY).astype(np.uint8))


def test_intervals_of_integers_hold_their_values() -> None:
    compiler = Compiler(leaf, lambda _: TABLE)
    narrow = call("clip", Y, integer(-9), integer(4))
    low, high = call("sub", X, integer(200)), call("sub", integer(3), narrow)
    assert compiler.interval(call("sub", X, Y)) == (-255, 255)
    assert compiler.interval(low) == (-200, 55)
    assert compiler.interval(high) == (-1, 12)
    assert compiler.interval(call("add", low, high)) == (-201, 67)
    assert compiler.interval(call("sub", low, high)) == (-212, 56)
    assert compiler.interval(call("mul", low, high)) == (-2400, 660)
    assert compiler.interval(call("mul", low, low)) == (-11000, 40000)


def test_more_than_eight_constants_are_refused() -> None:
    expr: Expr = f32(X)
    for k in range(9):
        expr = call("add", expr, single(k + 0.5))
    with pytest.raises(CannotFuse, match="eight constants"):
        compiled(codes(expr))


Draw = st.DrawFn


@st.composite
def floats(draw: Draw, depth: int = 3) -> Expr:
    """A float expression of sums, products, clamps of the two sources."""
    if depth == 0 or draw(st.booleans()):
        sources: list[Expr] = [X, Y, call("sub", X, integer(50)), SCALE]
        source = draw(st.sampled_from(sources))
        return source if source == SCALE else f32(source)
    op = draw(st.sampled_from(["add", "sub", "mul", "fma", "max", "min"]))
    number = single(float(np.float32(draw(st.floats(-2, 2, width=32)))))
    first = draw(floats(depth - 1))
    if op == "fma":
        return call(op, first, number, draw(floats(depth - 1)))
    second = draw(st.one_of(st.just(number), floats(depth - 1)))
    return call(op, first, second)


@given(floats(), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_random_expressions_keep_every_bit(expr: Expr, zero: int, seed: int) -> None:
    bits = np.random.default_rng(seed)
    streams = Streams(
        bits.integers(0, 256, 300).astype(np.int32),
        bits.integers(0, 256, 300).astype(np.int32),
        np.full(300, 0.5, np.float32),
    )
    try:
        compiler, micro = compiled(codes(expr, zero))
    except CannotFuse:
        return  # too many registers or constants: refused, not wrong
    np.testing.assert_array_equal(
        run(compiler, micro, streams), meaning(codes(expr, zero), streams)
    )
