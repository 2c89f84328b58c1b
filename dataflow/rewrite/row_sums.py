"""Float sums over rows of squares of codes, and of what else has few values, as products with ones.

A sum of x^2 over a row of codes (a mean square that is quantised: RMS normalisation in pieces) is
one number times an integer sum, which the array makes exactly (`row_products`). So is every sum of
a function of one code that is an integer up to 65,279 times one number at each code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, Expr, call, map_accesses
from dataflow.rewrite.code_lines import Array, of_one_code, renamed, values_of
from dataflow.rewrite.cone import Editor
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.fold_constants import without_unused
from dataflow.rewrite.row_products import LARGEST, MOST, RowProducts, as_row, plain
from dataflow.rewrite.words import single32

NEAR = 2.0**-20
"""How far the numbers may be from integers, beside themselves."""


def row_sums(cascade: Cascade) -> Cascade:
    """The cascade with each such sum as an integer one."""
    editor = Editor(cascade)
    for total in cascade.einsums:
        made = _summed(editor, total)
        if made is not None:
            return row_sums(made)
    return cascade


def _summed(editor: Editor, total: Einsum) -> Cascade | None:
    cascade, fold = editor.cascade, total.reduction
    if fold is None or fold.op != "add" or total.iterates or not isinstance(total.expr, Access):
        return None
    own = total.output.tensor
    if cascade.tensors[own].dtype != F32 or own in cascade.outputs or fold.base:
        return None
    cone = of_one_code(editor, total.expr.tensor)
    if cone is None or cone.constants or len(cascade.writers[own]) > 1:
        return None
    found = integers(values_of(cone, {}))
    leaf = plain(cascade, renamed(cone.tip, cone.leaves[0], total.expr))
    if found is None or not as_row(total, leaf):
        return None
    table, step = found
    rows = RowProducts(cascade, total)
    if rows.count > MOST:
        return None
    sums = rows.of_digits(rows.tables(leaf, table), bytes_of_words=False)

    def value(access: Access) -> Expr:
        if access.tensor != own:
            return access
        return call("mul", call("f32", Access(sums.tensor, access.indices)), single32(step))

    einsums: list[Einsum] = []
    for einsum in cascade.einsums:
        if einsum.name == total.name:
            einsums += rows.made
        else:
            einsums.append(replace(einsum, expr=map_accesses(einsum.expr, value)))
    made = replace(rows.cascade, einsums=tuple(einsums))
    return without_unused(remove_dead(made))


def integers(values: Array) -> tuple[Array, float] | None:
    """Numbers as integers times a step; None where they are not."""
    numbers = values.astype(np.float64)
    if values.dtype != np.float32 or not (np.isfinite(numbers).all() and (numbers >= 0).all()):
        return None
    if not numbers.any():
        return None
    step = float(numbers[numbers > 0].min())
    whole = np.rint(numbers / step)
    wrong = np.abs(numbers / step - whole) > NEAR * whole
    if wrong.any() or whole.max() > LARGEST:
        return None
    return whole, float(numbers.max() / whole.max())
