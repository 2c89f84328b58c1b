"""Which operators and models are quantised; imports no lowering, so that any room may ask."""

from __future__ import annotations

import onnx

from dataflow.frontend.onnx.graph import Node

QUANTS = ("Quant", "IntQuant")
CODED = frozenset(
    {
        *QUANTS,
        "BipolarQuant",
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QGemm",
        "MatMulInteger",
        "ConvInteger",
    }
)
"""Operators of quantised models besides those that start with QLinear."""

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")


def works_on_codes(op: str) -> bool:
    """Whether an operator (without its domain) is one of quantised models."""
    return op.startswith("QLinear") or op in CODED


def is_quant(node: Node) -> bool:
    """Whether a node is a QONNX Quant."""
    return node.op in QUANTS and node.domain in DOMAINS


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether data is held in codes somewhere; weights alone in codes leave a float model one."""
    constant = {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        if constant.issuperset(inputs) and (inputs or node.op_type == "Constant"):
            constant.update(node.output)
        elif works_on_codes(node.op_type) and node.input[0] not in constant:
            return True
    return False
