"""Functions of codes as few multiply-adds as give the same codes. Exact.

Literal dequantise-compute-quantise costs a dozen vector operations. Its result is a code, and its
operands are codes: all inputs can be tried. A cheaper form that gives the same code at every one
of them (256, or 65,536, or 256 for each channel) is the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from dataflow.evaluate.primitives import compute
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, Call, Const, Expr, call, integer, single
from dataflow.rewrite import fit, fit_channels
from dataflow.rewrite.cone import Array, Cone, Editor, codes_of, elementwise, is_codes, uniform
from dataflow.rewrite.operations import operations, power_of_two, rounding

ZEROS = 512
"""Zero points of sources are smaller."""

CHANNELS = 4096
"""Most sets of parameters for which a function of one code is fitted."""


def cheapen_codes(cascade: Cascade) -> Cascade:
    """The cascade with 8-bit functions of one or two codes in their cheapest form that was found.

    One code: one multiply-add. Two codes: two, for a sum or a product; otherwise the written form
    with its divisions as products or shorter sequences. Where no cheaper form gives the same code
    at every input, the Einsum stays as it is.
    """
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        _cheapen(editor, editor.einsums[einsum.name])
    return editor.finished()


@dataclass(frozen=True, eq=False)
class Study:
    """A function of codes at all its inputs.

    Attributes:
        cone: of the Einsum.
        axes: the codes of each leaf, along an axis of its own; the last axis counts channels.
        unrounded: the float numbers that the last operation rounds, over all axes.
        codes: int64, the results over all axes.
        zero, low, high: of ``clip(rint(x) + zero, low, high)``.
    """

    cone: Cone
    axes: tuple[Array, ...]
    unrounded: Array
    codes: Array
    zero: int

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest code: clipping to them changes no result."""
        return int(self.codes.min()), int(self.codes.max())

    def rounded(self, numbers: Array) -> Array:
        """The codes of float32 numbers."""
        low, high = self.bounds
        return np.clip(compute("rint", [numbers]).astype(np.int64) + self.zero, low, high)

    def expression(self, real: Expr) -> Expr:
        """``clip(rint(real) + zero, low, high)``."""
        rounded: Expr = call("rint", real)
        if self.zero:
            rounded = call("add", rounded, integer(self.zero))
        low, high = self.bounds
        return call("clip", rounded, integer(low), integer(high))


def _cheapen(editor: Editor, einsum: Einsum) -> None:
    cascade = editor.cascade
    if not is_codes(cascade.tensors[einsum.output.tensor]) or not elementwise(cascade, einsum):
        return
    cone = Cone(editor, einsum)
    if not 1 <= len(cone.leaves) <= 2 or not all(_is_code(cone, a) for a in cone.leaves):
        return
    if all(a.tensor in cascade.constants for a in cone.leaves):
        return
    if not cone.parts and isinstance(einsum.expr, Access):
        return
    price = operations(cone)
    for found in _forms(editor, cone):
        made = Cone(editor, Einsum(einsum.name, einsum.output, found))
        if operations(made) < price:
            editor.set_expr(einsum.name, found)
        return


def _is_code(cone: Cone, leaf: Access) -> bool:
    return is_codes(cone.cascade.tensors[leaf.tensor])


def _forms(editor: Editor, cone: Cone) -> Iterator[Expr]:
    """Forms that equal the cone at all inputs, cheapest first."""
    names = tuple(dict.fromkeys(v for a in cone.constants for v in a.variables))
    channels = prod(cone.cascade.size(v) for v in names)
    if cone.constants and (len(cone.leaves) != 1 or channels > CHANNELS):
        return
    study = _study(cone, names)
    if study is None:
        return
    if study.bounds[0] == study.bounds[1]:
        return
    if cone.constants:
        found = _per_channel(editor, study, names)
    elif len(cone.leaves) == 1:
        found = _of_one(study)
    else:
        found = _sum_of_two(study) or _product_of_two(study)
    if found is not None:
        yield found
    if not cone.constants:
        yield from _shorter_divisions(study)


def _study(cone: Cone, names: tuple[str, ...]) -> Study | None:
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
        known[access] = _along(cone, access, names).reshape(*[1] * count, -1)
    parts = rounding(cone.tip.expr)
    whole = np.broadcast_shapes(*(a.shape for a in known.values()))
    codes = np.broadcast_to(cone.value(cone.tip.expr, known), whole).astype(np.int64)
    if parts is None:
        if count > 1 or cone.constants:
            return None
        return Study(cone, tuple(axes), codes.astype(np.float64), codes, 0)
    real, zero = parts
    unrounded = np.broadcast_to(cone.value(real, known), whole).astype(np.float64)
    return Study(cone, tuple(axes), unrounded, codes, zero)


def _along(cone: Cone, access: Access, names: tuple[str, ...]) -> Array:
    """A constant at each set of values of the variables, flat, the last variable fastest."""
    sizes = [cone.cascade.size(v) for v in names]
    places = np.indices(sizes).reshape(len(names), -1)
    index = tuple(
        i.offset + sum(c * places[names.index(v)] for v, c in i.terms) for i in access.indices
    )
    data = np.asarray(cone.cascade.constants[access.tensor])
    return np.asarray(np.broadcast_to(data[index], (prod(sizes),)))


def _of_one(study: Study) -> Expr | None:
    """``code * scale + offset``."""
    (leaf,) = study.cone.leaves
    x = study.axes[0].reshape(-1)
    features = np.stack([x.astype(np.float64), np.ones(x.size)], axis=1)
    target = fit.Target(features, study.unrounded.reshape(-1), study.codes.reshape(-1), study.zero)

    def verify(theta: Array) -> bool:
        numbers = compute("fma", [x.astype(np.float32), theta[0], theta[1]])
        return np.array_equal(study.rounded(numbers), target.codes)

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
        return np.array_equal(study.rounded(numbers), codes)

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
    zeros = [int(np.rint(ratio)) if abs(ratio) < ZEROS else 0 for ratio in ratios]
    product = (a - zeros[0]) * (b - zeros[1])
    target = fit.Target(np.stack([product, np.ones(a.size)], axis=1), numbers, codes, study.zero)

    def verify(theta: Array) -> bool:
        found = compute("fma", [product.astype(np.float32), theta[0], theta[1]])
        return np.array_equal(study.rounded(found), codes)

    theta = fit.fitted(target, verify)
    if theta is None:
        return None
    factors = [
        call("sub", leaf, integer(zero)) if zero else leaf
        for leaf, zero in zip(study.cone.leaves, zeros, strict=True)
    ]
    return study.expression(_fma(call("mul", *factors), theta[0], _number(theta[1])))


def _per_channel(editor: Editor, study: Study, names: tuple[str, ...]) -> Expr | None:
    """``code * scale[c] + offset[c]``."""
    (leaf,) = study.cone.leaves
    x = study.axes[0].reshape(-1)
    target = fit_channels.Channels(x.astype(np.float64), study.unrounded, study.codes, study.zero)

    def verify(scales: Array, offsets: Array) -> Array:
        numbers = compute("fma", [x.astype(np.float32)[:, None], scales, offsets])
        return np.asarray((study.rounded(numbers) == study.codes).all(axis=0))

    found = fit_channels.fitted(target, verify)
    if found is None:
        return None
    scale, offset = (_parameter(editor, study.cone, data, names) for data in found)
    return study.expression(call("fma", call("f32", leaf), scale, offset))


def _parameter(editor: Editor, cone: Cone, data: Array, names: tuple[str, ...]) -> Expr:
    """A number for each channel: a literal where all are equal, else a constant."""
    one = uniform(data)
    if one is not None:
        return single(float(one))
    shape = tuple(cone.cascade.size(v) for v in names)
    ranks = tuple(v.upper() for v in names)
    name = editor.weight(f"{cone.tip.output.tensor}_parameter", data.reshape(shape), ranks)
    return Access(name, tuple(Affine.of(v) for v in names))


def _fma(number: Expr, scale: np.float32, addend: Expr) -> Expr:
    return call("fma", call("f32", number), single(float(scale)), addend)


def _number(value: np.float32) -> Expr:
    return single(float(value))


def _shorter_divisions(study: Study) -> Iterator[Expr]:
    """The written form with divisions by literals as a product, or as three operations."""
    expr = study.cone.tip.expr
    for divide in (_by_product, _by_correction):
        made = _divided(expr, divide)
        if made == expr:
            return
        if np.array_equal(_again(study, made), study.codes):
            yield made


def _again(study: Study, expr: Expr) -> Array:
    """Another expression at all inputs of a study."""
    known = dict(zip(study.cone.leaves, study.axes, strict=True))
    values = study.cone.value(expr, known)
    return np.broadcast_to(values, study.codes.shape).astype(np.int64)


def _divided(expr: Expr, divide: Callable[[Expr, np.float32], Expr]) -> Expr:
    """The expression with each division by a literal that is no power of two made anew."""
    if not isinstance(expr, Call):
        return expr
    args = tuple(_divided(a, divide) for a in expr.args)
    if expr.op == "div" and isinstance(args[1], Const) and args[1].dtype == F32:
        divisor = np.float32(args[1].value)
        if not power_of_two(float(divisor)) and np.isfinite(np.float32(1) / divisor):
            return divide(args[0], divisor)
    return Call(expr.op, args)


def _by_product(number: Expr, divisor: np.float32) -> Expr:
    return call("mul", number, _number(np.float32(1) / divisor))


def _by_correction(number: Expr, divisor: np.float32) -> Expr:
    """The quotient with one step of correction: faithful, and mostly correctly rounded."""
    inverse = _number(np.float32(1) / divisor)
    quotient = call("mul", number, inverse)
    rest = call("fma", quotient, _number(-divisor), number)
    return call("fma", rest, inverse, quotient)
