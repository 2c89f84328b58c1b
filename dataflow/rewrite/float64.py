"""Every float tensor and literal as float64: the same network, to compare rewrites closely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Access, Call, Cascade, Const, Einsum, Expr, Tensor
from dataflow.ir.dtype import F64
from dataflow.ir.expr import call
from dataflow.ir.verify import verify


def with_float64(cascade: Cascade) -> Cascade:
    """The cascade with float64 in place of every other float type. Changes rounding.

    Values of literals and weights stay as they are, those that were rounded to float32 included.

    Raises:
        DataflowError: when the cascade rounds to integers (quantised networks), where another
            type would be another function, or when the host computes.
    """
    if any(op.op != "reshape" for op in cascade.host):
        raise DataflowError(
            f"cascade {cascade.name!r}", "computes on the host", "use the float network"
        )
    tensors = {n: _tensor(t) for n, t in cascade.tensors.items()}
    result = replace(
        cascade,
        tensors=tensors,
        einsums=tuple(_einsum(e) for e in cascade.einsums),
        constants={
            n: np.asarray(d.astype(tensors[n].dtype.numpy)) for n, d in cascade.constants.items()
        },
    )
    verify(result)
    return result


def _tensor(tensor: Tensor) -> Tensor:
    return replace(tensor, dtype=F64) if tensor.dtype.is_float else tensor


def _einsum(einsum: Einsum) -> Einsum:
    output = _access(einsum.output)
    return replace(einsum, output=output, expr=_expr(einsum.expr, einsum.name))


def _access(item: Access) -> Access:
    indirect = tuple((k, _expr(part, item.tensor)) for k, part in item.indirect)
    return replace(item, indirect=indirect)


def _expr(expr: Expr, where: str) -> Expr:
    if isinstance(expr, Const):
        return Const(expr.value, F64) if expr.dtype.is_float else expr
    if isinstance(expr, Access):
        return _access(expr)
    if not isinstance(expr, Call):
        return expr
    if expr.op in ("rint", "lookup"):
        raise DataflowError(
            f"einsum {where!r}", f"rounds to integers by {expr.op}", "use the float network"
        )
    args = tuple(_expr(a, where) for a in expr.args)
    if expr.op in ("f16", "f32"):
        return Call("f64", args)
    if expr.op == "fma":
        # The fused operator is one of float32.
        return call("add", call("mul", args[0], args[1]), args[2])
    return Call(expr.op, args)
