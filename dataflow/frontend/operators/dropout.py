"""Dropout: the identity in inference; with a seed a constant mask."""

from __future__ import annotations

from math import prod

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import decoded, number_type, pointwise
from dataflow.frontend.value import constant_value
from dataflow.ir.dtype import BOOL
from dataflow.ir.expr import call

Array = np.ndarray

MAX_DRAWN = 1 << 24
"""Elements of a mask that is drawn at import."""


def dropout(ctx: Context, node: Node) -> None:
    """Dropout.

    In training mode the kept elements are those where uniform numbers of NumPy's generator with
    the node's ``seed`` reach the ratio, as in the reference implementation of ONNX; without a
    seed nothing says which they are.
    """
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    dtype = number_type(x)
    mask = _mask(ctx, node, x.shape)
    if mask is None:
        ctx.define(node, x.with_source(node.index))
    else:
        kept = constant_value(mask.astype(dtype.numpy))
        values = [decoded(ctx, x, node.input(0), node), kept]
        values = ctx.broadcast(values, [node.input(0), f"{node.outputs[0]}_mask"], node)
        scale = literal(1 / (1 - _ratio(ctx, node)), dtype)
        pointwise(ctx, node, lambda a, m: call("mul", call("mul", m, a), scale), dtype, values)
    if len(node.outputs) > 1 and node.outputs[1]:
        # Before opset 10 the mask has the type of the data.
        kind = BOOL if ctx.graph.opset >= 10 else dtype
        if mask is None:
            ranks = [low.rank("D", size) for size in x.shape]
            low.result(low.let("mask", ranks, literal(1, kind), dtype=kind), 1)
        else:
            low.constant_result(mask.astype(kind.numpy), 1)


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
    if prod(shape) > MAX_DRAWN:
        raise UnsupportedError(f"it draws {prod(shape)} numbers", "export in evaluation mode")
    generator = np.random.RandomState(int(node.attributes["seed"]) % (1 << 32))
    return np.asarray(generator.uniform(0.0, 1.0, shape) >= ratio)


def _ratio(ctx: Context, node: Node) -> float:
    given = ctx.constant(node, 1, "the ratio")
    return 0.5 if given is None else float(given.reshape(-1)[0])


LOWERINGS = {("", "Dropout"): dropout}
