"""What a Layer means, in NumPy, written apart from every printer: point by point, no tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.evaluate.functions import Function, apply
from dataflow.evaluate.single import fma32, rint32
from dataflow.layers.layer import Layer, LayerGraph, MicroOp, MicroProgram, View
from dataflow.machine.isa import Op, Operand

Array = NDArray[Any]


def _codes(memory: Array, signed: bool, zero: int) -> Array:
    return (memory.view(np.int8) if signed else memory).astype(np.int32) - zero


def _gather(view: View, data: Array, b: Array, y: Array, x: Array, c: Array) -> Array:
    channel = c * 0 if view.splat else c
    at = view.offset + b * view.b_bytes + y * view.y_bytes + x * view.x_bytes + channel
    return np.asarray(data[at])


def run_layer(graph: LayerGraph, layer: Layer, memory: Mapping[str, Array]) -> Array:
    """Output codes (b, p, q, groups*n) of a layer; ``memory`` holds the tensors' bytes."""
    channels = layer.groups * layer.n
    b, p, q, c = np.meshgrid(
        np.arange(layer.batch),
        np.arange(layer.p),
        np.arange(layer.q),
        np.arange(channels),
        indexing="ij",
    )
    second = _second(layer, memory, b, p, q, c)
    vectors = [graph.params[n] for n in layer.params]
    params = [np.asarray(v).view(np.int32)[c] for v in vectors]
    if layer.kind == "array":
        acc = _contraction(graph, layer, memory, b, p, q, c)
        if layer.bias:
            acc = acc + params[0]
        return _vector(layer.micro, [acc.astype(np.int32)], second, params)
    windows = []
    for r in range(layer.taps_r):
        for s in range(layer.taps_s):
            codes, inside = _window(layer, memory, b, p, q, c, r, s)
            windows.append(np.where(inside, codes, layer.pad_value).astype(np.int32))
    return _vector(layer.micro, windows, second, params)


def _window(
    layer: Layer,
    memory: Mapping[str, Array],
    b: Array,
    p: Array,
    q: Array,
    c: Array,
    r: int,
    s: int,
) -> tuple[Array, Array]:
    view = layer.source
    y = p * layer.stride_p + r * layer.dilation_r - layer.pad_p
    x = q * layer.stride_q + s * layer.dilation_s - layer.pad_q
    rows, columns = view.shape[1:3]
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    data = _codes(memory[view.tensor], layer.source_signed, layer.source_zero)
    if layer.flat:
        y, x, inside = p, q, np.ones_like(inside)
    y, x = np.where(inside, y, 0), np.where(inside, x, 0)
    return _gather(view, data, b, y, x, c), inside


def _contraction(
    graph: LayerGraph,
    layer: Layer,
    memory: Mapping[str, Array],
    b: Array,
    p: Array,
    q: Array,
    c: Array,
) -> Array:
    stationary = layer.stationary
    assert stationary is not None
    zero = np.broadcast_to(np.array(stationary.zero), (layer.groups * layer.n,))
    group, column = c // layer.n, c % layer.n
    total = np.zeros(c.shape, dtype=np.int64)
    if stationary.view is None:
        codes = np.asarray(graph.weights[stationary.tensor])
    else:
        flat = _codes(memory[stationary.view.tensor], stationary.signed, 0)
    for r in range(layer.taps_r):
        for s in range(layer.taps_s):
            for k in range(layer.c):
                x, inside = _window(layer, memory, b, p, q, group * layer.c + k, r, s)
                if stationary.view is None:
                    w = codes[group, r, s, k, column]
                elif stationary.transposed:
                    w = _gather(stationary.view, flat, b, 0 * b, column, 0 * c + k)
                else:
                    w = _gather(stationary.view, flat, b, 0 * b + k, 0 * b, column)
                total += np.where(inside, x, 0).astype(np.int64) * (w - zero[c])
    return total


def _second(
    layer: Layer, memory: Mapping[str, Array], b: Array, p: Array, q: Array, c: Array
) -> list[Array]:
    view = layer.second
    if view is None:
        return []
    if not layer.second_words:
        data = _codes(memory[view.tensor], layer.second_signed, layer.second_zero)
        return [_gather(view, data, b, p, q, c)]
    address = view.offset + b * view.b_bytes + p * view.y_bytes + q * view.x_bytes
    data = memory[view.tensor].astype(np.uint32)
    words = []
    for use in range(2):
        at = address + use * layer.second_use
        bits = sum(data[np.minimum(at + i, data.size - 1)] << np.uint32(8 * i) for i in range(4))
        words.append(np.asarray(bits).view(np.int32))
    return words


def _vector(
    micro: MicroProgram, windows: list[Array], second: list[Array], params: list[Array]
) -> Array:
    """Runs the micro-program on 32-bit patterns."""
    registers = [np.zeros_like(windows[0]) for _ in range(4)]
    out = np.zeros(windows[0].shape, dtype=np.uint8)
    use = 0

    def operand(selector: int, s0: Array, s1: Array | None) -> Array:
        if selector < 4:
            return registers[selector]
        if selector == Operand.S0:
            return s0
        if selector == Operand.S1:
            assert s1 is not None
            return s1
        if selector in (Operand.P0, Operand.P1):
            return params[selector - Operand.P0]
        fixed = {Operand.ZERO: 0, Operand.ONE: 0x3F800000, Operand.MINUS_ZERO: 0x80000000}
        bits = fixed[Operand(selector)] if selector >= 16 else micro.constants[selector - 8]
        return np.full(windows[0].shape, bits, dtype=np.uint32).view(np.int32)

    def run(op: MicroOp, s0: Array, first: bool) -> None:
        nonlocal use
        s1 = None
        if Operand.S1 in (op.a, op.b, op.c):
            s1 = second[min(use, len(second) - 1)]
            use += 1
        a, b, c = (operand(o, s0, s1) for o in (op.a, op.b, op.c))
        a = a.astype(np.float32).view(np.int32) if op.a_float else a
        b = b.astype(np.float32).view(np.int32) if op.b_float else b
        sign = np.int32(-(2**31))
        a = a ^ sign if op.a_negate else a
        b = b ^ sign if op.b_negate else b
        c = c ^ sign if op.c_negate else c
        result = b if first and op.first_b else _operation(op, a, b, c, micro)
        if op.to_int is not None and op.op in (Op.FMA, Op.FMAX, Op.FMIN):
            zero, low, high = op.to_int
            result = np.clip(rint32(result.view(np.float32)) + zero, low, high).astype(np.int32)
        if op.dst is not None:
            registers[op.dst] = result
        if op.sink:
            out[...] = (result & 255).astype(np.uint8)

    for op in micro.init:
        run(op, windows[0], True)
    for index, s0 in enumerate(windows):
        for op in micro.body:
            run(op, s0, index == 0)
    for op in micro.final:
        run(op, windows[0], True)
    return out


def _operation(op: MicroOp, a: Array, b: Array, c: Array, micro: MicroProgram) -> Array:
    if op.op is Op.FMA:
        floats = [np.ascontiguousarray(v).view(np.float32) for v in (a, b, c)]
        if op.function is Function.EXP2:
            floats[2] = np.full(c.shape, -0.0, np.float32)
        return apply(op.function, fma32(*floats), c).view(np.int32)
    if op.op in (Op.FMAX, Op.FMIN):
        fold = np.maximum if op.op is Op.FMAX else np.minimum
        return fold(a.view(np.float32), b.view(np.float32)).view(np.int32)
    if op.op is Op.IADD:
        return (a.astype(np.int64) + b).astype(np.int32)
    if op.op in (Op.IMAX, Op.IMIN):
        return (np.maximum if op.op is Op.IMAX else np.minimum)(a, b)
    if op.op is Op.LOOKUP:
        assert micro.table is not None
        return np.asarray(np.frombuffer(micro.table, dtype=np.uint8)[a & 255], np.int32)
    return a
