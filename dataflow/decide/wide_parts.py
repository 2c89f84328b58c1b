"""How large the sums of a product may be, and products cut into parts of their rows.

A part has the weights of some of the rows and none elsewhere (the zero point, of which the array
makes 0), so it reads what the whole reads and takes its time; its sums are as small as asked for.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from dataflow.evaluate.run import run_einsum
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.dtype import S32
from dataflow.ir.expr import Access, Call, Const, Expr, accesses, map_accesses
from dataflow.ir.macs import contraction_operands

UNKNOWN = 1 << 40
"""Magnitude of a factor of which nothing is known."""

PARTS = 8
"""Most parts of a product."""


def largest(cascade: Cascade, product: Einsum) -> int:
    """A bound of the magnitude of a product's sums, from its weights."""
    operands = contraction_operands(product)
    assert operands is not None and product.reduction is not None
    factors = [_magnitude(cascade, f) for f in operands]
    points = 1
    for variable in product.reduction.variables:
        points *= cascade.size(variable)
    bound = factors[0] * factors[1] * points
    for place, factor in enumerate(operands):
        known = all(a.tensor in cascade.constants for a in accesses(factor))
        names = tuple(dict.fromkeys(v for a in accesses(factor) for v in a.variables))
        reduced = tuple(v for v in names if v in product.reduction.variables)
        if known and set(reduced) == set(product.reduction.variables):
            values = np.abs(_values(cascade, factor, names).astype(np.int64))
            axes = tuple(names.index(v) for v in reduced)
            bound = min(bound, int(values.sum(axis=axes).max()) * factors[1 - place])
    return bound


def _magnitude(cascade: Cascade, factor: Expr) -> int:
    """The largest magnitude of a factor: a tensor of 8 bits, less a zero point."""
    if isinstance(factor, Access):
        dtype = cascade.tensors[factor.tensor].dtype
        return max(abs(dtype.lowest), abs(dtype.highest)) if dtype.is_int else UNKNOWN
    if isinstance(factor, Const):
        return abs(int(factor.value))
    if isinstance(factor, Call) and factor.op in ("add", "sub", "s32"):
        return sum(_magnitude(cascade, a) for a in factor.args)
    return UNKNOWN


def _values(cascade: Cascade, factor: Expr, names: tuple[str, ...]) -> np.ndarray:
    """A factor of constants at each point of its variables."""
    shape = tuple(cascade.size(n) for n in names)
    output = Access("factor", tuple(Affine.of(n) for n in names))
    tensor = Tensor("factor", tuple(n.upper() for n in names), shape, S32)
    tensors = {**cascade.tensors, "factor": tensor}
    values = {**cascade.constants, "factor": np.zeros(shape, np.int32)}
    run_einsum(replace(cascade, tensors=tensors), Einsum("factor", output, factor), values)
    return values["factor"]


def in_parts(cascade: Cascade, product: Einsum, most: int) -> tuple[Cascade, list[Einsum]]:
    """A product as several, whose sums add up to its own.

    Args:
        cascade: the network.
        product: one operand of it constant: codes less a number.
        most: magnitude that no part's sums exceed.

    Returns:
        The network with the weights of the parts, and the parts, named apart; none where the
        operands are others, or more than `PARTS` are needed.
    """
    operands = contraction_operands(product)
    assert operands is not None and product.reduction is not None
    for place, factor in enumerate(operands):
        weight, zero = _weight(cascade, factor)
        if weight is None:
            continue
        names = [i.variable or "" for i in weight.indices]
        reduced = [v for v in names if v in product.reduction.variables]
        if not reduced or set(reduced) != set(product.reduction.variables):
            continue
        rank = max(reduced, key=lambda v: (cascade.size(v), v))
        sizes = np.abs(_values(cascade, factor, tuple(names)).astype(np.int64))
        others = tuple(names.index(v) for v in reduced if v != rank)
        sizes = np.moveaxis(sizes.sum(axis=others, keepdims=True), names.index(rank), 0)
        ends = _ends(sizes * _magnitude(cascade, operands[1 - place]), most)
        if 1 < len(ends) <= PARTS:
            return _cut(cascade, product, weight, names.index(rank), zero, ends)
    return cascade, []


def _weight(cascade: Cascade, factor: Expr) -> tuple[Access | None, int]:
    """The codes of a constant factor and the one number that is taken off them."""
    zero = 0
    if isinstance(factor, Call) and factor.op == "sub" and isinstance(factor.args[1], Const):
        zero, factor = int(factor.args[1].value), factor.args[0]
    if not isinstance(factor, Access) or factor.tensor not in cascade.constants:
        return None, 0
    names = [i.variable for i in factor.indices]
    shape = cascade.tensors[factor.tensor].shape
    direct = None not in names and len(set(names)) == len(names)
    if not direct or [cascade.size(v or "") for v in names] != list(shape):
        return None, 0
    return factor, zero


def _ends(sizes: np.ndarray, most: int) -> list[int]:
    """Where each part ends, for the largest sums that each row adds; none where a row is too much.

    Args:
        sizes: of each row (the first axis), for each column.
    """
    ends: list[int] = []
    total = np.zeros(sizes.shape[1:], np.int64)
    for row, size in enumerate(sizes):
        if size.max() > most:
            return []
        if (total + size).max() > most:
            ends.append(row)
            total = np.zeros_like(total)
        total = total + size
    return [*ends, len(sizes)]


def _cut(
    cascade: Cascade, product: Einsum, weight: Access, axis: int, zero: int, ends: list[int]
) -> tuple[Cascade, list[Einsum]]:
    whole, data = cascade.tensors[weight.tensor], cascade.constants[weight.tensor]
    tensors, constants = dict(cascade.tensors), dict(cascade.constants)
    found = []
    for number, (first, last) in enumerate(zip([0, *ends], ends, strict=False), 1):
        name = f"{weight.tensor}_part_{number}"
        while name in tensors:
            name += "_"
        rows = np.arange(data.shape[axis]).reshape(-1, *[1] * (data.ndim - axis - 1))
        part = np.where((rows >= first) & (rows < last), data, data.dtype.type(zero))
        tensors[name] = replace(whole, name=name, label=name)
        constants[name] = part
        expr = map_accesses(product.expr, partial(_renamed, weight, name))
        found.append(replace(product, name=f"{product.name}_part_{number}", expr=expr))
    others = [a.tensor for e in cascade.einsums if e != product for a in e.inputs]
    if weight.tensor not in others:
        del tensors[weight.tensor], constants[weight.tensor]
    return replace(cascade, tensors=tensors, constants=constants), found


def _renamed(weight: Access, name: str, access: Access) -> Access:
    """Another tensor's element in the place of the weight's."""
    return replace(access, tensor=name) if access == weight else access
