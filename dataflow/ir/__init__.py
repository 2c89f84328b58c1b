"""Cascade, its parts, and its checks."""

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import (
    Cascade,
    Einsum,
    HostOp,
    Iteration,
    Quant,
    Reduction,
    Tensor,
)
from dataflow.ir.dtype import BOOL, F32, F64, S8, S16, S32, S64, U8, U16, U32, DType
from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.ir.macs import contraction_operands, nominal_macs, total_macs
from dataflow.ir.verify import verify

__all__ = [
    "BOOL",
    "F32",
    "F64",
    "S8",
    "S16",
    "S32",
    "S64",
    "U8",
    "U16",
    "U32",
    "Access",
    "Affine",
    "Call",
    "Cascade",
    "Const",
    "DType",
    "Einsum",
    "Expr",
    "HostOp",
    "Iteration",
    "Quant",
    "Reduction",
    "Tensor",
    "contraction_operands",
    "nominal_macs",
    "total_macs",
    "verify",
]
