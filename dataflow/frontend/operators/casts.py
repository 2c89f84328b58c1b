"""Conversions of element type."""

from __future__ import annotations

from onnx import TensorProto, helper

from dataflow.errors import DataflowError
from dataflow.evaluate.primitives import compute
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import number_type, operands, pointwise
from dataflow.frontend.value import Value
from dataflow.ir.dtype import DType
from dataflow.ir.expr import call
from dataflow.ir.ops import CAST_TO


def convert(ctx: Context, node: Node, target: DType) -> None:
    """The first input in the type ``target``; its own type makes a view."""
    value = ctx.value(node, 0)
    if target not in CAST_TO:
        raise UnsupportedError(f"it casts to {target}", "use another type")
    if target == number_type(value) and value.quant is None:
        ctx.define(node, value.with_source(node.index))
        return
    if value.constant is not None:
        data = compute(CAST_TO[target], [value.real_constant()])
        dims = tuple((n,) for n in data.shape)
        result = Value(dims, target, constant=data, sources=value.sources)
        ctx.define(node, result.with_source(node.index))
        return
    values = operands(ctx, node, [0])
    pointwise(ctx, node, lambda x: call(CAST_TO[target], x), target, values)


def cast(ctx: Context, node: Node) -> None:
    """Cast: floats are truncated to integers, integers wrap, bool is ``x != 0``."""
    code = int(node.get("to", 0))
    try:
        target = DType.of_numpy(helper.tensor_dtype_to_np_dtype(code))
    except (DataflowError, KeyError) as error:
        known = code in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(code) if known else str(code)
        raise UnsupportedError(f"it casts to the type {name}", "use another type") from error
    convert(ctx, node, target)


def cast_like(ctx: Context, node: Node) -> None:
    """CastLike: to the type of the second input."""
    convert(ctx, node, number_type(ctx.value(node, 1)))


LOWERINGS = {("", "Cast"): cast, ("", "CastLike"): cast_like}
