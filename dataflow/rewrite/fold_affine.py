"""Batch-norm folding: scales after a product with weights go into the weights. Changes rounding.

::

    C[b, n, p] = X[b, c, p + r] * W[n, c, r]          C[b, n, p] = X[b, c, p + r] * W'[n, c, r]
    Y[b, n, p] = (C[b, n, p] - MU[n]) * S[n] + B[n]   Y[b, n, p] = C[b, n, p] + B'[n]

holds for every pointwise consumer that is ``a*C + b`` with ``a`` made of weights and literals
along dimensions that W and C share: batch normalisation in inference, the scale of attention
logits, a scale after a bias. ``b`` may hold anything. W' is computed in float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.evaluate import run_einsum
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Cascade, Const, Einsum, Expr, Tensor
from dataflow.ir.dtype import F64, DType
from dataflow.ir.expr import accesses, call, substitute, variables, walk
from dataflow.ir.verify import verify
from dataflow.rewrite.carried.network import Network
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.float64 import with_float64
from dataflow.rewrite.fold_constants import fold_constants, fold_literals, without_unused

Array = np.ndarray


def fold_affine(cascade: Cascade) -> Cascade:
    """The cascade with scales folded into weights, as often as that is possible."""
    while True:
        network = Network(cascade)
        for number in range(len(cascade.einsums)):
            folded = _fold_one(network, number)
            if folded is not None:
                cascade = folded
                break
        else:
            break
    result = fold_constants(cascade)
    verify(result)
    return result


def _fold_one(network: Network, number: int) -> Cascade | None:
    """The cascade with the consumer at a position folded into the contraction it reads."""
    consumer = network.einsum(number)
    if consumer.reduction is not None or consumer.iterates or consumer.output.indirect:
        return None
    expr = _opened(network, consumer)
    for item in accesses(expr):
        source = network.producer(item.tensor)
        if source is None or not _private(network, item.tensor, number):
            continue
        weight = _weight(network, source)
        values = network.bindings(source.output, item)
        if weight is None or values is None or accesses(expr).count(item) != 1:
            continue
        affine = linear_in(expr, item)
        if affine is None:
            continue
        scale, shift = affine
        names = _inverse(values)
        if names is None or not set(variables(scale)) <= set(names):
            continue
        scale = substitute(scale, names)
        if isinstance(scale, Const) and scale.value == 1:
            continue
        shared = set(weight.variables) & set(source.output.variables)
        constant = all(a.tensor in network.cascade.constants for a in accesses(scale))
        if constant and set(variables(scale)) <= shared:
            return _replaced(network, (number, consumer, shift, item), (source, weight, scale))
    return None


def _private(network: Network, tensor: str, reader: int) -> bool:
    """Whether a tensor is read by one Einsum only, directly or through pointwise ones."""
    if tensor in network.cascade.outputs:
        return False
    users = network.readers.get(tensor, [])
    if users == [reader]:
        return True
    if len(users) != 1 or network.einsum(users[0]).reduction is not None:
        return False
    return _private(network, network.einsum(users[0]).output.tensor, reader)


def _opened(network: Network, consumer: Einsum) -> Expr:
    """The consumer's expression with private pointwise producers written out."""

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Call):
            return Call(expr.op, tuple(change(a) for a in expr.args))
        if isinstance(expr, Access) and expr.tensor in network.writer:
            users = network.readers.get(expr.tensor, [])
            inner = network.inline(expr)
            private = len(users) == 1 and expr.tensor not in network.cascade.outputs
            if inner is not None and private and _is_affine(inner):
                return change(inner)
        return expr

    return change(consumer.expr)


def _is_affine(expr: Expr) -> bool:
    return all(
        p.op in ("add", "sub", "mul", "div", "neg") for p in walk(expr) if isinstance(p, Call)
    )


def _weight(network: Network, source: Einsum) -> Access | None:
    """The weight of a float contraction whose output may be scaled, or None."""
    position = network.writer[source.output.tensor]
    if not network.folds(position) or source.reduction is None or source.reduction.op != "add":
        return None
    if any(i.variable is None for i in source.output.indices):
        return None
    expr = source.expr
    if not isinstance(expr, Call) or expr.op != "mul":
        return None
    for item in expr.args:
        if not isinstance(item, Access) or item.tensor not in network.cascade.constants:
            continue
        if not item.indirect and network.cascade.tensors[item.tensor].dtype.is_float:
            return item
    return None


def _inverse(values: dict[str, Affine]) -> dict[str, Affine] | None:
    """The consumer's variables in terms of the producer's, when both are plain."""
    found: dict[str, Affine] = {}
    for made, read in values.items():
        if read.variable is None or read.variable in found:
            if read.terms:
                return None
            continue
        found[read.variable] = Affine.of(made)
    return found


def linear_in(expr: Expr, item: Access) -> tuple[Expr, Expr] | None:
    """(a, b) with ``expr == a*item + b`` and a, b free of ``item``; None when it is not affine."""
    one, zero = _literal(expr, 1.0), _literal(expr, 0.0)
    if expr == item:
        return one, zero
    if item not in accesses(expr):
        return zero, expr
    if not isinstance(expr, Call):
        return None
    if expr.op == "neg":
        inner = linear_in(expr.args[0], item)
        return None if inner is None else (call("neg", inner[0]), call("neg", inner[1]))
    if expr.op not in ("add", "sub", "mul", "div"):
        return None
    left, right = linear_in(expr.args[0], item), linear_in(expr.args[1], item)
    if left is None or right is None:
        return None
    with_left, with_right = item in accesses(expr.args[0]), item in accesses(expr.args[1])
    if expr.op in ("add", "sub"):
        return _summed(expr.op, left, right, with_left, with_right)
    if (with_left and with_right) or (expr.op == "div" and with_right):
        return None
    inner, factor = (left, expr.args[1]) if with_left else (right, expr.args[0])
    scaled = [_times(expr.op, part, factor) for part in inner]
    return scaled[0], scaled[1]


def _summed(
    op: str,
    left: tuple[Expr, Expr],
    right: tuple[Expr, Expr],
    with_left: bool,
    with_right: bool,
) -> tuple[Expr, Expr]:
    if with_left and with_right:
        scale: Expr = call(op, left[0], right[0])
    elif with_left:
        scale = left[0]
    else:
        scale = right[0] if op == "add" else call("neg", right[0])
    if _is(left[1], 0) and op == "add":
        return scale, right[1]
    return scale, left[1] if _is(right[1], 0) else call(op, left[1], right[1])


def _times(op: str, part: Expr, factor: Expr) -> Expr:
    if _is(part, 0):
        return part
    if _is(part, 1) and op == "mul":
        return factor
    return call(op, part, factor)


def _is(expr: Expr, value: float) -> bool:
    return isinstance(expr, Const) and expr.value == value


def _literal(expr: Expr, value: float) -> Const:
    """A literal of the type of the expression's literals, float32 when it has none."""
    kinds = [p.dtype for p in walk(expr) if isinstance(p, Const) and p.dtype.is_float]
    return Const(value, kinds[0] if kinds else DType("float", True, 32))


def _replaced(
    network: Network,
    reader: tuple[int, Einsum, Expr, Access],
    folded: tuple[Einsum, Access, Expr],
) -> Cascade:
    number, consumer, shift, item = reader
    source, weight, scale = folded
    cascade = network.cascade
    old = cascade.tensors[weight.tensor]
    name, count = f"{weight.tensor}_scaled", 1
    while name in cascade.tensors:
        count += 1
        name = f"{weight.tensor}_scaled_{count}"
    data = _scaled(cascade, weight, scale, old)
    product = source.expr
    assert isinstance(product, Call)
    changed = Access(name, weight.indices)
    args = tuple(changed if a == weight else a for a in product.args)
    expr = item if _is(shift, 0) else call("add", item, fold_literals(_typed(shift, old.dtype)))
    einsums = list(cascade.einsums)
    einsums[network.writer[source.output.tensor]] = replace(source, expr=Call("mul", args))
    einsums[number] = replace(consumer, expr=expr)
    tensors = {**cascade.tensors, name: replace(old, name=name, label=name)}
    constants = {**cascade.constants, name: data}
    result = replace(cascade, einsums=tuple(einsums), tensors=tensors, constants=constants)
    return remove_dead(without_unused(result))


def _typed(expr: Expr, dtype: DType) -> Expr:
    """The expression with its float literals in the type of the network."""
    if isinstance(expr, Const) and expr.dtype.is_float:
        return Const(expr.value, dtype)
    if isinstance(expr, Call):
        return Call(expr.op, tuple(_typed(a, dtype) for a in expr.args))
    return expr


def _scaled(cascade: Cascade, weight: Access, scale: Expr, old: Tensor) -> Array:
    """The weight times the scale: computed in float64, rounded once."""
    names = {v: Affine.of(v) for v in weight.variables}
    used = {weight.tensor, *(a.tensor for a in accesses(scale))}
    tensors = {n: cascade.tensors[n] for n in used}
    ranks = tuple(f"D{k}" for k in range(len(old.shape)))
    result = Tensor("scaled", ranks, old.shape, old.dtype, "output")
    plain = [i.variable for i in weight.indices]
    if None in plain or len(set(plain)) != len(plain):
        raise AssertionError("the weight of a contraction is read element by element")
    output = Access("scaled", tuple(names[str(v)] for v in plain))
    expr = call("mul", weight, _typed(scale, old.dtype))
    small = Cascade(
        "",
        {**cascade.rank_sizes, **dict(zip(ranks, old.shape, strict=True))},
        {**tensors, "scaled": result},
        (Einsum("scaled", output, expr),),
        {n: cascade.constants[n] for n in used},
        outputs=("scaled",),
    )
    wide = with_float64(small)
    values = dict(wide.constants)
    values["scaled"] = np.zeros(old.shape, dtype=F64.numpy)
    run_einsum(wide, wide.einsums[0], values)
    return np.asarray(values["scaled"].astype(old.dtype.numpy))
