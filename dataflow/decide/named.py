"""Why a product cannot run, read off its operands: types and scales that the array does not take.

The lowering sees expressions, in which a 16-bit code, a float weight and a scale for each block of
the reduction are all "computed numbers". The model still says which they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow.decide.rows import NodeDecision
from dataflow.frontend import Imported
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.value import Value

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedMatMul", "Einsum")
"""Operators that multiply two operands, which may be dequantised codes."""

Cause = tuple[str, str]
"""Reason and fix."""


def with_named_causes(
    imported: Imported, rows: tuple[NodeDecision, ...]
) -> tuple[NodeDecision, ...]:
    """The rows with what their operands say in the place of what the lowering says.

    Args:
        imported: the whole model, before anything was moved to the host.
        rows: of its nodes; what is refused because of another node stays as it is.
    """
    nodes = {(n.name, n.op): n for n in imported.graph.nodes}
    found = []
    for row in rows:
        node = nodes.get((row.name, row.operator))
        own = row.reason and not row.follows and node is not None and node.op in PRODUCTS
        cause = _cause(node, imported.values) if own and node is not None else None
        found.append(row if cause is None else replace(row, reason=cause[0], fix=cause[1]))
    return tuple(found)


def _cause(node: Node, values: Mapping[str, Value]) -> Cause | None:
    operands = [(name, values[name]) for name in node.inputs[:2] if name in values]
    for name, value in operands:
        weights = value.constant is not None
        what = f"its weights {name} hold" if weights else f"its operand {name} holds"
        real = value.dtype if value.quant is None else value.quant.real
        if real.is_float and real.bits < 32:
            return (
                f"{what} {real}; between codes the machine computes in float32",
                "export the model in float32 before it is quantised",
            )
        if value.quant is not None and value.quant.dtype.bits > 8:
            return (
                f"{what} {value.quant.dtype} codes; the array multiplies 8-bit codes",
                "quantise it to int8 or uint8",
            )
        if value.quant is not None and value.quant.block:
            return (
                f"{what} a scale for each block of {value.quant.block} along the reduction, over "
                "which the array sums without scales",
                "quantise the weights per tensor or per output channel",
            )
    coded = any(v.quant is not None for _, v in operands)
    for name, value in operands:
        if coded and value.constant is not None and _plain(value):
            return (
                f"its weights {name} are {value.dtype}, multiplied by 8-bit codes",
                "quantise the weights too: dataflow quantize of the float model does",
            )
        if value.constant is None and _plain(value):
            return (
                f"its operand {name} is {value.dtype} and is not quantised; the array multiplies "
                "8-bit codes",
                "put QuantizeLinear and DequantizeLinear in front of it, one scale for the whole "
                "tensor, or let the host run it: --host contractions",
            )
    return None


def _plain(value: Value) -> bool:
    """Whether it is of floats that stand for no codes."""
    return value.quant is None and value.dtype.is_float
