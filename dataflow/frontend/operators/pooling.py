"""Poolings of any element type and number of dimensions, with indices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from dataflow.frontend.codes.windows import MAX_OUT, Window, windows
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.ranks import Variables, spatial_letters, whole
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import S64
from dataflow.ir.expr import Const, Expr, Index, call


@dataclass(frozen=True)
class _Windows:
    """An input seen through its windows.

    Attributes:
        element: the input at output (b, c, p..) and tap (r..).
        outs: variables b, c, p..; taps: variables r...
        plane: number of the element in its [D, H, W] plane, row-major.
    """

    axes: tuple[Window, ...]
    element: Expr
    outs: tuple[str, ...]
    taps: tuple[str, ...]
    plane: Affine


def _windowed(low: Lowering, x: Operand) -> _Windows:
    node = low.node
    count = len(x.shape) - 2
    if count < 1:
        raise UnsupportedError(f"its input has shape {list(x.shape)}", "use [N, C, ...]")
    sizes = x.shape[2:]
    if "Global" in node.op:
        axes = tuple(Window(s, s, 1, 1, 0, 0, 1) for s in sizes)
    else:
        kernel = tuple(int(k) for k in node.get("kernel_shape", ()))
        if len(kernel) != count:
            raise UnsupportedError(f"kernel_shape is {list(kernel)}", "repair the model")
        axes = windows(node, sizes, kernel)
    tap_letters, out_letters = spatial_letters(count)
    own = Variables(low)
    b, c = own.take("B", x.shape[0], (x, 0)), own.take("C", x.shape[1], (x, 1))
    outer = [low.rank(k, t.out) for k, t in zip(out_letters, axes, strict=True)]
    inner = [low.rank(k, t.kernel) for k, t in zip(tap_letters, axes, strict=True)]
    reads = [t.index(p, r) for t, p, r in zip(axes, outer, inner, strict=True)]
    plane = Affine()
    for place, size in zip(reads, sizes, strict=True):
        plane = Affine.of(plane * size, place)
    return _Windows(axes, x.at(b, c, *reads), (b, c, *outer), tuple(inner), plane)


def max_pool(ctx: Context, node: Node) -> None:
    """MaxPool, GlobalMaxPool: Y = X :: max(r..).

    Indices: the smallest number of an element that equals the maximum, in row-major order of the
    whole input; with storage_order 1 the number of that element when planes are column-major.
    """
    low = Lowering(ctx, node)
    x = whole(low, 0)
    w = _windowed(low, x)
    y = low.let("", w.outs, w.element, ("max", w.taps), x.dtype)
    low.result(y)
    if len(node.outputs) < 2 or not node.outputs[1]:
        return
    size = prod(x.shape[2:])
    beyond = Const(size, S64)
    found = call("where", call("equal", w.element, y.at(*w.outs)), Index(w.plane), beyond)
    first = low.let("first", w.outs, found, ("min", w.taps), S64)
    number = first.at(*w.outs)
    if node.get("storage_order", 0):
        number = _column_major(number, x.shape[2:])
    b, c = w.outs[:2]
    before = Index(Affine.of((b, x.shape[1] * size), (c, size)))
    low.result(low.let("indices", w.outs, call("add", number, before), dtype=S64), 1)


def _column_major(number: Expr, sizes: tuple[int, ...]) -> Expr:
    """The number of an element when the first spatial dimension is the fastest."""
    rest, total, stride = number, None, prod(sizes)
    for size in reversed(sizes):
        stride //= size
        part = call("mul", call("mod", rest, Const(size, S64)), Const(stride, S64))
        total = part if total is None else call("add", total, part)
        rest = call("idiv", rest, Const(size, S64))
    assert total is not None
    return total


def average_pool(ctx: Context, node: Node) -> None:
    """AveragePool, GlobalAveragePool: S = X :: add(r..), Y = S / number of taps."""
    low = Lowering(ctx, node)
    x = whole(low, 0)
    if not x.dtype.is_float:
        raise UnsupportedError(f"its operand is {x.dtype}", "use floats")
    w = _windowed(low, x)
    if prod(t.out for t in w.axes) > MAX_OUT:
        raise UnsupportedError("its output is too large", "use a smaller input")
    padding = bool(node.get("count_include_pad", 0))
    counts = reduce(np.multiply.outer, [t.counts(padding=padding) for t in w.axes])
    total = low.let("sum", w.outs, w.element, ("add", w.taps), x.dtype)
    if counts.size and (counts == counts.flat[0]).all():
        count: Expr = literal(float(counts.flat[0]), x.dtype)
    else:
        label = f"{node.outputs[0]}_count"
        count = low.table(label, counts.astype(x.dtype.numpy)).at(*w.outs[2:])
    low.result(low.let("", w.outs, call("div", total.at(*w.outs), count), dtype=x.dtype))


def lp_pool(ctx: Context, node: Node) -> None:
    """LpPool, GlobalLpPool: Y = (|X|^p :: add(r..)) ^ (1/p)."""
    low = Lowering(ctx, node)
    x = whole(low, 0)
    order = float(node.get("p", 2))
    if not x.dtype.is_float or not order > 0:
        raise UnsupportedError(f"its order is {order} on {x.dtype}", "use floats and p > 0")
    w = _windowed(low, x)
    size = call("abs", w.element)
    if order == 2.0:
        power = call("mul", w.element, w.element)
    else:
        power = size if order == 1.0 else call("pow", size, literal(order, x.dtype))
    total = low.let("sum", w.outs, power, ("add", w.taps), x.dtype)
    root = total.at(*w.outs)
    if order == 2.0:
        root = call("sqrt", root)
    elif order != 1.0:
        root = call("pow", root, literal(1.0 / order, x.dtype))
    low.result(low.let("", w.outs, root, dtype=x.dtype))


LOWERINGS = {
    ("", "MaxPool"): max_pool,
    ("", "GlobalMaxPool"): max_pool,
    ("", "AveragePool"): average_pool,
    ("", "GlobalAveragePool"): average_pool,
    ("", "LpPool"): lp_pool,
    ("", "GlobalLpPool"): lp_pool,
}
