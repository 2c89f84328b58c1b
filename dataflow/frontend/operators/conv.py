"""Conv of any element type and number of dimensions, and the causal depthwise convolution."""

from __future__ import annotations

from dataflow.frontend.codes.windows import windows
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.ranks import Variables, spatial_letters, whole
from dataflow.frontend.operators.steps import part
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.expr import Expr, call


def conv(ctx: Context, node: Node) -> None:
    """Conv with constant or computed weights.

    A[b, n, p..] = X[b, c, p*s + r*d - pad, ..] * W[n, c, r..] :: add(c, r..), with
    n = g*(N/G) + m and c = g*(C/G) + c when there are G > 1 groups; then Y = A + B[n].
    """
    low = Lowering(ctx, node)
    x, w, bias = whole(low, 0), whole(low, 1), low.optional(2)
    count = len(x.shape) - 2
    if count < 1 or len(w.shape) != len(x.shape) or w.dtype != x.dtype:
        raise UnsupportedError(
            f"its operands are {x.dtype}{list(x.shape)} and {w.dtype}{list(w.shape)}",
            "use weights like the input",
        )
    if list(node.get("kernel_shape", w.shape[2:])) != list(w.shape[2:]):
        raise UnsupportedError(
            f"kernel_shape {list(node.get('kernel_shape', ()))} is not the weights'",
            "repair the model",
        )
    groups = checked_groups(node, x.shape[1], w.shape[1], w.shape[0])
    taps = windows(node, x.shape[2:], w.shape[2:])
    tap_letters, out_letters = spatial_letters(count)
    own = Variables(low)
    b = own.take("B", x.shape[0], (x, 0))
    c = own.take("C", w.shape[1], (x, 1), (w, 1))
    inner = [
        own.take(k, t.kernel, (w, 2 + i))
        for i, (k, t) in enumerate(zip(tap_letters, taps, strict=True))
    ]
    outer = [low.rank(k, t.out) for k, t in zip(out_letters, taps, strict=True)]
    n_rank = own.take("N", w.shape[0], (w, 0))
    n_place, c_place = Affine.of(n_rank), Affine.of(c)
    if groups > 1:
        g, m = low.rank("G", groups), low.rank("M", w.shape[0] // groups)
        n_place = Affine.of((g, w.shape[0] // groups), m)
        c_place = Affine.of((g, w.shape[1]), c)
    reads = [t.index(p, r) for t, p, r in zip(taps, outer, inner, strict=True)]
    product = call("mul", x.at(b, c_place, *reads), w.at(n_place, c, *inner))
    tensor = low.tensor("" if bias is None else "acc", [b, n_rank, *outer], x.dtype)
    low.write(tensor, [b, n_place, *outer], product, Reduction("add", (c, *inner)))
    acc = low.read(tensor)
    if bias is not None:
        channel = checked_bias(bias, acc)
        total = call("add", acc.at(b, n_rank, *outer), bias.at(n_rank if channel > 1 else 0))
        acc = low.let("", [b, n_rank, *outer], total, dtype=x.dtype)
    low.result(acc)


def checked_groups(node: Node, channels: int, per_group: int, outputs: int) -> int:
    """The number of groups; UnsupportedError when channels do not divide into them."""
    groups = int(node.get("group", 1))
    if groups < 1 or outputs % groups or per_group * groups != channels:
        raise UnsupportedError(
            f"{channels} input and {outputs} output channels in {groups} groups of {per_group}",
            "repair the model",
        )
    return groups


def checked_bias(bias: Operand, acc: Operand) -> int:
    """The size of a bias over the channels (axis 1) of ``acc``."""
    if bias.dtype != acc.dtype or bias.shape not in ((acc.shape[1],), (1,)):
        raise UnsupportedError(
            f"its bias is {bias.dtype}{list(bias.shape)}", "use one number for each channel"
        )
    return bias.shape[0]


def causal_conv(ctx: Context, node: Node) -> None:
    """CausalConvWithState: depthwise over the present and the k - 1 past positions.

    S = past_state and input along time; A[b, c, t] = S[b, c, t + r] * W[c, 0, r] :: add(r); the
    new state is the end of S, a view.
    """
    low = Lowering(ctx, node)
    x, w, bias, past = low.operand(0), low.operand(1), low.optional(2), low.optional(3)
    if len(x.shape) != 3 or len(w.shape) != 3 or w.shape[:2] != (x.shape[1], 1):
        raise UnsupportedError(
            f"its operands have shapes {list(x.shape)} and {list(w.shape)}", "repair the model"
        )
    batch, channels, length = x.shape
    kernel = w.shape[2]
    if past is not None and past.shape != (batch, channels, kernel - 1):
        raise UnsupportedError(f"its state has shape {list(past.shape)}", "repair the model")
    own = Variables(low)
    b, c = own.take("B", batch, (x, 0)), own.take("C", channels, (x, 1))
    t = own.take("T", length, (x, 2))
    r = low.rank("R", kernel)
    whole = low.tensor("window", [b, c, low.rank("L", length + kernel - 1)], x.dtype)
    if kernel > 1:
        old = low.rank("L", kernel - 1)
        fill: Expr = literal(0.0, x.dtype) if past is None else past.at(b, c, old)
        low.write(whole, [b, c, old], fill)
    low.write(whole, [b, c, Affine.of(t, kernel - 1)], x.at(b, c, t))
    window = low.read(whole)
    product = call("mul", window.at(b, c, Affine.of(t, r)), w.at(c, 0, r))
    acc = low.let("acc", [b, c, t], product, ("add", [r]), x.dtype)
    total: Expr = acc.at(b, c, t)
    if bias is not None:
        total = call("add", total, bias.at(c if checked_bias(bias, acc) > 1 else 0))
    activation = str(node.get("activation", "none"))
    if activation not in ("none", "silu", "swish"):
        raise UnsupportedError(f"its activation is {activation!r}", "use silu or none")
    if activation != "none":
        linear = low.let("linear", [b, c, t], total, dtype=x.dtype).at(b, c, t)
        one = literal(1.0, x.dtype)
        total = call("div", linear, call("add", one, call("exp", call("neg", linear))))
    low.result(low.let("", [b, c, t], total, dtype=x.dtype))
    low.view(part(window, 2, length, kernel - 1), 1)


LOWERINGS = {("", "Conv"): conv, ("", "CausalConvWithState"): causal_conv}
