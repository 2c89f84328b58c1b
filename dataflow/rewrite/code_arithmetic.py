"""Functions of codes as few multiply-adds as give the same codes.

Literal dequantise-compute-quantise costs a dozen vector operations. Its result is a code, and its
operands are codes: all inputs can be tried. A cheaper form that gives the same code at every one
of them (256, or 65,536, or 256 for each channel) is the same function.

Scales in a simple ratio (0.02 and 0.03) put many inputs on a tie: which way the literal form goes
there depends on the rounding of each of its steps, and no cheaper form follows it. `break_ties`
rounds those to even: another function, by one code at inputs whose real result is a tie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from dataflow.evaluate.primitives import compute
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, Call, Const, Expr, call, integer, single
from dataflow.rewrite import fit, fit_channels
from dataflow.rewrite.cone import Array, Cone, Editor, codes_of, elementwise, is_codes
from dataflow.rewrite.operations import operations, power_of_two
from dataflow.rewrite.quantisers import literal_kernel, quantiser, rounding

TIE = 1e-4
"""How near to a tie, in codes, a number counts as one; float32 errors are smaller."""

CHANNELS = 4096
"""Most sets of parameters for which a function of one code is fitted."""


def cheapen_codes(cascade: Cascade) -> Cascade:
    """The cascade with 8-bit functions of one or two codes in their cheapest form that was found.

    One code: one multiply-add. Two codes: two, for a sum or a product; otherwise the written form
    with its divisions as products or shorter sequences. Where no cheaper form gives the same code
    at every input, the Einsum stays as it is.
    """
    return _cheapened(cascade, 0.0)


def break_ties(cascade: Cascade) -> Cascade:
    """The same with ties, and what float32 does not tell from a tie, rounded to even. Inexact.

    Changes the code by one, and only where the real result lies within 1e-4 codes of a tie; not
    what an integer kernel computes (QLinearAdd and the like), whose roundings are its meaning.
    """
    return _cheapened(cascade, TIE)


def _cheapened(cascade: Cascade, tie: float) -> Cascade:
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        _cheapen(editor, editor.einsums[einsum.name], tie)
    return editor.finished()


@dataclass(frozen=True, eq=False)
class Study:
    """A function of codes at all its inputs.

    Attributes:
        cone: of the Einsum.
        axes: the codes of each leaf, along an axis of its own; the last axis counts channels.
        unrounded: the float numbers that the last operation rounds, over all axes.
        codes: int64, the results over all axes.
        zero: of ``clip(rint(x) + zero, low, high)``.
        tie: how near to a tie the code may differ by one; 0 where all must be the same.
    """

    cone: Cone
    axes: tuple[Array, ...]
    unrounded: Array
    codes: Array
    zero: int
    tie: float

    def right(self, numbers: Array) -> Array:
        """Whether float32 numbers, over all axes, round to the codes: at each input."""
        codes = self.rounded(numbers)
        same = np.asarray(codes == self.codes)
        if not self.tie:
            return same
        fraction = np.abs(self.unrounded - np.floor(self.unrounded) - 0.5)
        return np.asarray(same | ((np.abs(codes - self.codes) == 1) & (fraction < self.tie)))

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest code: clipping to them changes no result."""
        return int(self.codes.min()), int(self.codes.max())

    def rounded(self, numbers: Array) -> Array:
        """The codes of float32 numbers."""
        low, high = self.bounds
        return np.clip(compute("rint", [numbers]).astype(np.int64) + self.zero, low, high)

    def expression(self, real: Expr) -> Expr:
        """The quantiser of ``real`` to these codes."""
        return quantiser(real, self.zero, *self.bounds)


def _cheapen(editor: Editor, einsum: Einsum, tie: float) -> None:
    cascade = editor.cascade
    if not is_codes(cascade.tensors[einsum.output.tensor]) or not elementwise(cascade, einsum):
        return
    if tie and literal_kernel(einsum):
        return
    cone = Cone(editor, einsum)
    if not 1 <= len(cone.leaves) <= 2 or not all(_is_code(cone, a) for a in cone.leaves):
        return
    if all(a.tensor in cascade.constants for a in cone.leaves):
        return
    if not cone.parts and isinstance(einsum.expr, Access):
        return
    price = operations(cone)
    if price <= len(cone.leaves):
        return  # as cheap as any form
    for found in _forms(editor, cone, tie):
        made = Cone(editor, Einsum(einsum.name, einsum.output, found))
        if operations(made) < price:
            editor.set_expr(einsum.name, found)
        return


def _is_code(cone: Cone, leaf: Access) -> bool:
    return is_codes(cone.cascade.tensors[leaf.tensor])


def _forms(editor: Editor, cone: Cone, tie: float) -> Iterator[Expr]:
    """Forms that equal the cone at all inputs, cheapest first."""
    names = tuple(dict.fromkeys(v for a in cone.constants for v in a.variables))
    channels = prod(cone.cascade.size(v) for v in names)
    if cone.constants and (len(cone.leaves) != 1 or channels > CHANNELS):
        return
    if tie and not cone.constants and len(cone.leaves) == 1:
        return  # a table is exact
    study = _study(cone, names, tie)
    if study is None or study.bounds[0] == study.bounds[1]:
        return
    if cone.constants:
        found = _per_channel(editor, study, names)
    elif len(cone.leaves) == 1:
        found = _of_one(study)
    else:
        found = _sum_of_two(study) or _product_of_two(study)
    if found is not None:
        yield found
    if not cone.constants and not tie:
        yield from _products(study)


def _study(cone: Cone, names: tuple[str, ...], tie: float) -> Study | None:
    """The cone at all its inputs; None where its last operation rounds nothing."""
    count = len(cone.leaves)
    axes = []
    known: dict[Access, Array] = {}
    for axis, leaf in enumerate(cone.leaves):
        codes = codes_of(cone.cascade.tensors[leaf.tensor])
        codes = np.sort(codes).reshape([-1 if k == axis else 1 for k in range(count + 1)])
        axes.append(codes)
        known[leaf] = codes
    for access in cone.constants:
        known[access] = cone.along(access, names).reshape(*[1] * count, -1)
    parts = rounding(cone.tip.expr)
    whole = np.broadcast_shapes(*(a.shape for a in known.values()))
    codes = np.broadcast_to(cone.value(cone.tip.expr, known), whole).astype(np.int64)
    if parts is None:
        if count > 1 or cone.constants:
            return None
        return Study(cone, tuple(axes), codes.astype(np.float64), codes, 0, 0.0)
    real, zero = parts
    unrounded = np.broadcast_to(cone.value(real, known), whole).astype(np.float64)
    return Study(cone, tuple(axes), unrounded, codes, zero, tie)


def _of_one(study: Study) -> Expr | None:
    """``code * scale + offset``."""
    (leaf,) = study.cone.leaves
    x = study.axes[0].reshape(-1)
    features = np.stack([x.astype(np.float64), np.ones(x.size)], axis=1)
    target = fit.Target(features, study.unrounded.reshape(-1), study.codes.reshape(-1), study.zero)

    def verify(theta: Array) -> bool:
        numbers = compute("fma", [x.astype(np.float32), theta[0], theta[1]])
        return bool(study.right(numbers.reshape(study.codes.shape)).all())

    theta = fit.fitted(target, verify)
    return None if theta is None else study.expression(_fma(leaf, theta[0], _number(theta[1])))


def _sum_of_two(study: Study) -> Expr | None:
    """``a * scale_a + (b * scale_b + offset)``."""
    first, second = study.cone.leaves
    a, b = (np.broadcast_to(x, study.codes.shape).reshape(-1) for x in study.axes)
    columns = [a.astype(np.float64), b.astype(np.float64), np.ones(a.size)]
    codes = study.codes.reshape(-1)
    target = fit.Target(np.stack(columns, axis=1), study.unrounded.reshape(-1), codes, study.zero)

    def verify(theta: Array) -> bool:
        inner = compute("fma", [b.astype(np.float32), theta[1], theta[2]])
        numbers = compute("fma", [a.astype(np.float32), theta[0], inner])
        return bool(study.right(numbers.reshape(study.codes.shape)).all())

    theta = fit.fitted(target, verify)
    if theta is None:
        return None
    inner = _fma(second, theta[1], _number(theta[2]))
    return study.expression(_fma(first, theta[0], inner))


def _product_of_two(study: Study) -> Expr | None:
    """``(a - zero_a) * (b - zero_b) * scale + offset``."""
    a, b = (np.broadcast_to(x, study.codes.shape).reshape(-1) for x in study.axes)
    a, b = a.astype(np.float64), b.astype(np.float64)
    codes = study.codes.reshape(-1)
    columns = np.stack([a * b, a, b, np.ones(a.size)], axis=1)
    numbers = study.unrounded.reshape(-1)
    rough = fit.start(fit.Target(columns, numbers, codes, study.zero))
    if rough is None or not rough[0]:
        return None
    ratios = [-rough[k] / rough[0] for k in (2, 1)]
    zeros = [int(np.rint(ratio)) if abs(ratio) < fit.ZEROS else 0 for ratio in ratios]
    product = (a - zeros[0]) * (b - zeros[1])
    target = fit.Target(np.stack([product, np.ones(a.size)], axis=1), numbers, codes, study.zero)

    def verify(theta: Array) -> bool:
        found = compute("fma", [product.astype(np.float32), theta[0], theta[1]])
        return bool(study.right(found.reshape(study.codes.shape)).all())

    theta = fit.fitted(target, verify)
    if theta is None:
        return None
    factors = [_less(leaf, zero) for leaf, zero in zip(study.cone.leaves, zeros, strict=True)]
    return study.expression(_fma(call("mul", *factors), theta[0], _number(theta[1])))


def _per_channel(editor: Editor, study: Study, names: tuple[str, ...]) -> Expr | None:
    """``(code - zero) * scale[c] + offset[c]``."""
    (leaf,) = study.cone.leaves
    x = study.axes[0].reshape(-1).astype(np.int64)
    target = fit_channels.Channels(x.astype(np.float64), study.unrounded, study.codes, study.zero)
    zero = fit_channels.common_zero(target)
    x = x - zero
    target = replace(target, inputs=x.astype(np.float64))

    def verify(scales: Array, offsets: Array) -> Array:
        numbers = compute("fma", [x.astype(np.float32)[:, None], scales, offsets])
        return np.asarray(study.right(numbers).all(axis=0))

    found = fit_channels.fitted(target, verify)
    if found is None:
        return None
    near = f"{study.cone.tip.output.tensor}_parameter"
    scale, offset = (editor.parameter(near, data, names) for data in found)
    return study.expression(call("fma", call("f32", _less(leaf, zero)), scale, offset))


def _less(leaf: Access, zero: int) -> Expr:
    """A code less a zero point."""
    return call("sub", leaf, integer(zero)) if zero else leaf


def _fma(number: Expr, scale: np.float32, addend: Expr) -> Expr:
    return call("fma", call("f32", number), single(float(scale)), addend)


def _number(value: np.float32) -> Expr:
    return single(float(value))


def _products(study: Study) -> Iterator[Expr]:
    """The written form with divisions by literals as products."""
    made = _divided(study.cone.tip.expr)
    if made != study.cone.tip.expr and np.array_equal(_again(study, made), study.codes):
        yield made


def _again(study: Study, expr: Expr) -> Array:
    """Another expression at all inputs of a study."""
    known = dict(zip(study.cone.leaves, study.axes, strict=True))
    values = study.cone.value(expr, known)
    return np.broadcast_to(values, study.codes.shape).astype(np.int64)


def _divided(expr: Expr) -> Expr:
    """The expression with each division by a literal that is no power of two as a product."""
    if not isinstance(expr, Call):
        return expr
    args = tuple(_divided(a) for a in expr.args)
    if expr.op == "div" and isinstance(args[1], Const) and args[1].dtype == F32:
        inverse = np.float32(1) / np.float32(args[1].value)
        if not power_of_two(float(args[1].value)) and np.isfinite(inverse):
            return call("mul", args[0], _number(inverse))
    return Call(expr.op, args)
