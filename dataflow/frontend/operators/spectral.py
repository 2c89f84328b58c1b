"""DFT and STFT: contractions with constant tables of cosines and sines.

A complex number is a last dimension of two. Its product with exp(-2 pi j k n / N) is a 2 x 2
matrix, so a transform is one Einsum over time and component.
"""

from __future__ import annotations

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.indexing import arrange
from dataflow.frontend.operators.moves import normalised
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Expr, call

Array = np.ndarray

MAX_TABLE = 1 << 22
"""Complex numbers of a table: transforms of some 2000 elements."""


def twiddles(bins: int, length: int, period: int, sign: int) -> Array:
    """exp(sign * 2 pi j k n / period) as matrices [bins, length, 2 (in), 2 (out)], float64."""
    if bins * length > MAX_TABLE:
        raise UnsupportedError(f"{bins} bins of {length} elements", "use shorter transforms")
    steps = np.outer(np.arange(bins), np.arange(length)) % period
    angle = sign * 2 * np.pi * steps / period
    cosine, sine = np.cos(angle), np.sin(angle)
    rows = np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)
    return np.stack(rows, -2)


def dft(ctx: Context, node: Node) -> None:
    """DFT: Y[.., k, .., d] = X[.., n, .., c] * T[k, n, c, d] :: add(n, c).

    The inverse of a one-sided spectrum reads each bin for its conjugate too.
    """
    low = Lowering(ctx, node)
    x = low.operand(0)
    rank = len(x.shape)
    axis = _axis(low, rank)
    inverse, one_sided = bool(node.get("inverse", 0)), bool(node.get("onesided", 0))
    if rank < 2 or x.shape[-1] not in (1, 2) or axis == rank - 1 or not x.dtype.is_float:
        raise UnsupportedError(f"its input is {x.dtype} {list(x.shape)}", "use a signal")
    if one_sided and (x.shape[-1] == 1) == inverse:
        raise UnsupportedError("a one-sided spectrum is not that of its input", "repair the model")
    given = low.constant(1, "the length")
    default = 2 * (x.shape[axis] - 1) if inverse and one_sided else x.shape[axis]
    period = default if given is None else int(given.reshape(-1)[0])
    if period < 1:
        raise UnsupportedError(f"its length is {period}", "use a positive length")
    half = period // 2 + 1
    bins = half if one_sided and not inverse else period
    count = min(x.shape[axis], half if one_sided and inverse else period)
    table = twiddles(bins, count, period, 1 if inverse else -1)
    if inverse:
        table = table / period
    if inverse and one_sided:
        # Bin n stands for bin period - n too, whose term is the conjugate: twice the real part.
        both = (np.arange(count) > 0) & (2 * np.arange(count) != period)
        table = (table * np.where(both, 2.0, 1.0)[:, None, None])[..., :1]
    if count < x.shape[axis]:
        cut = arrange(low, x.value, node.input(0), {axis: range(count)})
        x = low.of(cut, node.input(0))
    low.result(_transformed(low, x, axis, table))


def _transformed(low: Lowering, x: Operand, axis: int, table: Array) -> Operand:
    """The contraction of dimension ``axis`` and the last one with a table."""
    names = low.variables(x)
    k, d = low.rank("K", table.shape[0]), low.rank("D", table.shape[3])
    out = [*names[:axis], k, *names[axis + 1 : -1], d]
    return _summed(low, out, x.at(*names), table, [k, names[axis], names[-1], d], x.dtype)


def _summed(
    low: Lowering, out: list[str], expr: Expr, table: Array, over: list[str], dtype: DType
) -> Operand:
    """``Y[out] = expr * table[over] :: add`` over the inner two of ``over``."""
    k, n, c, d = over
    components = low.builder.rank_sizes[c.upper()]
    data = table[:, :, :components].astype(dtype.numpy)
    weights = low.table(f"{low.node.outputs[0]}_table", data)
    return low.let("", out, call("mul", expr, weights.at(k, n, c, d)), ("add", [n, c]))


def _axis(low: Lowering, rank: int) -> int:
    if low.ctx.graph.opset < 20:
        return axis_of(low.node, rank, 1)
    given = low.constant(2, "the axis")
    return normalised(-2 if given is None else int(given.reshape(-1)[0]), rank)


def stft(ctx: Context, node: Node) -> None:
    """STFT: Y[b, f, k, d] = X[b, f*step + n, c] * V[n] * T[k, n, c, d] :: add(n, c)."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    step = int(low.required(1, "the step").reshape(-1)[0])
    window = low.optional(2)
    given = low.constant(3, "the frame length")
    if len(x.shape) == 2:
        raise UnsupportedError(f"its input has shape {list(x.shape)}", "use [batch, length, 1]")
    length = x.shape[1] if window is None else window.shape[0]
    length = length if given is None else int(given.reshape(-1)[0])
    fits = len(x.shape) == 3 and 1 <= length <= x.shape[1] and step > 0
    if not fits or (window is not None and window.shape != (length,)) or not x.dtype.is_float:
        raise UnsupportedError(f"frames of {length} in {list(x.shape)}", "repair the model")
    one_sided = bool(node.get("onesided", 1))
    if one_sided and x.shape[2] == 2:
        raise UnsupportedError("a one-sided spectrum is not that of its input", "repair the model")
    frames = (x.shape[1] - length) // step + 1
    table = twiddles(length // 2 + 1 if one_sided else length, length, length, -1)
    b, _, c = low.variables(x)
    f, n = low.rank("F", frames), low.rank("N", length)
    k, d = low.rank("K", table.shape[0]), low.rank("D", 2)
    value = x.at(b, Affine.of((f, step), n), c)
    if window is not None:
        framed = low.let("frames", [b, f, n, c], call("mul", value, window.at(n)))
        value = framed.at(b, f, n, c)
    low.result(_summed(low, [b, f, k, d], value, table, [k, n, c, d], x.dtype))


LOWERINGS = {("", "DFT"): dft, ("", "STFT"): stft}
