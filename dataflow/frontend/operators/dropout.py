"""Dropout: the identity in inference; with a seed a constant mask."""

from __future__ import annotations

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.graph import Node
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.operators.fields import decoded, literal, number_type, pointwise
from dataflow.frontend.value import constant_value
from dataflow.ir.expr import call

Array = np.ndarray


def dropout(ctx: Context, node: Node) -> None:
    """Dropout.

    In training mode the kept elements are those where uniform numbers of NumPy's generator with
    the node's ``seed`` reach the ratio, as in the reference implementation of ONNX; without a
    seed nothing says which they are.
    """
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    mask = _mask(ctx, node, x.shape)
    if mask is None:
        mask = np.ones(x.shape, dtype=bool)
        ctx.define(node, x.with_source(node.index))
    else:
        dtype = number_type(x)
        values = [
            decoded(ctx, x, node.input(0), node),
            constant_value(mask.astype(dtype.numpy)),
        ]
        values = ctx.broadcast(values, [node.input(0), f"{node.outputs[0]}_mask"], node)
        scale = literal(1 / (1 - _ratio(ctx, node)), dtype)
        pointwise(ctx, node, lambda a, m: call("mul", call("mul", m, a), scale), dtype, values)
    if len(node.outputs) > 1 and node.outputs[1]:
        # Before opset 10 the mask has the type of the data.
        low.constant_result(mask if ctx.graph.opset >= 10 else mask.astype(x.dtype.numpy), 1)


def _mask(ctx: Context, node: Node, shape: tuple[int, ...]) -> Array | None:
    """Which elements are kept; None when all are."""
    training = ctx.constant(node, 2, "the training mode") if ctx.graph.opset >= 12 else None
    ratio = _ratio(ctx, node) if training is not None and bool(training.reshape(-1)[0]) else 0.0
    if not ratio:
        return None
    if "seed" not in node.attributes:
        raise UnsupportedError("it draws random numbers", "export in evaluation mode")
    if not 0 < ratio < 1:
        raise UnsupportedError(f"its ratio is {ratio}", "use one between 0 and 1")
    generator = np.random.RandomState(int(node.attributes["seed"]) % (1 << 32))
    return np.asarray(generator.uniform(0.0, 1.0, shape) >= ratio)


def _ratio(ctx: Context, node: Node) -> float:
    given = ctx.constant(node, 1, "the ratio")
    return 0.5 if given is None else float(given.reshape(-1)[0])


LOWERINGS = {("", "Dropout"): dropout}
