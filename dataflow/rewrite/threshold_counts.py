"""Counts of thresholds that a number reaches: a table, or the sum of one choice for each. Exact.

::

    N[b, n] = where(T[n, t] <= f(A[b, n]), 1, 0) :: add(t)
    Y[b, n] = clip(rint(N[b, n]) + z, ..)

On 8-bit codes that is a table. On accumulators each threshold is an integer, found by halving; the
product is computed once for each threshold, with its weights repeated, and gives the codes 0 and 1,
which a second product adds up. That costs as many times the product as there are thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum, Reduction, Tensor
from dataflow.ir.dtype import S8, S32, U8
from dataflow.ir.expr import Call, Const, Expr, call, integer, map_accesses
from dataflow.ir.macs import contraction_operands
from dataflow.rewrite.accumulators import CHANNELS, largest, last_steps
from dataflow.rewrite.cone import Array, Cone, Editor, codes_of, elementwise, is_codes, whole
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.monotone import monotone
from dataflow.rewrite.pieces import fresh

STEPS = 15
"""Most thresholds of an accumulator: those of four bits."""

BLOCK = 16
"""Most channels whose choices one product adds up."""


def threshold_counts(cascade: Cascade) -> Cascade:
    """The cascade with counts of thresholds as tables, or as products for each threshold."""
    if not any(_chooses(e) for e in cascade.einsums):
        return cascade
    for name in [e.name for e in cascade.einsums]:
        found = next((e for e in cascade.einsums if e.name == name), None)
        if found is not None:
            cascade = _counted(cascade, found)
    return cascade


def _chooses(einsum: Einsum) -> bool:
    """Whether an Einsum adds up choices: the form of every count."""
    folds = einsum.reduction is not None and einsum.reduction.op == "add"
    return folds and isinstance(einsum.expr, Call) and einsum.expr.op == "where"


@dataclass(frozen=True)
class Count:
    """A quantiser of a count, and the count.

    Attributes:
        tip, leaf: the quantiser, and how it reads the count.
        fold: the count; ``limits`` its thresholds over ``step``, ``tested`` what is compared.
        codes: the quantiser's results for 0, 1, .. thresholds.
    """

    tip: Einsum
    leaf: Access
    fold: Einsum
    limits: Access
    tested: Expr
    step: str
    codes: Array


def _counted(cascade: Cascade, tip: Einsum) -> Cascade:
    """The same for one quantiser."""
    if not is_codes(cascade.tensors[tip.output.tensor]) or not elementwise(cascade, tip):
        return cascade
    editor = Editor(cascade)
    found = _count(editor, tip)
    if found is None:
        return cascade
    cone = Cone(editor, replace(found.fold, expr=found.tested, reduction=None))
    if len(cone.leaves) != 1:
        return cascade
    (leaf,) = cone.leaves
    data = np.asarray(cascade.constants[found.limits.tensor])
    if is_codes(cascade.tensors[leaf.tensor]):
        if cone.constants or set(found.limits.variables) != {found.step}:
            return cascade
        codes = codes_of(cascade.tensors[leaf.tensor])
        numbers = np.broadcast_to(cone.value(found.tested, {leaf: codes}), codes.shape)
        passed = (data.reshape(-1)[:, None] <= numbers).sum(axis=0)
        return _table(editor, found, leaf, found.codes[passed])
    return _products(editor, found, cone, leaf)


def _count(editor: Editor, tip: Einsum) -> Count | None:
    cascade = editor.cascade
    cone = Cone(editor, tip)
    if len(cone.leaves) != 1 or cone.constants or cone.parts:
        return None
    (leaf,) = cone.leaves
    fold = editor.writer(leaf.tensor)
    if fold is None or fold.reduction is None or fold.reduction.op != "add":
        return None
    if len(fold.reduction.variables) != 1 or fold.iterates or not cone.private(leaf.tensor):
        return None
    (step,) = fold.reduction.variables
    expr = fold.expr
    if not (isinstance(expr, Call) and expr.op == "where"):
        return None
    test, one, none = expr.args
    ones = isinstance(one, Const) and isinstance(none, Const) and (one.value, none.value) == (1, 0)
    if not (ones and isinstance(test, Call) and test.op == "less_equal"):
        return None
    limits, tested = test.args
    if not isinstance(limits, Access) or limits.tensor not in cascade.constants:
        return None
    if step not in limits.variables or not whole(cascade, fold):
        return None
    if any(step in a.variables for a in fold.inputs if a != limits):
        return None
    counts = np.arange(cascade.size(step) + 1).astype(cascade.tensors[leaf.tensor].dtype.numpy)
    codes = np.broadcast_to(cone.value(tip.expr, {leaf: counts}), counts.shape).astype(np.int64)
    return Count(tip, leaf, fold, limits, tested, step, codes)


def _table(editor: Editor, found: Count, leaf: Access, codes: Array) -> Cascade:
    """The count of a code as a table."""
    cascade = editor.cascade
    table = codes.astype(cascade.tensors[found.tip.output.tensor].dtype.numpy)
    name = editor.weight(
        f"{found.tip.output.tensor}_table", table, (editor.fresh_rank(table.size),)
    )
    values = _renamed(found)
    moved = Access(leaf.tensor, tuple(i.substitute(values) for i in leaf.indices))
    editor.set_expr(found.tip.name, call("lookup", moved, Access(name)))
    return editor.finished()


def _renamed(found: Count) -> dict[str, Affine]:
    """The variables of the count as those of the quantiser."""
    pairs = zip(found.fold.output.indices, found.leaf.indices, strict=True)
    return {w.variable: r for w, r in pairs if w.variable is not None}


def _products(editor: Editor, found: Count, cone: Cone, leaf: Access) -> Cascade:
    """The count of an accumulator: a product for each threshold, and their sum."""
    cascade = editor.cascade
    most = largest(editor, leaf)
    head = editor.writer(leaf.tensor)
    steps = cascade.size(found.step)
    names = tuple(
        dict.fromkeys(
            v for a in (*cone.constants, found.limits) for v in a.variables if v != found.step
        )
    )
    if most is None or head is None or steps > STEPS or not monotone(cone):
        return cascade
    if len(names) > 1 or prod(cascade.size(v) for v in names) > CHANNELS:
        return cascade
    if not (np.diff(found.codes) == 1).all() or not whole(cascade, head):
        return cascade
    if len(editor.readers.get(leaf.tensor, ())) != 1 or leaf.tensor in cascade.outputs:
        return cascade
    known = {a: cone.along(a, names) for a in cone.constants}
    channels = cascade.size(names[0]) if names else 1
    limits = cone.along(found.limits, (*names, found.step)).reshape(-1, steps)

    def count(accumulators: Array) -> Array:
        values = {**known, leaf: accumulators.astype(np.int32)}
        numbers = np.broadcast_to(cone.value(found.tested, values), accumulators.shape)
        return np.asarray((limits.T[:, None] <= numbers).sum(axis=0))

    ends = count(np.array([[-most], [most]]) * np.ones((1, channels), np.int64))
    if (ends[1] < ends[0]).any():
        return cascade
    last = last_steps(count, np.arange(steps)[:, None], most, channels)  # [steps, channels]
    return _rewritten(cascade, found, head, leaf, names, last)


def _rewritten(
    cascade: Cascade,
    found: Count,
    head: Einsum,
    leaf: Access,
    names: tuple[str, ...],
    last: Array,
) -> Cascade:
    product = contraction_operands(head)
    if product is None:
        return cascade
    place = next((k for k, i in enumerate(leaf.indices) if names and i.variable == names[0]), None)
    own = None if place is None else head.output.indices[place].variable
    weights = [a for a in head.inputs if a.tensor in cascade.constants and own in a.variables]
    if own is None or place is None or not weights:
        return cascade
    steps, channels = last.shape
    sizes, tensors = dict(cascade.rank_sizes), dict(cascade.tensors)
    constants = dict(cascade.constants)

    def rank(letter: str, size: int) -> str:
        name = fresh(letter, set(sizes))
        sizes[name] = size
        return name

    def tensor(near: str, like: Tensor, ranks: tuple[str, ...], dtype: object) -> str:
        name = fresh(near, set(tensors))
        shape = tuple(sizes[r] for r in ranks)
        tensors[name] = replace(like, name=name, ranks=ranks, shape=shape, label=name, quant=None)
        tensors[name] = replace(tensors[name], dtype=dtype)  # type: ignore[arg-type]
        return name

    k = rank("K", steps)
    after = place + 1

    def repeated(access: Access) -> Expr:
        """Weights [n, ..] as [n, k, ..]: those of each threshold, column by column."""
        if access not in weights or len(access.indices) < 2:
            return access
        old = tensors[access.tensor]
        at = next(d for d, i in enumerate(access.indices) if own in i.variables) + 1
        ranks = (*old.ranks[:at], k, *old.ranks[at:])
        name = tensor(f"{old.name}_steps", old, ranks, old.dtype)
        data = np.expand_dims(np.asarray(constants[old.name]), at)
        constants[name] = np.ascontiguousarray(np.repeat(data, steps, axis=at))
        indices = (*access.indices[:at], Affine.of(k.lower()), *access.indices[at:])
        return Access(name, indices)

    whole_acc = tensors[leaf.tensor]
    outs = head.output.indices
    wide = (*whole_acc.ranks[:after], k, *whole_acc.ranks[after:])
    acc = tensor(f"{leaf.tensor}_steps", whole_acc, wide, S32)
    placed = (*outs[:after], Affine.of(k.lower()), *outs[after:])
    heads = replace(head, output=Access(acc, placed), expr=map_accesses(head.expr, repeated))
    shift = tensor(
        f"{leaf.tensor}_limits", replace(whole_acc, role="weight"), (own.upper(), k), S32
    )
    constants[shift] = np.ascontiguousarray(-last.T).astype(np.int32)
    moved = call("add", Access(acc, placed), Access(shift, (Affine.of(own), Affine.of(k.lower()))))
    choices = tensor(f"{leaf.tensor}_choices", whole_acc, wide, U8)
    taken = {e.name for e in cascade.einsums}

    def einsum(output: Access, expr: Expr, reduction: Reduction | None) -> Einsum:
        name = fresh(output.tensor, taken)
        taken.add(name)
        return Einsum(name, output, expr, reduction, found.tip.source, found.tip.operator)

    chosen = einsum(Access(choices, placed), call("clip", moved, integer(0), integer(1)), None)
    block = max(b for b in range(1, BLOCK + 1) if channels % b == 0)
    g, m, c = (
        rank(r, n).lower() for r, n in (("G", channels // block), ("M", block), ("C", block))
    )
    ones = tensor(
        f"{leaf.tensor}_ones", replace(whole_acc, role="weight"), (m.upper(), c.upper(), k), S8
    )
    constants[ones] = np.repeat(np.eye(block, dtype=np.int8)[:, :, None], steps, axis=2)
    total = tensor(f"{leaf.tensor}_passed", whole_acc, whole_acc.ranks, S32)
    reads, writes = list(placed), list(outs)
    reads[place] = Affine.of((g, block), c)
    writes[place] = Affine.of((g, block), m)
    factors = (
        call("sub", Access(choices, tuple(reads)), integer(0)),
        call("sub", Access(ones, tuple(Affine.of(v) for v in (m, c, k.lower()))), integer(0)),
    )
    summed = einsum(
        Access(total, tuple(writes)), call("mul", *factors), Reduction("add", (c, k.lower()))
    )
    first = int(found.codes[0])
    code: Expr = call("add", Access(total, found.leaf.indices), integer(first))
    tip = replace(found.tip, expr=call("clip", code, integer(first), integer(first + steps)))
    einsums: list[Einsum] = []
    for e in cascade.einsums:
        if e.name == found.tip.name:
            einsums += [heads, chosen, summed, tip]
        elif e.name != head.name:
            einsums.append(e)
    return remove_dead(
        replace(
            cascade,
            rank_sizes=sizes,
            tensors=tensors,
            constants=constants,
            einsums=tuple(e for e in einsums if e.name != found.fold.name),
        )
    )
