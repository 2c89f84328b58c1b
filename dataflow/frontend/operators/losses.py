"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: a gather by class, and a mean."""

from __future__ import annotations

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import define, field, fitted, require_float
from dataflow.frontend.operators.softmax import log_probabilities
from dataflow.frontend.value import Value
from dataflow.ir.affine import Affine
from dataflow.ir.expr import Const, Expr, call, substitute


def likelihood(ctx: Context, node: Node) -> None:
    """NegativeLogLikelihoodLoss of log probabilities."""
    low = Lowering(ctx, node)
    _loss(low, low.operand(0))


def cross_entropy(ctx: Context, node: Node) -> None:
    """SoftmaxCrossEntropyLoss of scores; also the log probabilities."""
    low = Lowering(ctx, node)
    x = field(low, 0)
    require_float(node, x.dtype)
    if len(x.shape) < 2:
        raise UnsupportedError(f"its operand has shape {list(x.shape)}", "give it classes")
    logs = log_probabilities(low, x, [1], "log_prob", x.groups)
    names = {v: Affine.of(f"${k}") for k, v in enumerate(logs.variables)}
    value = Value(logs.sizes, logs.dtype, expr=substitute(logs.expr, names))
    _loss(low, low.of(value, f"{node.outputs[0]}_log_prob"))
    define(low, logs, 1)


def _loss(low: Lowering, logs: Operand) -> None:
    """-w[t] * logs[t] for each target t that is not ignored; their weighted mean or sum."""
    target, weight = low.operand(1), low.optional(2)
    shape = logs.shape
    if not (target.dtype.is_int and target.dtype.signed):
        raise UnsupportedError(f"its targets are {target.dtype}", "use int64")
    if target.shape != (shape[0], *shape[2:]):
        raise UnsupportedError(f"its targets have shape {list(target.shape)}", "repair the model")
    kind = str(low.node.get("reduction", "mean"))
    if kind not in ("none", "mean", "sum"):
        raise UnsupportedError(f"its reduction is {kind!r}", "use none, mean or sum")
    names = low.variables(target)
    dtype = logs.dtype
    chosen: Expr = target.at(*names)
    ignored = low.node.attributes.get("ignore_index")
    skip: Expr | None = None
    if ignored is not None:
        skip = call("equal", chosen, literal(int(ignored), target.dtype))
        chosen = call("where", skip, literal(0, target.dtype), chosen)
    one, zero = literal(1, dtype), literal(0, dtype)
    scale: Expr = one if weight is None else weight.at(chosen)
    if skip is not None:
        scale = call("where", skip, zero, scale)
    scales = scale if isinstance(scale, Const) else low.let("scale", names, scale).at(*names)
    picked = low.let("picked", names, logs.at(names[0], chosen, *names[1:])).at(*names)
    term = call("neg", call("mul", picked, scales))
    if kind == "none":
        low.result(low.let("", names, fitted(low.ctx, term, dtype)))
        return
    if kind == "sum":
        low.result(low.let("", [], term, ("add", names)))
        return
    total = low.let("sum", [], term, ("add", names))
    if isinstance(scales, Const):
        count: Expr = literal(_points(target), dtype)
    else:
        count = low.let("weight", [], scales, ("add", names)).at()
    low.result(low.let("", [], call("div", total.at(), count)))


def _points(target: Operand) -> int:
    count = 1
    for size in target.shape:
        count *= size
    return count


LOWERINGS = {
    ("", "NegativeLogLikelihoodLoss"): likelihood,
    ("", "SoftmaxCrossEntropyLoss"): cross_entropy,
}
