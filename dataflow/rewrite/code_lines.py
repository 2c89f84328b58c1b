"""Numbers that are a multiple of one 8-bit code and an offset, perhaps masked by a constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Einsum
from dataflow.ir.expr import Access, Expr, substitute
from dataflow.rewrite.cone import Cone, Editor, codes_of, is_codes

Array = np.ndarray

MOST_KINDS = 16
"""Different values of a constant that is tried for a mask."""

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


@dataclass(frozen=True, eq=False)
class MaskedLine:
    """A line where a constant says so, and numbers far below all of it elsewhere.

    Attributes:
        line: as it is where nothing is masked.
        mask: the constant, in the variables of the line's ``source``.
        opens: its values at which x is on the line.
    """

    line: CodeLine
    mask: Access
    opens: Array


def code_line(editor: Editor, tensor: str) -> CodeLine | None:
    """The line of a float32 tensor that an elementwise Einsum makes of codes; None for others."""
    cone = of_one_code(editor, tensor)
    return None if cone is None or cone.constants else _line(cone, {})


def masked_line(editor: Editor, tensor: str, far: float) -> MaskedLine | None:
    """The line of a float32 tensor that a constant masks: x is ``far`` below it, or -inf, there."""
    cone = of_one_code(editor, tensor)
    if cone is None or len(cone.constants) != 1:
        return None
    (mask,) = cone.constants
    kinds = np.unique(np.asarray(editor.cascade.constants[mask.tensor]))
    if len(kinds) > MOST_KINDS:
        return None
    found = {kind: values_of(cone, {mask: kind}) for kind in kinds}
    if any(values.dtype != np.float32 for values in found.values()):
        return None
    top = max(found, key=lambda kind: float(found[kind].max()))
    line = _line(cone, {mask: top})
    if line is None:
        return None
    opens = [kind for kind, values in found.items() if np.array_equal(values, found[top])]
    least = float(found[top].min())
    if any(found[k].max() > least - far for k in found if k not in opens):
        return None
    return MaskedLine(line, mask, np.array(opens))


def of_one_code(editor: Editor, tensor: str) -> Cone | None:
    """The cone of a tensor whose only leaf is an 8-bit code."""
    source = editor.producers.get(tensor)
    cone = None if source is None else Cone(editor, source)
    if cone is None or len(cone.leaves) != 1:
        return None
    return cone if is_codes(editor.cascade.tensors[cone.leaves[0].tensor]) else None


def values_of(cone: Cone, constants: Mapping[Access, Array]) -> Array:
    """x at every code, by its raw byte."""
    (leaf,) = cone.leaves
    codes = codes_of(cone.cascade.tensors[leaf.tensor])
    known = {a: np.broadcast_to(value, codes.shape) for a, value in constants.items()}
    with np.errstate(all="ignore"):
        value = cone.value(cone.tip.expr, {leaf: codes, **known})
    return np.asarray(np.broadcast_to(value, codes.shape))


def _line(cone: Cone, constants: Mapping[Access, Array]) -> CodeLine | None:
    (leaf,) = cone.leaves
    source, kind = cone.tip, cone.cascade.tensors[leaf.tensor]
    codes = codes_of(kind).astype(np.float64)
    values = values_of(cone, constants)
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
