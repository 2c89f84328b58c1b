"""Range, ConstantOfShape, EyeLike, windows, MelWeightMatrix, NonZero, Unique: made at import.

Their results, or the shapes of these, depend on parameters only.
"""

from __future__ import annotations

from math import ceil, isfinite, prod

import numpy as np
from onnx import TensorProto, helper

from dataflow.errors import DataflowError
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, axis_of
from dataflow.frontend.onnx.graph import Node, to_array
from dataflow.frontend.operators.indexing import MAX_CONSTANT
from dataflow.frontend.value import Value
from dataflow.ir.dtype import DType

Array = np.ndarray

MAX_SIZE = 1 << 40
"""Elements of a constant that is one number everywhere, which is kept as such."""

MAX_BINS = 1 << 12
"""Mel bins: far above any spectrogram."""


def bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a constant to make; UnsupportedError when it is negative or too large."""
    if min(shape, default=0) < 0 or prod(shape) > MAX_CONSTANT:
        raise UnsupportedError(f"it makes a constant of shape {list(shape)}", "use a smaller one")
    return shape


def element_type(node: Node, name: str, default: int = TensorProto.FLOAT) -> np.dtype:
    """The type that an attribute names; UnsupportedError when there is no counterpart."""
    code = int(node.get(name, default))
    try:
        return DType.of_numpy(np.dtype(helper.tensor_dtype_to_np_dtype(code))).numpy
    except (DataflowError, KeyError) as error:
        raise UnsupportedError(f"its type is number {code}", "use a numeric type") from error


def scalar(low: Lowering, position: int, what: str) -> float | int:
    """A constant input of one element."""
    data = low.required(position, what)
    if data.size != 1:
        raise UnsupportedError(f"{what} has shape {list(data.shape)}", "use a scalar")
    number: float | int = data.reshape(()).item()
    return number


def range_(ctx: Context, node: Node) -> None:
    """Range: start + k*delta, for k below ceil((limit - start) / delta)."""
    low = Lowering(ctx, node)
    dtype = low.required(0, "the start").dtype
    start, limit, delta = (
        scalar(low, k, what) for k, what in enumerate(("the start", "the limit", "the delta"))
    )
    if not delta or not all(isfinite(v) for v in (start, limit, delta)):
        raise UnsupportedError(f"it counts from {start} by {delta}", "repair the model")
    exact = all(isinstance(v, int) for v in (start, limit, delta))
    count = -((limit - start) // -delta) if exact else ceil((limit - start) / delta)
    (count,) = bounded((max(0, int(count)),))
    steps = np.arange(count)
    low.constant_result((start + steps * delta).astype(dtype))


def constant_of_shape(ctx: Context, node: Node) -> None:
    """ConstantOfShape: a constant shape filled with one value."""
    low = Lowering(ctx, node)
    shape = tuple(int(s) for s in low.required(0, "the shape").reshape(-1))
    if min(shape, default=0) < 0 or prod(shape) > MAX_SIZE:
        raise UnsupportedError(f"it makes a constant of shape {list(shape)}", "use a smaller one")
    value = node.attributes.get("value")
    data = np.zeros((), np.float32) if value is None else to_array(value)
    if data.size != 1:
        raise UnsupportedError(f"its value has shape {list(data.shape)}", "use one number")
    if prod(shape) <= MAX_CONSTANT:
        low.constant_result(np.full(shape, data.reshape(()), data.dtype))
    else:
        dtype = DType.of(data)
        number = literal(data.reshape(()).item(), dtype)
        low.view(Value(tuple((n,) for n in shape), dtype, expr=number))


def eye_like(ctx: Context, node: Node) -> None:
    """EyeLike: ones on diagonal ``k`` in the shape of the input."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    if len(x.shape) != 2:
        raise UnsupportedError(f"its input has shape {list(x.shape)}", "use a matrix")
    dtype = x.dtype if x.quant is None else x.quant.real
    kind = element_type(node, "dtype") if "dtype" in node.attributes else dtype.numpy
    rows, columns = bounded(x.shape)
    low.constant_result(np.eye(rows, columns, int(node.get("k", 0)), dtype=kind))


WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}
"""Coefficients a - b cos(2 pi n / N) + c cos(4 pi n / N); Hamming's are the exact fractions."""


def window(ctx: Context, node: Node) -> None:
    """HannWindow, HammingWindow, BlackmanWindow of a constant size."""
    low = Lowering(ctx, node)
    (size,) = bounded((int(scalar(low, 0, "the size")),))
    a, b, c = WINDOWS[node.op]
    count = max(1, size if int(node.get("periodic", 1)) else size - 1)
    phase = 2 * np.pi * np.arange(size) / count
    data = a - b * np.cos(phase) + c * np.cos(2 * phase)
    low.constant_result(data.astype(element_type(node, "output_datatype")))


def mel_weight_matrix(ctx: Context, node: Node) -> None:
    """MelWeightMatrix: triangular filters, mel(f) = 2595 log10(1 + f/700), [bins, mels].

    Edges are whole bins, as in the operator's definition, and a triangle of no width has one 1.
    """
    low = Lowering(ctx, node)
    names = ("the number of bins", "the DFT length", "the sample rate", "an edge", "an edge")
    mels, length, rate, lower, upper = (scalar(low, k, what) for k, what in enumerate(names))
    rows, mels = bounded((int(length) // 2 + 1, int(mels)))
    if mels > MAX_BINS:
        raise UnsupportedError(f"it has {mels} bins", f"use at most {MAX_BINS}")
    if rate <= 0 or min(lower, upper) <= -700 or not all(map(isfinite, (lower, upper))):
        raise UnsupportedError("its frequencies are out of range", "repair the model")
    bottom, top = (2595 * np.log10(1 + f / 700) for f in (lower, upper))
    edges = bottom + np.arange(mels + 2) * (top - bottom) / (mels + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = ((int(length) + 1) * hertz // rate).astype(np.int64)
    data = np.zeros((rows, mels))
    place = np.arange(rows)
    for m in range(mels):
        left, centre, right = bins[m : m + 3]
        if left == centre:
            data[place == centre, m] = 1
        else:
            rising = (place >= left) & (place <= centre)
            data[rising, m] = (place[rising] - left) / (centre - left)
        if right > centre:
            falling = (place >= centre) & (place < right)
            data[falling, m] = (right - place[falling]) / (right - centre)
    low.constant_result(data.astype(element_type(node, "output_datatype")))


def non_zero(ctx: Context, node: Node) -> None:
    """NonZero of a constant: the coordinates of its elements that are not zero."""
    low = Lowering(ctx, node)
    x = low.required(0, "its input (which decides the shape of the output)")
    low.constant_result(np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64))


def unique(ctx: Context, node: Node) -> None:
    """Unique of a constant: values, first positions, inverse positions, counts."""
    low = Lowering(ctx, node)
    x = low.required(0, "its input (which decides the shape of the output)")
    axis = axis_of(node, x.ndim) if "axis" in node.attributes else None
    found = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    values, first, inverse, counts = found
    inverse = inverse.reshape(-1)
    if not int(node.get("sorted", 1)):
        order = np.argsort(first)
        values = np.take(values, order, axis=axis or 0)
        first, counts = first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    low.constant_result(np.asarray(values))
    for output, data in enumerate((first, inverse, counts), 1):
        low.constant_result(data.astype(np.int64), output)


LOWERINGS = {
    ("", "Range"): range_,
    ("", "ConstantOfShape"): constant_of_shape,
    ("", "EyeLike"): eye_like,
    **{("", op): window for op in WINDOWS},
    ("", "MelWeightMatrix"): mel_weight_matrix,
    ("", "NonZero"): non_zero,
    ("", "Unique"): unique,
}
