"""Which operators are those of quantised models; knows names only, so that any room may ask."""

from __future__ import annotations

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
