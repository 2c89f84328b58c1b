"""Gemm and com.microsoft FusedMatMul of any element type."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.ranks import Variables
from dataflow.ir.expr import Expr, call


def gemm(ctx: Context, node: Node) -> None:
    """Gemm: Y = alpha * A' * B' + beta * C.

    A[m, n] = A'[m, k] * B'[k, n] :: add(k), then Y = A * alpha + C * beta where these are not 1.
    """
    low = Lowering(ctx, node)
    a, b, c = low.operand(0), low.operand(1), low.optional(2)
    if len(a.shape) != 2 or len(b.shape) != 2 or a.dtype != b.dtype:
        raise UnsupportedError(
            f"its operands are {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}",
            "multiply matrices of one type",
        )
    flip_a, flip_b = bool(node.get("transA", 0)), bool(node.get("transB", 0))
    m_dim, k_dim = (1, 0) if flip_a else (0, 1)
    l_dim, n_dim = (1, 0) if flip_b else (0, 1)
    if a.shape[k_dim] != b.shape[l_dim]:
        raise UnsupportedError(
            f"inner dimensions {a.shape[k_dim]} and {b.shape[l_dim]} differ", "repair the model"
        )
    own = Variables(low)
    m = own.take("M", a.shape[m_dim], (a, m_dim))
    k = own.take("C", a.shape[k_dim], (a, k_dim), (b, l_dim))
    n = own.take("N", b.shape[n_dim], (b, n_dim))
    product = call(
        "mul",
        a.at(*((k, m) if flip_a else (m, k))),
        b.at(*((n, k) if flip_b else (k, n))),
    )
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    last = alpha == 1.0 and c is None
    y = low.let("" if last else "product", [m, n], product, ("add", [k]), a.dtype)
    if last:
        low.result(y)
        return
    total = scaled(y.at(m, n), alpha, a)
    if c is not None and beta:
        if c.dtype != a.dtype:
            raise UnsupportedError(f"its bias is {c.dtype}", f"make it {a.dtype}")
        if len(c.shape) > 2 or any(
            s not in (1, w) for s, w in zip(c.shape[::-1], y.shape[::-1], strict=False)
        ):
            raise UnsupportedError(f"its bias has shape {list(c.shape)}", "repair the model")
        total = call("add", total, scaled(c.broadcast([m, n]), beta, a))
    low.result(low.let("", [m, n], total, dtype=a.dtype))


def scaled(expr: Expr, factor: float, like: Operand) -> Expr:
    """``expr * factor``, in the type of an operand; a fraction of integers is refused."""
    if factor == 1.0:
        return expr
    if not like.dtype.is_float and factor != int(factor):
        raise UnsupportedError(f"it scales {like.dtype} by {factor}", "use floats")
    return call("mul", expr, literal(factor, like.dtype))


def fused_matmul(ctx: Context, node: Node) -> None:
    """com.microsoft FusedMatMul: alpha * A' * B'; transposed on the last or first two axes."""
    low = Lowering(ctx, node)
    a, b = low.operand(0), low.operand(1)
    if len(a.shape) < 2 or len(b.shape) < 2 or a.dtype != b.dtype:
        raise UnsupportedError(
            f"its operands have shapes {list(a.shape)} and {list(b.shape)}", "use matrices"
        )
    order_a = _axes(len(a.shape), bool(node.get("transA", 0)), bool(node.get("transBatchA", 0)))
    order_b = _axes(len(b.shape), bool(node.get("transB", 0)), bool(node.get("transBatchB", 0)))
    own = Variables(low)
    lead = max(len(order_a), len(order_b)) - 2
    batch: list[str] = []
    places: tuple[list[str | int], list[str | int]] = ([0] * len(a.shape), [0] * len(b.shape))
    for k in range(lead):
        wide = []
        for operand, order in ((a, order_a), (b, order_b)):
            position = k - (lead - (len(order) - 2))
            if position >= 0:
                wide.append((operand, order[position]))
        size = max(o.shape[d] for o, d in wide)
        batch.append(own.take("B", size, *((o, d) for o, d in wide if o.shape[d] == size)))
        for operand, dim in wide:
            if operand.shape[dim] not in (1, size):
                raise UnsupportedError("batch dimensions do not broadcast", "repair the model")
            if operand.shape[dim] == size:
                places[0 if operand is a else 1][dim] = batch[-1]
    m = own.take("M", a.shape[order_a[-2]], (a, order_a[-2]))
    k_var = own.take("C", a.shape[order_a[-1]], (a, order_a[-1]), (b, order_b[-2]))
    n = own.take("N", b.shape[order_b[-1]], (b, order_b[-1]))
    if a.shape[order_a[-1]] != b.shape[order_b[-2]]:
        raise UnsupportedError("inner dimensions differ", "repair the model")
    places[0][order_a[-2]], places[0][order_a[-1]] = m, k_var
    places[1][order_b[-2]], places[1][order_b[-1]] = k_var, n
    alpha = float(node.get("alpha", 1.0))
    product = call("mul", a.at(*places[0]), b.at(*places[1]))
    outs = [*batch, m, n]
    y = low.let("" if alpha == 1.0 else "product", outs, product, ("add", [k_var]), a.dtype)
    if alpha != 1.0:
        y = low.let("", outs, scaled(y.at(*outs), alpha, a), dtype=a.dtype)
    low.result(y)


def _axes(rank: int, flip: bool, batch: bool) -> Sequence[int]:
    """The dimensions of an operand in the order batch.., row, column.

    ``batch``: the first dimension is moved behind the other batch dimensions, the row's place.
    """
    order = list(range(rank))
    if batch:
        order = [*order[1:-1], 0, order[-1]]
    if flip:
        order[-2], order[-1] = order[-1], order[-2]
    return order


LOWERINGS = {
    ("", "Gemm"): gemm,
    ("com.microsoft", "FusedMatMul"): fused_matmul,
    ("com.microsoft", "TransposeMatMul"): fused_matmul,
}
