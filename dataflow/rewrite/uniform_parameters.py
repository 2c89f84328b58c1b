"""A number that is the same for every channel is a literal, where the machine runs out of lines.

Import writes the scale of a product as one number for each channel, whether the weights have one
scale or many. With a bias and a factor behind it that would be three lines, of which the vector
unit reads two; a literal takes none.
"""

from __future__ import annotations

import numpy as np

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Const, accesses, map_accesses, single
from dataflow.rewrite.accumulators import LINES, lines
from dataflow.rewrite.cone import Cone, Editor, elementwise, is_codes, uniform


def uniform_parameters(cascade: Cascade) -> Cascade:
    """The cascade with literals for uniform numbers, where more than `LINES` are read. Exact."""
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        _replace(editor, einsum)
    return editor.finished()


def _replace(editor: Editor, einsum: Einsum) -> None:
    cascade = editor.cascade
    if not is_codes(cascade.tensors[einsum.output.tensor]) or not elementwise(cascade, einsum):
        return
    cone = Cone(editor, einsum)
    same = {a for e in (cone.tip.expr, *cone.parts.values()) for a in accesses(e)}
    same = {a for a in same if _number(cascade, a) is not None}
    if len(cone.leaves) != 1 or not same or lines(cone) + len(same) <= LINES:
        return
    for tensor in ("", *sorted(cone.inner)):
        own = editor.producers[tensor] if tensor else editor.einsums[einsum.name]
        made = map_accesses(own.expr, lambda a: _number(cascade, a) or a)
        if made != own.expr:
            editor.set_expr(own.name, made)


def _number(cascade: Cascade, access: Access) -> Const | None:
    """The literal that a float constant is: of several elements, all equal."""
    data = cascade.constants.get(access.tensor)
    if data is None or not access.indices or data.size < 2 or data.dtype != np.float32:
        return None
    one = uniform(data)
    return None if one is None else single(float(one))
