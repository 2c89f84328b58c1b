"""Numbers that are a multiple of one 8-bit code and an offset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Einsum
from dataflow.ir.expr import Access, Expr, substitute
from dataflow.rewrite.cone import Cone, Editor, codes_of, is_codes

NEAR = 2.0**-17
"""How far the numbers may be from the line, beside the largest of them."""


@dataclass(frozen=True)
class CodeLine:
    """x = slope code + offset.

    Attributes:
        source: elementwise Einsum that writes x.
        leaf: the code, in the variables of ``source``.
        least, most: smallest and largest code of the type.
    """

    source: Einsum
    leaf: Access
    slope: float
    offset: float
    least: int
    most: int

    def at(self, expr: Expr, access: Access) -> Expr:
        """An expression over the leaf at the place where ``access`` reads x."""
        return renamed(self.source, expr, access)


def code_line(editor: Editor, tensor: str) -> CodeLine | None:
    """The line of a float32 tensor that an elementwise Einsum makes of codes; None for others."""
    source = editor.producers.get(tensor)
    if source is None:
        return None
    cone = Cone(editor, source)
    if len(cone.leaves) != 1 or cone.constants:
        return None
    (leaf,) = cone.leaves
    kind = editor.cascade.tensors[leaf.tensor]
    if not is_codes(kind):
        return None
    codes = codes_of(kind).astype(np.float64)
    values = np.asarray(cone.value(source.expr, {leaf: codes_of(kind)}))
    if values.dtype != np.float32 or not np.isfinite(values).all():
        return None
    low, high = int(codes.argmin()), int(codes.argmax())
    slope = float(np.float32((float(values[high]) - float(values[low])) / 255))
    offset = float(values[low]) - slope * float(codes[low])
    wrong = np.abs(slope * codes + offset - values).max()
    if not slope or wrong > NEAR * np.abs(values).max():
        return None
    return CodeLine(source, leaf, slope, offset, int(codes[low]), int(codes[high]))


def renamed(source: Einsum, expr: Expr, access: Access) -> Expr:
    """The expression of an Einsum at the place that an access reads."""
    values: Mapping[str, Affine] = {
        v: index
        for written, index in zip(source.output.indices, access.indices, strict=True)
        if (v := written.variable) is not None
    }
    return substitute(expr, values)
