"""Normalisation of rows of codes: the sums of a row wait in memory as two words (`words`).

For numbers x = s c + t over codes c, of which a row has n,

    m = (sum of c) / n      v = (sum of c^2) / n - m^2
    (x - mean) / sqrt(variance + eps) = (c - m) / sqrt(v + eps / s^2), negative where s is

without a mean (RMS normalisation) with m = 0, and codes less their zero point, where that is an
integer. The sums of 1,023 codes are exact in float32; words of sums are exact up to 32,768 codes,
of squares up to 256 (without a mean 64). The root is the function stage's.

Squares of longer rows over several ranks, which lie in memory in an order that is not known here,
are rounded to multiples of 2^k such that their sum is exact, and so the same in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, Call, Const, Expr, accesses, call, integer, single
from dataflow.rewrite.code_lines import CodeLine, code_line, renamed
from dataflow.rewrite.cone import Editor, codes_of
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.fold_constants import without_unused
from dataflow.rewrite.multiples import EXACT, rounded_to
from dataflow.rewrite.row_products import MOST, RowProducts, as_row, plain
from dataflow.rewrite.words import RANGE, Row, Scale, read_word, single32, write_words

LARGEST = 128  # magnitude of a code of int8


def norm_words(cascade: Cascade, products: bool = False) -> Cascade:
    """The cascade with each normalisation of a row of codes as above.

    ``products``: rows that lie in the lanes are summed as products (`row_products`).
    """
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        found = normalisation(editor, einsum)
        if found is not None:
            return norm_words(_replaced(cascade, found, products), products)
    return cascade


@dataclass(frozen=True, eq=False)
class Normalisation:
    """What is replaced.

    Attributes:
        power: the sum of squares.
        near: tensor of what is squared: the deviations from the mean, or the numbers themselves.
        real: the access of x whose place is that of ``near``'s Einsum, or of ``power``.
        centred: whether a mean is taken off.
        root: tensor of 1 / sqrt(variance + eps).
    """

    power: Einsum
    near: Einsum | None
    real: Access
    line: CodeLine
    root: Einsum
    epsilon: float
    count: int

    @property
    def normal(self) -> str:
        """The tensor that is multiplied by the root."""
        return self.real.tensor if self.near is None else self.near.output.tensor


def normalisation(editor: Editor, power: Einsum) -> Normalisation | None:
    """The normalisation whose sum of squares an Einsum is; None for others."""
    cascade, fold = editor.cascade, power.reduction
    if fold is None or fold.op != "add" or power.iterates:
        return None
    square = power.expr
    if not (isinstance(square, Call) and square.op == "mul" and square.args[0] == square.args[1]):
        return None
    operand = square.args[0]
    if not isinstance(operand, Access) or cascade.tensors[power.output.tensor].dtype != F32:
        return None
    count = 1
    for variable in fold.variables:
        count *= cascade.size(variable)
    near = editor.producers.get(operand.tensor)
    real = operand
    if near is not None and isinstance(near.expr, Call) and near.expr.op == "sub":
        if not _is_mean(editor, near, count):
            return None
        assert isinstance(near.expr.args[0], Access)
        real = near.expr.args[0]
    else:
        near = None
    line = code_line(editor, real.tensor)
    if line is None:
        return None
    found = _root(editor, power, count)
    if found is None:
        return None
    one = Normalisation(power, near, real, line, *found, count)
    if near is None and abs(line.offset + line.slope * _centre(one)) > abs(line.slope) * 1e-4:
        return None
    kept = {one.normal} if near is not None else set()
    for tensor in (*kept, one.root.output.tensor):
        if tensor in cascade.outputs:
            return None
        for name in editor.readers.get(tensor, ()):
            reader = editor.einsums[name]
            if reader.name != power.name and not _is_product(reader, one):
                return None
    return one


def _centre(one: Normalisation) -> int:
    """What is taken off codes: their zero point, or what a mean takes off in any case."""
    line = one.line
    if one.near is None:
        return round(-line.offset / line.slope)
    return 0 if line.least < 0 else LARGEST


def _is_mean(editor: Editor, near: Einsum, count: int) -> bool:
    """Whether an Einsum takes the mean of its first operand's row off it."""
    assert isinstance(near.expr, Call)
    real, mean = near.expr.args
    if not (isinstance(real, Access) and isinstance(mean, Access)):
        return False
    maker = editor.producers.get(mean.tensor)
    if maker is None or not (isinstance(maker.expr, Call) and maker.expr.op == "div"):
        return False
    total, divisor = maker.expr.args
    if not (isinstance(total, Access) and isinstance(divisor, Const) and divisor.value == count):
        return False
    fold = editor.writer(total.tensor)
    if fold is None or fold.reduction is None or fold.reduction.op != "add":
        return False
    return isinstance(fold.expr, Access) and fold.expr.tensor == real.tensor


def _root(editor: Editor, power: Einsum, count: int) -> tuple[Einsum, float] | None:
    """The Einsum of 1 / sqrt(power / count + eps), and eps."""
    readers = [editor.einsums[n] for n in editor.readers.get(power.output.tensor, ())]
    if len(readers) != 1 or not isinstance(readers[0].expr, Call):
        return None
    (root,) = readers
    outer = root.expr
    assert isinstance(outer, Call)
    if outer.op != "div" or outer.args[0] != single(1.0) or not isinstance(outer.args[1], Call):
        return None
    inner = outer.args[1]
    if inner.op != "sqrt" or not isinstance(inner.args[0], Call) or inner.args[0].op != "add":
        return None
    variance, epsilon = inner.args[0].args
    if not isinstance(epsilon, Const) or not isinstance(variance, Call) or variance.op != "div":
        return None
    sums, divisor = variance.args
    if not isinstance(sums, Access) or not isinstance(divisor, Const) or divisor.value != count:
        return None
    return (root, float(epsilon.value)) if float(epsilon.value) > 0 else None


def _is_product(reader: Einsum, one: Normalisation) -> bool:
    """Whether a reader has nothing but numbers times their root."""
    if reader.reduction is not None or reader.iterates:
        return False
    left = with_products(reader.expr, one, None)
    tensors = {a.tensor for a in accesses(left)}
    own = {one.root.output.tensor} | ({one.normal} if one.near is not None else set())
    return not own & tensors


def with_products(
    expr: Expr, one: Normalisation, word: str | None, *, inverted: bool = False
) -> Expr:
    """An expression with what ``word`` makes of numbers times their root; None: with 0.

    ``inverted``: the last word is the root's inverse, and not the squares.
    """
    if not isinstance(expr, Call):
        return expr
    if expr.op == "mul":
        for normal, root in (expr.args, expr.args[::-1]):
            if isinstance(normal, Access) and isinstance(root, Access):
                names = (one.normal, one.root.output.tensor)
                if (normal.tensor, root.tensor) == names and _row_of(normal, root, one):
                    return (
                        single(0.0)
                        if word is None
                        else _normalised(one, word, normal, root, inverted=inverted)
                    )
    args = (with_products(a, one, word, inverted=inverted) for a in expr.args)
    return replace(expr, args=tuple(args))


def _row_of(normal: Access, root: Access, one: Normalisation) -> bool:
    """Whether the root that is read is that of the row of the number that is read."""
    assert isinstance(one.power.expr, Call) and isinstance(one.power.expr.args[0], Access)
    at = {
        written.variable: index
        for written, index in zip(one.power.expr.args[0].indices, normal.indices, strict=True)
    }
    rows = one.root.output.indices
    sums = one.power.output.indices
    if [i.variable for i in rows] != [i.variable for i in sums] and len(rows) != len(sums):
        return False
    return root.indices == tuple(at.get(i.variable) for i in sums)


def _scales(one: Normalisation) -> tuple[Scale, Scale]:
    """Of the sum of codes and of that of their squares."""
    power = 2.0 ** (one.count - 1).bit_length()
    return Scale(0.5 / power, 64.0), Scale(1 / (1024 if one.near is None else 256) / power, 0.0)


def _inverse_scale(one: Normalisation) -> Scale:
    """Of 1 / sqrt(v + eps), v no less than 1 / 2n: only 0 is multiplied by larger ones."""
    return Scale((RANGE - 1) * float(np.sqrt(0.5 / one.count + _epsilon(one))), 0.0)


def _epsilon(one: Normalisation) -> float:
    """Of the variance of codes."""
    return one.epsilon / one.line.slope**2


def _normalised(
    one: Normalisation, word: str, normal: Access, root: Access, *, inverted: bool
) -> Expr:
    sums, squares = _scales(one)
    numbers = [read_word(word, root.indices, at) for at in range(2 if one.near else 1)]
    mean = sums.read(numbers[0], 1 / one.count) if one.near is not None else None
    if inverted:
        inverse = _inverse_scale(one).read(numbers[-1])
    else:
        spread = squares.read(numbers[-1], 1 / one.count)
        if mean is not None:
            spread = call("max", call("fma", mean, call("neg", mean), spread), single(0.0))
        inverse = call("stage_rsqrt", call("add", spread, single32(_epsilon(one))))
    code = _code(one, _place(one, normal))
    centred = code if mean is None else call("sub", code, mean)
    product = call("mul", centred, inverse)
    return product if one.line.slope > 0 else call("neg", product)


def _place(one: Normalisation, normal: Access) -> Access:
    """The access of x where a number is read."""
    if one.near is None:
        return normal
    assert isinstance(one.near.expr, Call)
    place = renamed(one.near, one.near.expr.args[0], normal)
    assert isinstance(place, Access)
    return place


def _code(one: Normalisation, place: Access) -> Expr:
    """c where an access reads x."""
    return one.line.at(call("f32", call("sub", one.line.leaf, integer(_centre(one)))), place)


def _square(cascade: Cascade, one: Normalisation, code: Expr) -> Expr:
    """c^2, or the nearest multiple of 2^k of which the row's sum is exact."""
    square, reduction = call("mul", code, code), one.power.reduction
    assert reduction is not None
    centre = _centre(one)
    peak = max(one.line.most - centre, centre - one.line.least) ** 2
    ranks = [v for v in reduction.variables if cascade.size(v) > 1]
    if len(ranks) < 2 or peak * one.count <= EXACT:
        return square
    step = 2
    while one.count * (peak + step) > EXACT * step:
        step *= 2
    return rounded_to(step, code, code)


def _replaced(cascade: Cascade, one: Normalisation, products: bool) -> Cascade:
    power = one.power
    assert isinstance(power.expr, Call) and isinstance(power.expr.args[0], Access)
    place = _place(one, power.expr.args[0])
    leaf = plain(cascade, one.line.at(one.line.leaf, place))
    summed = products and one.count <= MOST and as_row(power, leaf)
    if summed:
        cascade, word, made = _of_products(cascade, one, leaf)
    else:
        code = _code(one, place)
        sums, squares = _scales(one)
        squared = Row(_square(cascade, one, code), lambda own: own, squares)
        first = (Row(code, lambda own: own, sums),) if one.near is not None else ()
        cascade, word, made = write_words(cascade, power, (*first, squared))
    einsums: list[Einsum] = []
    for einsum in cascade.einsums:
        if einsum.name == power.name:
            einsums += made
        else:
            expr = with_products(einsum.expr, one, word, inverted=summed)
            if summed and expr != einsum.expr:
                cascade, expr = _merged(cascade, expr)
            einsums.append(einsum if expr == einsum.expr else replace(einsum, expr=expr))
    return without_unused(remove_dead(replace(cascade, einsums=tuple(einsums))))


def _of_products(
    cascade: Cascade, one: Normalisation, leaf: Expr
) -> tuple[Cascade, str, tuple[Einsum, ...]]:
    """The words of the sum of the codes and of the root, with the sums made by the array."""
    assert isinstance(leaf, Access)
    rows, centre = RowProducts(cascade, one.power), _centre(one)
    sums, scale = _scales(one)[0], _inverse_scale(one)
    table = (codes_of(cascade.tensors[leaf.tensor]).astype(np.int64) - centre) ** 2
    mean: str | None = None
    if one.near is not None:
        total = rows.of_codes(leaf, centre)
        mean = rows.word(total, sums.written(call("f32", total)), stem="mean")
    power = rows.of_digits(rows.tables(leaf, table))
    square = call("mul", call("f32", power), single32(1 / (one.count * scale.a**2)))
    if mean is not None:
        own = sums.read(read_word(mean, rows.rows), 1 / (one.count * scale.a))
        square = call("fma", own, call("neg", own), square)
    epsilon = single32(_epsilon(one) / scale.a**2)
    inverse = call("stage_rsqrt", call("add", call("max", square, single(0.0)), epsilon))
    inverse = call("add", call("min", inverse, single(RANGE)), single(RANGE))
    word = rows.word(power, inverse, behind=mean)
    return rows.cascade, word, tuple(rows.made)


def _merged(cascade: Cascade, expr: Expr) -> tuple[Cascade, Expr]:
    """An expression with (x W + C) s, or x W s, of constants W and C as x (W s) + C s."""
    if not isinstance(expr, Call):
        return cascade, expr
    if expr.op in ("mul", "div") and isinstance(expr.args[1], Const):
        inner, number = expr.args[0], float(expr.args[1].value)
        factor = number if expr.op == "mul" else 1 / number if number else 0.0
        line = _line_of(cascade, inner)
        if line is not None and factor:
            x, *parts = line
            editor = Editor(cascade)
            made: list[Expr] = [_scaled(editor, part, factor) for part in parts]
            merged = call("fma", x, *made) if len(made) == 2 else call("mul", x, *made)
            return editor.cascade, merged
    args = []
    for arg in expr.args:
        cascade, changed = _merged(cascade, arg)
        args.append(changed)
    return cascade, replace(expr, args=tuple(args))


def _line_of(cascade: Cascade, expr: Expr) -> tuple[Expr, ...] | None:
    """x, W and, if there is one, C."""
    if not isinstance(expr, Call) or expr.op not in ("add", "mul"):
        return None
    first, second = expr.args
    if not isinstance(second, Access) or second.tensor not in cascade.constants:
        return None
    if expr.op == "mul":
        return (first, second)
    inner = _line_of(cascade, first) if isinstance(first, Call) and first.op == "mul" else None
    return None if inner is None else (*inner, second)


def _scaled(editor: Editor, access: Expr, factor: float) -> Access:
    assert isinstance(access, Access)
    held = np.asarray(editor.cascade.constants[access.tensor])
    data = (held.astype(np.float64) * factor).astype(np.float32)
    ranks = editor.cascade.tensors[access.tensor].ranks
    return Access(editor.weight(f"{access.tensor}_steps", data, ranks), access.indices)
