"""Tables: a chain of elementwise Einsums from one 8-bit code to another becomes 256 bytes. Exact.

Whatever the chain computes, its result has as many values as the code has: they are computed by
the evaluator, at every code, when the network is compiled.
"""

from __future__ import annotations

import numpy as np

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Call, Expr, call
from dataflow.rewrite.cone import Array, Cone, Editor, codes_of, elementwise, is_codes


def tabulate(cascade: Cascade) -> Cascade:
    """The cascade with each function of one 8-bit code to 8 bits as ``T[code]``.

    Codes in between are looked through where that leaves a function of one code (x times the
    sigmoid of x), or where nobody else reads them. What only copies codes stays, and so do
    functions with parameters that differ from channel to channel.
    """
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        _tabulate(editor, einsum)
    return editor.finished()


def _tabulate(editor: Editor, einsum: Einsum) -> None:
    """One Einsum as a table, where it is a function of one code."""
    cascade = editor.cascade
    if not is_codes(cascade.tensors[einsum.output.tensor]) or not elementwise(cascade, einsum):
        return
    cone = _of_one_code(editor, einsum)
    if cone is None or (not cone.parts and _is_plain(einsum.expr)):
        return
    (leaf,) = cone.leaves
    table = table_of(cone)
    codes = codes_of(cascade.tensors[leaf.tensor])
    if codes.dtype == table.dtype and np.array_equal(codes, table):
        editor.set_expr(einsum.name, leaf)
        return
    rank = editor.fresh_rank(table.size)
    name = editor.weight(f"{einsum.output.tensor}_table", table, (rank,))
    editor.set_expr(einsum.name, call("lookup", leaf, Access(name)))


def table_of(cone: Cone) -> Array:
    """The results of a cone of one leaf, by the raw byte of its code."""
    (leaf,) = cone.leaves
    codes = codes_of(cone.cascade.tensors[leaf.tensor])
    data = np.broadcast_to(cone.value(cone.tip.expr, {leaf: codes}), codes.shape)
    return data.astype(cone.cascade.tensors[cone.tip.output.tensor].dtype.numpy)


def _is_plain(expr: Expr) -> bool:
    """Whether an expression is a copy, or a table already."""
    if isinstance(expr, Call) and expr.op == "lookup":
        expr = expr.args[0]
    return isinstance(expr, Access)


def _of_one_code(editor: Editor, einsum: Einsum) -> Cone | None:
    """The deepest cone over one code whose inner codes nobody else needs, or None."""
    cone = Cone(editor, einsum)
    while len(cone.leaves) > 1:
        deeper = (_deeper(cone, leaf) for leaf in cone.leaves)
        found = next((c for c in deeper if c and len(c.leaves) < len(cone.leaves)), None)
        if found is None:
            return None
        cone = found
    if not _fits(cone):
        return None
    while True:
        (leaf,) = cone.leaves
        found = _deeper(cone, leaf)
        if found is None or not _fits(found) or not found.private(leaf.tensor):
            return cone
        cone = found


def _fits(cone: Cone) -> bool:
    """Whether the cone is a function of one code and of nothing that varies."""
    if len(cone.leaves) != 1 or cone.constants:
        return False
    leaf = cone.leaves[0].tensor
    return is_codes(cone.cascade.tensors[leaf]) and leaf not in cone.cascade.constants


def _deeper(cone: Cone, leaf: Access) -> Cone | None:
    """The cone with a leaf looked through, None where an elementwise Einsum does not write it."""
    if leaf.tensor not in cone.editor.producers:
        return None
    return Cone(cone.editor, cone.tip, cone.through | {leaf.tensor})
