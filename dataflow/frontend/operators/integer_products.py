"""Matrix products and convolutions of codes in general form.

Zero points and scales may be computed, per row or per column; weights may be computed. What the
integer forms of ``dataflow.frontend`` cover is lowered there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataflow.frontend.codes.windows import windows
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.indexing import apart
from dataflow.frontend.operators.qdq import dynamic_codes, single_precision
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import F32, S32, DType
from dataflow.ir.expr import Const, Expr, call, integer

OUTS, TAPS = "OPQ", "TRS"
MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Product:
    """Indices of a matrix product ``Y[out] = A[left] * B[right] :: add(inner)``.

    Attributes:
        out: variables of the output; ``row`` and ``column`` are among them, or None for vectors.
        left, right: indices of the operands.
    """

    out: tuple[str, ...]
    left: tuple[Place, ...]
    right: tuple[Place, ...]
    inner: str
    row: str | None
    column: str | None


def codes(low: Lowering, position: int) -> Operand:
    """An input of codes; UnsupportedError when it is something else."""
    value = low.ctx.value(low.node, position)
    if value.quant is not None or not value.dtype.is_int or value.dtype.bits > 16:
        raise UnsupportedError(f"input {position} is {value.dtype}", "give it integer codes")
    return low.of(value, low.node.input(position))


def product(low: Lowering, a: Operand, b: Operand) -> Product:
    """The indices of ``a @ b`` by NumPy's rules."""
    if not a.shape or not b.shape:
        raise UnsupportedError("an operand is a scalar", "use Mul")
    lead_a, lead_b = a.shape[:-2], b.shape[:-2]
    depth = b.shape[-2] if len(b.shape) > 1 else b.shape[0]
    try:
        batch = np.broadcast_shapes(lead_a, lead_b)
    except ValueError as error:
        raise UnsupportedError("batch dimensions do not broadcast", "repair the model") from error
    if a.shape[-1] != depth:
        raise UnsupportedError(
            f"inner dimensions {a.shape[-1]} and {depth} differ", "repair the model"
        )
    names_a, names_b = low.variables(a), low.variables(b)
    wanted: list[tuple[str, int]] = []
    for k, size in enumerate(batch):
        own_a, own_b = k - len(batch) + len(lead_a), k - len(batch) + len(lead_b)
        from_a = own_a >= 0 and lead_a[own_a] == size
        wanted.append((names_a[own_a] if from_a else names_b[own_b], size))
    row = len(a.shape) > 1
    column = len(b.shape) > 1
    wanted += [(names_a[-2], a.shape[-2])] if row else []
    wanted += [(names_b[-1], b.shape[-1])] if column else []
    wanted.append((names_a[-1], depth))
    found = apart(low, [n for n, _ in wanted], [s for _, s in wanted])
    outer, inner = found[: len(batch)], found[-1]
    m = found[len(batch)] if row else None
    n = found[-2] if column else None

    def batched(lead: tuple[int, ...]) -> list[Place]:
        own = outer[len(outer) - len(lead) :]
        return [0 if s == 1 else v for s, v in zip(lead, own, strict=True)]

    return Product(
        tuple(found[:-1]),
        (*batched(lead_a), *([m] if m else []), inner),
        (*batched(lead_b), inner, *([n] if n else [])),
        inner,
        m,
        n,
    )


def along(
    low: Lowering, operand: Operand, places: Sequence[Place], name: str | None, what: str
) -> Expr:
    """A parameter that is a scalar, a vector along variable ``name``, or broadcast to ``places``.

    UnsupportedError when its shape is another one.
    """
    shape = operand.shape
    if int(np.prod(shape)) == 1:
        return operand.at(*[0] * len(shape))
    sizes = low.builder.rank_sizes
    if len(shape) == 1 and name is not None and shape[0] == sizes[name.upper()]:
        return operand.at(name)
    own = places[len(places) - len(shape) :]
    if len(own) == len(shape) > 1 and all(
        s == 1 or (isinstance(p, str) and sizes[p.upper()] == s)
        for s, p in zip(shape, own, strict=True)
    ):
        return operand.broadcast(places)
    raise UnsupportedError(
        f"it has {int(np.prod(shape))} {what}s of shape {list(shape)}", "use scalars or vectors"
    )


def shifted(
    low: Lowering, code: Expr, zero: Operand | None, places: Sequence[Place], name: str | None
) -> Expr:
    """The code minus its zero point."""
    if zero is None:
        return code
    offset = along(low, zero, places, name, "zero point")
    return code if isinstance(offset, Const) and not offset.value else call("sub", code, offset)


def accumulated(
    low: Lowering, a: Operand, b: Operand, za: Operand | None, zb: Operand | None, suffix: str
) -> tuple[Operand, Product]:
    """``ACC[.., m, n] = (A[.., m, k] - za) * (B[.., k, n] - zb) :: add(k)`` in int32."""
    p = product(low, a, b)
    left = shifted(low, a.at(*p.left), za, p.left, p.row)
    right = shifted(low, b.at(*p.right), zb, p.right, p.column)
    acc = low.let(suffix, p.out, call("mul", left, right), ("add", [p.inner]), S32)
    return acc, p


def matmul_integer(ctx: Context, node: Node) -> None:
    """MatMulInteger: A, B, [a_z], [b_z]; zero points per tensor, per row of A, per column of B."""
    low = Lowering(ctx, node)
    a, b = codes(low, 0), codes(low, 1)
    acc, _ = accumulated(low, a, b, low.optional(2), low.optional(3), "")
    low.result(acc)


def qlinear_matmul(ctx: Context, node: Node) -> None:
    """QLinearMatMul with scales of any shape: ``Y = clip(rint(f32(ACC) * m) + zy)``.

    m = f32(f32(sa * sb) / sy), per row and column.
    """
    low = Lowering(ctx, node)
    a, sa, za = codes(low, 0), low.operand(1), low.optional(2)
    b, sb, zb = codes(low, 3), low.operand(4), low.optional(5)
    sy, zy = low.operand(6), low.optional(7)
    if zy is None:
        raise UnsupportedError("it has no output zero point", "repair the model")
    acc, p = accumulated(low, a, b, za, zb, "acc")
    factor = call(
        "div",
        call("mul", _factor(low, sa, p.left, p.row), _factor(low, sb, p.right, p.column)),
        _factor(low, sy, p.out, p.row),
    )
    scaled = call("mul", call("f32", acc.at(*p.out)), factor)
    low.result(
        requantised(low, p.out, scaled, along(low, zy, p.out, p.row, "zero point"), zy.dtype)
    )


def requantised(
    low: Lowering, names: Sequence[str], scaled: Expr, zero: Expr, dtype: DType
) -> Operand:
    """``clip(rint(scaled) + zero)`` in the node's output."""
    if not dtype.is_int or dtype.bits > 16:
        raise UnsupportedError(f"its zero point is {dtype}", "quantise to int8 or uint8")
    code = call("add", call("rint", scaled), zero)
    bounded = call("clip", code, integer(dtype.lowest), integer(dtype.highest))
    return low.let("", names, bounded, dtype=dtype)


def _factor(low: Lowering, scale: Operand, places: Sequence[Place], name: str | None) -> Expr:
    return single_precision(low, along(low, scale, places, name, "scale"), scale.dtype)


def matmul_integer_to_float(ctx: Context, node: Node) -> None:
    """com.microsoft MatMulIntegerToFloat: A, B, sa, sb, [za], [zb], [bias].

    ``Y = f32(ACC) * f32(sa * sb) + bias``.
    """
    low = Lowering(ctx, node)
    a, b = codes(low, 0), codes(low, 1)
    acc, p = accumulated(low, a, b, low.optional(4), low.optional(5), "acc")
    left = _factor(low, low.operand(2), p.left, p.row)
    right = _factor(low, low.operand(3), p.right, p.column)
    low.result(_real(low, acc, p, call("mul", left, right), low.optional(6)))


def dynamic_quantize_matmul(ctx: Context, node: Node) -> None:
    """com.microsoft DynamicQuantizeMatMul: A (float), B, sb, [zb], [bias]."""
    low = Lowering(ctx, node)
    a, scale, zero = dynamic_codes(low, low.operand(0), "codes")
    acc, p = accumulated(low, a, codes(low, 1), zero, low.optional(3), "acc")
    factor = call("mul", scale.at(), _factor(low, low.operand(2), p.right, p.column))
    low.result(_real(low, acc, p, factor, low.optional(4)))


def _real(low: Lowering, acc: Operand, p: Product, factor: Expr, bias: Operand | None) -> Operand:
    total = call("mul", call("f32", acc.at(*p.out)), factor)
    if bias is not None:
        total = call("add", total, along(low, bias, p.out, p.column, "bias"))
    return low.let("", p.out, total, dtype=F32)


def convolved(
    low: Lowering, x: Operand, w: Operand, zx: Operand | None, zw: Operand | None, suffix: str
) -> tuple[Operand, tuple[str, ...]]:
    """``ACC[b, g*M + m, p..] = (X[b, g*C + c, p*s + r*d - pad..] - zx) * (W[..] - zw)`` in int32.

    Returns the accumulator and variables that run over it; the second is the channel. Points in
    the padding contribute 0 after the subtraction.
    """
    node = low.node
    spatial = len(x.shape) - 2
    groups = int(node.get("group", 1))
    if not 1 <= spatial <= 3 or len(w.shape) != len(x.shape):
        raise UnsupportedError(
            f"operands have shapes {list(x.shape)} and {list(w.shape)}",
            "use 1-, 2- or 3-D convolution",
        )
    if groups < 1 or w.shape[0] % groups or w.shape[1] * groups != x.shape[1]:
        raise UnsupportedError(
            f"{x.shape[1]} input and {w.shape[0]} output channels in {groups} groups of "
            f"{w.shape[1]}",
            "repair the model",
        )
    taps = windows(node, x.shape[2:], w.shape[2:])
    x = low.whole(x, range(2, len(x.shape)))
    batch = low.variables(x)[0]
    g, m = low.rank("G", groups), low.rank("M", w.shape[0] // groups)
    c = low.rank("C", w.shape[1])
    out = [low.rank(k, t.out) for k, t in zip(OUTS[-spatial:], taps, strict=True)]
    inner = [low.rank(k, t.kernel) for k, t in zip(TAPS[-spatial:], taps, strict=True)]
    channel = Affine.of((g, w.shape[0] // groups), m)
    spots = [t.index(p, r) for t, p, r in zip(taps, out, inner, strict=True)]
    left = shifted(low, x.at(batch, Affine.of((g, w.shape[1]), c), *spots), zx, (), None)
    right = w.at(channel, c, *inner)
    if zw is not None and zw.shape == w.shape[:1]:
        right = call("sub", right, zw.at(channel))
    else:
        right = shifted(low, right, zw, (), None)
    whole_rank = low.rank("N", w.shape[0])
    acc = low.tensor(suffix, [batch, whole_rank, *out], S32)
    places: tuple[Place, ...] = (batch, channel, *out)
    reduced = Reduction("add", (c, *inner))
    low.write(acc, places, call("mul", left, right), reduced)
    return low.read(acc), (batch, whole_rank, *out)


def conv_integer(ctx: Context, node: Node) -> None:
    """ConvInteger: X, W, [x_z], [w_z per tensor or output channel]."""
    low = Lowering(ctx, node)
    x, w = codes(low, 0), codes(low, 1)
    low.result(convolved(low, x, w, low.optional(2), low.optional(3), "")[0])


def qlinear_conv(ctx: Context, node: Node) -> None:
    """QLinearConv with computed weights or parameters; the rule of the constant form."""
    low = Lowering(ctx, node)
    x, w = codes(low, 0), codes(low, 3)
    acc, names = convolved(low, x, w, low.optional(2), low.optional(5), "acc")
    channel = names[1]
    total: Expr = acc.at(*names)
    bias = low.optional(8)
    if bias is not None:
        total = call("add", total, along(low, bias, (), channel, "bias"))
    sx, sw, sy = (
        _factor(low, low.operand(k), (), name) for k, name in ((1, None), (4, channel), (6, None))
    )
    scaled = call("mul", call("f32", total), call("div", call("mul", sx, sw), sy))
    zero = low.operand(7)
    low.result(
        requantised(low, names, scaled, along(low, zero, (), None, "zero point"), zero.dtype)
    )


LOWERINGS = {
    ("", "MatMulInteger"): matmul_integer,
    ("", "ConvInteger"): conv_integer,
    ("", "QLinearMatMul"): qlinear_matmul,
    ("", "QLinearConv"): qlinear_conv,
    (MICROSOFT, "MatMulIntegerToFloat"): matmul_integer_to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): dynamic_quantize_matmul,
}
