"""Zero-point folding: subtractions leave integer contractions. Exact (modulo 2^32).

::

    ACC[b, n] = (X[b, c] - 18) * (W[n, c] - 3)  ->  ACC[b, n] = X[b, c] * W'[n, c]
    Y[b, n]   = .. ACC[b, n] + BIAS[n] ..       ->  Y[b, n]   = .. ACC[b, n] + BIAS'[n] ..

with W' = W - 3 and BIAS'[n] = BIAS[n] - 18 * sum over c of W'[n, c]. Only where no point of the
contraction is skipped: padding contributes 0 after the subtraction, which a constant cannot say.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.ir.cascade import Access, Call, Cascade, Const, Einsum, Expr, Tensor
from dataflow.ir.dtype import S8, S16, S32, DType
from dataflow.ir.expr import call, map_accesses
from dataflow.ir.verify import verify
from dataflow.rewrite.carried.network import Network
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.fold_constants import without_unused

Array = np.ndarray


def fold_zero_points(cascade: Cascade) -> Cascade:
    """The cascade with constant zero points out of contractions with weights."""
    for name in [e.output.tensor for e in cascade.einsums]:
        folded = _fold_one(Network(cascade), name)
        cascade = cascade if folded is None else folded
    result = remove_dead(without_unused(cascade))
    verify(result)
    return result


def _fold_one(network: Network, name: str) -> Cascade | None:
    cascade = network.cascade
    einsum = network.producer(name)
    if einsum is None or cascade.tensors[name].role != "intermediate" or einsum.iterates:
        return None
    parts = _operands(network, einsum)
    if parts is None:
        return None
    x, zero, weight, minus = parts
    if not zero and not minus:
        return None
    if not all(network.inside(a) for a in einsum.inputs):
        return None
    data = cascade.constants[weight.tensor].astype(np.int64) - minus
    changed = _add(cascade, f"{weight.tensor}_centred", data, cascade.tensors[weight.tensor].ranks)
    if changed is None:
        return None
    cascade, centred = changed
    kept = [v for v in weight.variables if v in einsum.output.variables]
    output = einsum.output.indices
    if zero and [i.variable for i in output if i.variable in kept] != kept:
        return None
    position = network.writer[name]
    einsums = list(cascade.einsums)
    einsums[position] = replace(einsum, expr=call("mul", x, Access(centred, weight.indices)))
    cascade = replace(cascade, einsums=tuple(einsums))
    if not zero:
        return cascade
    axes = tuple(k for k, i in enumerate(weight.indices) if i.variable not in kept)
    assert einsum.reduction is not None
    others = [v for v in einsum.reduction.variables if v not in weight.variables]
    times = int(np.prod([cascade.size(v) for v in others], dtype=np.int64))
    correction = -zero * times * data.sum(axis=axes)
    return _corrected(cascade, einsum, kept, correction)


def _operands(network: Network, einsum: Einsum) -> tuple[Access, int, Access, int] | None:
    """X, its zero point, W, its zero point, of ``(X - zx) * (W - zw) :: add`` in integers."""
    expr, reduction = einsum.expr, einsum.reduction
    plain = reduction is not None and reduction.op == "add" and not reduction.base
    if not plain or not isinstance(expr, Call) or expr.op != "mul":
        return None
    pairs = [_centred(a) for a in expr.args]
    for one, other in (pairs, pairs[::-1]):
        if one is None or other is None:
            continue
        types = [network.cascade.tensors[p[0].tensor].dtype for p in (one, other)]
        names = [i.variable for i in other[0].indices]
        simple = None not in names and len(set(names)) == len(names)
        known = other[0].tensor in network.cascade.constants
        if known and simple and all(t.is_int and t.bits <= 16 for t in types):
            return one[0], one[1], other[0], other[1]
    return None


def _centred(expr: Expr) -> tuple[Access, int] | None:
    if isinstance(expr, Access):
        return (expr, 0) if not expr.indirect else None
    if isinstance(expr, Call) and expr.op == "sub":
        left, right = expr.args
        if isinstance(left, Access) and isinstance(right, Const) and not left.indirect:
            return left, int(right.value)
    return None


def _add(
    cascade: Cascade, wanted: str, data: Array, ranks: tuple[str, ...]
) -> tuple[Cascade, str] | None:
    """The cascade with one more weight of the smallest type that holds the data."""
    kinds = [S8, S16, S32]
    fits = [k for k in kinds if data.size == 0 or k.lowest <= data.min() <= data.max() <= k.highest]
    if not fits:
        return None
    return _with(cascade, wanted, data, ranks, fits[0])


def _with(
    cascade: Cascade, wanted: str, data: Array, ranks: tuple[str, ...], dtype: DType
) -> tuple[Cascade, str]:
    name, count = wanted, 1
    while name in cascade.tensors:
        count += 1
        name = f"{wanted}_{count}"
    tensor = Tensor(name, ranks, tuple(data.shape), dtype, "weight", None, name)
    stored = np.asarray(data.astype(dtype.numpy))
    return replace(
        cascade,
        tensors={**cascade.tensors, name: tensor},
        constants={**cascade.constants, name: stored},
    ), name


def _corrected(cascade: Cascade, einsum: Einsum, kept: list[str], correction: Array) -> Cascade:
    """The readers of a contraction with the correction added, in their bias where they have one."""
    name = einsum.output.tensor
    wrapped = correction.astype(np.int64).astype(np.int32)
    dims = [k for k, i in enumerate(einsum.output.indices) if i.variable in kept]
    tensor = cascade.tensors[name]
    ranks = tuple(tensor.ranks[d] for d in dims)
    made: str | None = None
    einsums = list(cascade.einsums)
    for position, reader in enumerate(einsums):
        if not any(a.tensor == name for a in reader.inputs):
            continue
        biased = _in_bias(cascade, reader, name, dims, wrapped)
        if biased is not None:
            cascade, einsums[position] = biased
            continue
        if made is None:
            cascade, made = _with(cascade, f"{name}_zero", wrapped, ranks, S32)
        zero = made

        def change(item: Access, zero: str = zero) -> Expr:
            if item.tensor != name:
                return item
            return call("add", item, Access(zero, tuple(item.indices[d] for d in dims)))

        einsums[position] = replace(reader, expr=map_accesses(reader.expr, change))
    return replace(cascade, einsums=tuple(einsums))


def _in_bias(
    cascade: Cascade, reader: Einsum, name: str, dims: list[int], correction: Array
) -> tuple[Cascade, Einsum] | None:
    """The reader with the correction in the weight that it adds to the sum, if it does."""
    found: list[tuple[Call, Access]] = []

    def visit(expr: Expr) -> None:
        if not isinstance(expr, Call):
            return
        for one, other in (expr.args, expr.args[::-1]) if expr.op == "add" else ():
            bias = isinstance(other, Access) and other.tensor in cascade.constants
            if isinstance(one, Access) and one.tensor == name and bias:
                assert isinstance(other, Access)
                if other.indices == tuple(one.indices[d] for d in dims):
                    found.append((expr, other))
        for arg in expr.args:
            visit(arg)

    visit(reader.expr)
    reads = [a for a in reader.inputs if a.tensor == name]
    if len(found) != 1 or len(reads) != 1:
        return None
    ((node, bias),) = found
    old = cascade.tensors[bias.tensor]
    data = cascade.constants[bias.tensor]
    if old.dtype != S32 or data.shape != correction.shape:
        return None
    with np.errstate(over="ignore"):
        total = data + correction
    cascade, made = _with(cascade, f"{bias.tensor}_folded", total, old.ranks, S32)
    changed = Call("add", tuple(Access(made, bias.indices) if a == bias else a for a in node.args))

    def rebuilt(expr: Expr) -> Expr:
        if expr is node:
            return changed
        if isinstance(expr, Call):
            return Call(expr.op, tuple(rebuilt(a) for a in expr.args))
        return expr

    return cascade, replace(reader, expr=rebuilt(reader.expr))
