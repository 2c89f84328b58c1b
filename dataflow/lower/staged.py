"""Functions of the function stage as micro-operations: ``stage_exp`` and so on of a Cascade.

Each is, operation by operation, what ``dataflow.evaluate.functions.composed`` computes.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.evaluate.functions import Function, composed
from dataflow.ir.ops import STAGE
from dataflow.lower.assemble import Result
from dataflow.lower.emitter import MINUS_ZERO, ONE, Emitter, Value
from dataflow.machine.isa import Op

_ONE, _MINUS_ZERO = Value(ONE, True), Value(MINUS_ZERO, True)


def staged(emitter: Emitter, name: str, x: Value, first: int) -> Value:
    """Emits a function of ``x``.

    Args:
        emitter: takes the operations.
        name: an operator of ``dataflow.ir.ops.STAGED``.
        x: the argument.
        first: number of the first node that was emitted for the argument alone.
    """
    if not x.is_float:
        x = emitter.converted(x)
    match name.removeprefix(STAGE):
        case "exp":
            return _exp(emitter, x)
        case "sigmoid":
            return _inverse(emitter, _exp(emitter, replace(x, negate=not x.negate)))
        case "tanh":
            two = emitter.single(2.0)
            half = _inverse(emitter, _exp(emitter, _fma(emitter, x, two, _MINUS_ZERO)))
            return _fma(emitter, half, replace(two, negate=True), _ONE)
        case "softplus":
            if x.negate:  # a NaN goes through the maximum with its sign
                x = _fma(emitter, x, _ONE, _MINUS_ZERO)
            bound = emitter.single(float(composed.SOFTPLUS_LINEAR))
            low = emitter.emit(Op.FMIN, x, bound, is_float=True)
            rise = _fma(emitter, _exp(emitter, low), _ONE, _ONE, Function.LOG2)
            low = _fma(emitter, rise, emitter.single(float(composed.LN_2)), _MINUS_ZERO)
            return emitter.emit(Op.FMAX, x, low, is_float=True)
        case "log":
            rise = _of(emitter, x, Function.LOG2, first)
            return _fma(emitter, rise, emitter.single(float(composed.LN_2)), _MINUS_ZERO)
        case "sqrt":
            inverse = _of(emitter, x, Function.RSQRT, first)
            return _fma(emitter, inverse, _ONE, _MINUS_ZERO, Function.RECIPROCAL)
        case "rsqrt":
            return _of(emitter, x, Function.RSQRT, first)
        case "reciprocal":
            return _of(emitter, x, Function.RECIPROCAL, first)
        case "erf":
            return _of(emitter, x, Function.ERF, first)
    raise AssertionError(f"{name} is no function of the stage")


def _exp(emitter: Emitter, x: Value) -> Value:
    """2^((x - n ln 2) log2 e) scaled by 2^n, n the integer nearest to x log2 e."""
    log2_e = emitter.single(float(composed.LOG2_E))
    ln_2 = emitter.single(float(composed.LN_2))
    n = emitter.rounded(_fma(emitter, x, log2_e, _MINUS_ZERO), (0, -512, 511))
    rest = _fma(emitter, n, replace(ln_2, negate=True), x)
    return _fma(emitter, rest, log2_e, n, Function.EXP2)


def _inverse(emitter: Emitter, x: Value) -> Value:
    """1 / (1 + x)."""
    return _fma(emitter, x, _ONE, _ONE, Function.RECIPROCAL)


def _of(emitter: Emitter, x: Value, function: Function, first: int) -> Value:
    """A function of ``x``: on the operation that makes x, when that is a multiply-add for it alone,
    else on a copy."""
    nodes = emitter.code.nodes
    last = Result(len(nodes) - 1)
    if x.ref == last and last.node >= first and not x.negate:
        node = nodes[last.node]
        if node.op is Op.FMA and not (node.to_int or node.first_b or node.function):
            nodes[last.node] = replace(node, function=function)
            emitter.forget(last)
            return Value(last, True)
    return _fma(emitter, x, _ONE, _MINUS_ZERO, function)


def _fma(
    emitter: Emitter, a: Value, b: Value, c: Value, function: Function = Function.IDENTITY
) -> Value:
    return emitter.emit(Op.FMA, a, b, c, is_float=True, function=function)
