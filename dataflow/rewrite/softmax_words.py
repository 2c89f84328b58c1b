"""Softmax between codes: the logarithm of a row's sum waits in memory as a word (`words`).

For numbers x that are a multiple of one code and a number, with T their largest possible value,

    L[row] = ln(sum of exp(x - T))        y = exp((x - T) - L)

No exponential of x - T vanishes (`SPREAD`), so that the largest one of a row need not be known;
where they are up to twice as far apart, T is half way. L is 2^-16 wrong at most, y less than 2^-15
of itself, besides the function stage's exp and ln. A softmax with no product behind it stays: the
host runs it.

Codes that are further apart (up to `FURTHEST`) have their largest one P[row] written, and

    V[row] = s P + ln(sum of exp(s (c - P)))        y = exp(s c - V)

where V is as many times less exact as its range is wider.

Rows that lie in the lanes are summed by the array (`row_products`), exponentials of c - P as parts
of 65,279. What waits is the share of the largest, S = 1 / sum, and y = S exp(s (c - P)).

Where a constant masks some (`masked_line`), a tensor of codes holds the lowest code there; other
numbers on the lowest code count as the one above, so that no row is empty. An exponential of the
lowest code is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32, S32, U8
from dataflow.ir.expr import Access, Call, Const, Expr, accesses, call, integer, single
from dataflow.ir.macs import contraction_operands
from dataflow.rewrite.code_lines import CodeLine, MaskedLine, code_line, masked_line, renamed
from dataflow.rewrite.cone import Cone, Editor
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.fold_constants import without_unused
from dataflow.rewrite.row_products import LARGEST, MOST, RowProducts, as_row, plain
from dataflow.rewrite.words import RANGE, Row, Scale, read_word, single32, write_words

SPREAD = 80.0
"""Largest difference of two arguments whose exponentials are both normal numbers."""

FURTHEST = 2.0**15
"""Largest difference of two arguments: y is then 2^-7 of itself wrong."""

FAR = 104.0
"""Difference of two arguments at which an exponential vanishes beside the other."""

SCALE = Scale(0.5, 64.0)
"""Of L, from -128 to below 128."""

SHARES = Scale(64.0, 0.0)
"""Of the largest exponential as a part of the row's sum, up to 1."""

STEEP = 256.0
"""By what a masked number is below T: more than any other, and than any exponential needs."""


def softmax_words(cascade: Cascade, lanes: int = 0) -> Cascade:
    """The cascade with each softmax over a row of codes as above.

    ``lanes``: rows that lie in so many lanes are summed as products (`row_products`); 0: none are.
    """
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        found = _softmax(editor, einsum)
        if found is not None:
            products = lanes > 0 and _as_products(editor, found)
            cascade = _of_products(cascade, found, lanes) if products else _replaced(cascade, found)
            return softmax_words(cascade, lanes)
    return cascade


@dataclass(frozen=True, eq=False)
class Softmax:
    """What is replaced.

    Attributes:
        total: the sum over the row.
        exp: the exponentials.
        real: x, in the variables of ``exp``.
        line: the code that x is a multiple of.
        mask: where x is not on the line.
    """

    total: Einsum
    largest: Einsum
    exp: Einsum
    real: Access
    line: CodeLine
    mask: MaskedLine | None


def _softmax(editor: Editor, total: Einsum) -> Softmax | None:
    cascade, fold = editor.cascade, total.reduction
    if fold is None or fold.op != "add" or total.iterates:
        return None
    if not isinstance(total.expr, Access) or cascade.tensors[total.output.tensor].dtype != F32:
        return None
    exp = editor.producers.get(total.expr.tensor)
    if exp is None or not (isinstance(exp.expr, Call) and exp.expr.op == "sub_exp"):
        return None
    real, peak = exp.expr.args
    if not (isinstance(real, Access) and isinstance(peak, Access)):
        return None
    largest = editor.writer(peak.tensor)
    if largest is None or largest.reduction is None or largest.reduction.op != "max":
        return None
    if not isinstance(largest.expr, Access) or largest.expr.tensor != real.tensor:
        return None
    if total.expr.indices != exp.output.indices or not _same_rows(largest, total):
        return None
    readers = {name for e in (total, exp) for name in editor.readers.get(e.output.tensor, ())}
    readers -= {total.name}
    if exp.output.tensor in cascade.outputs or total.output.tensor in cascade.outputs:
        return None
    if not all(_divides(cascade, editor.einsums[name], exp, total) for name in readers):
        return None
    if not _before_a_product(cascade, total.output.tensor):
        return None
    line, mask = code_line(editor, real.tensor), None
    if line is None:
        mask = masked_line(editor, real.tensor, FAR)
        if mask is None or mask.line.slope < 0 or not _open(editor, mask, total):
            return None
        line = mask.line
    spread = abs(line.slope) * (line.most - line.least)
    if spread > FURTHEST or (spread > 2 * SPREAD and (line.slope < 0 or mask is not None)):
        return None
    return Softmax(total, largest, exp, real, line, mask)


def _open(editor: Editor, mask: MaskedLine, total: Einsum) -> bool:
    """Whether each row has a number that is not masked."""
    assert isinstance(total.expr, Access) and total.reduction is not None
    names = [index.variable for index in mask.line.source.output.indices]
    known = [name for name in names if name is not None]
    folded = [
        known.index(name)
        for name, index in zip(names, total.expr.indices, strict=True)
        if name is not None and set(index.variables) & set(total.reduction.variables)
    ]
    values = Cone(editor, mask.line.source).along(mask.mask, tuple(known))
    opens = np.isin(values, mask.opens).reshape([editor.cascade.size(name) for name in known])
    return bool(opens.any(axis=tuple(folded)).all())


def _before_a_product(cascade: Cascade, tensor: str) -> bool:
    """Whether a product reads what follows from a tensor: a softmax at the end is the host's."""
    reached = {tensor}
    for einsum in cascade.einsums:
        if reached & {a.tensor for a in einsum.inputs}:
            if contraction_operands(einsum) is not None:
                return True
            reached.add(einsum.output.tensor)
    return False


def _same_rows(largest: Einsum, total: Einsum) -> bool:
    """Whether the largest value is taken over the rows that are summed."""
    assert largest.reduction is not None and total.reduction is not None
    if not (isinstance(largest.expr, Access) and isinstance(total.expr, Access)):
        return False
    names = {
        a.variable: b.variable
        for a, b in zip(largest.expr.indices, total.expr.indices, strict=False)
    }
    rows = [i.variable for i in largest.output.indices]
    ours = [i.variable for i in total.output.indices]
    if None in names or None in names.values() or len(rows) != len(ours):
        return False
    folded = [names.get(v) for v in largest.reduction.variables]
    return [names.get(v) for v in rows] == ours and folded == list(total.reduction.variables)


def _divides(cascade: Cascade, reader: Einsum, exp: Einsum, total: Einsum) -> bool:
    """Whether a reader of the exponentials or their sum has nothing but their quotient."""
    if reader.reduction is not None or reader.iterates:
        return False
    left = _with_quotients(reader.expr, exp, total, lambda e, t, factor: single(0.0))
    return not {exp.output.tensor, total.output.tensor} & {a.tensor for a in accesses(left)}


Change = Callable[[Access, Access, float], Expr]
"""What is made of an exponential, the sum that divides it, and a factor of the quotient."""


def _with_quotients(
    expr: Expr, exp: Einsum, total: Einsum, change: Change, *, scaled: bool = False
) -> Expr:
    """The expression with other quotients; ``scaled``: together with their factors."""
    if not isinstance(expr, Call):
        return expr
    own = _quotient(expr, exp, total)
    if own is not None:
        return change(*own, 1.0)
    if scaled and expr.op in ("mul", "div") and isinstance(expr.args[1], Const):
        own, number = _quotient(expr.args[0], exp, total), float(expr.args[1].value)
        if own is not None and number > 0:
            return change(*own, number if expr.op == "mul" else 1 / number)
    args = (_with_quotients(a, exp, total, change, scaled=scaled) for a in expr.args)
    return replace(expr, args=tuple(args))


def _quotient(expr: Expr, exp: Einsum, total: Einsum) -> tuple[Access, Access] | None:
    """The exponential and the sum of a quotient of ours."""
    if not isinstance(expr, Call) or expr.op != "div":
        return None
    top, bottom = expr.args
    if not (isinstance(top, Access) and isinstance(bottom, Access)):
        return None
    ours = (top.tensor, bottom.tensor) == (exp.output.tensor, total.output.tensor)
    return (top, bottom) if ours and _row_of(top, bottom, exp, total) else None


def _row_of(top: Access, bottom: Access, exp: Einsum, total: Einsum) -> bool:
    """Whether the sum that is read is that of the row of the exponential that is read."""
    at = {
        written.variable: index
        for written, index in zip(exp.output.indices, top.indices, strict=True)
    }
    return bottom.indices == tuple(at.get(i.variable) for i in total.output.indices)


def _replaced(cascade: Cascade, found: Softmax) -> Cascade:
    total, exp, line = found.total, found.exp, found.line
    assert isinstance(total.expr, Access)
    codes: tuple[Einsum, ...] = ()
    if found.mask is not None:
        cascade, line = _with_open_codes(cascade, found.mask)
        codes = (line.source,)
    leaf = _code(found, line)
    walked = _walked(total, leaf)
    shifted, scale = _shifted(line, found.mask is not None), SCALE
    power: Expr = call("stage_exp", renamed(exp, line.at(shifted, found.real), total.expr))
    row = Row(power, lambda own: call("stage_log", own), scale)
    if line.slope * (line.most - line.least) > 2 * SPREAD:
        cascade, peak = _with_peak(cascade, found, line)
        codes = (*codes, peak)
        shifted = call("mul", call("f32", line.leaf), single(line.slope))
        row = _row_of_peaks(cascade, found, line, peak, leaf)
        scale = row.scale
    shifted = line.at(shifted, found.real)
    cascade, word, made = write_words(cascade, walked, (row,))

    def quotient(top: Access, bottom: Access, factor: float) -> Expr:
        log = scale.read(read_word(word, bottom.indices))
        return call("stage_exp", call("sub", renamed(exp, shifted, top), log))

    def changed(reader: Einsum) -> Einsum:
        return replace(reader, expr=_with_quotients(reader.expr, exp, total, quotient))

    return _with(cascade, total, (*codes, *made), [changed(e) for e in cascade.einsums])


def _with(
    cascade: Cascade, total: Einsum, made: Sequence[Einsum], others: Sequence[Einsum]
) -> Cascade:
    """The cascade with what was made in place of the sum."""
    at = next(place for place, einsum in enumerate(others) if einsum.name == total.name)
    einsums = (*others[:at], *made, *others[at + 1 :])
    return without_unused(remove_dead(replace(cascade, einsums=einsums)))


def _code(found: Softmax, line: CodeLine) -> Expr:
    """The code of a number, in the variables of the sum."""
    assert isinstance(found.total.expr, Access)
    return renamed(found.exp, line.at(line.leaf, found.real), found.total.expr)


def _as_products(editor: Editor, found: Softmax) -> bool:
    """Whether the exponentials of a row are summed by the array."""
    count = editor.cascade.sizes(found.total)
    code = plain(editor.cascade, _code(found, found.line))
    if found.line.slope < 0 or not as_row(found.total, code):
        return False
    assert found.total.reduction is not None
    return count[found.total.reduction.variables[0]] <= MOST


def _of_products(cascade: Cascade, found: Softmax, lanes: int) -> Cascade:
    """The exponentials F of d = c - P as a table, which the array sums.

    The row's word is the share of the largest one, with which the array's 255 H + L is multiplied:
    y, or y times a number, the step of its codes.
    """
    exp, line = found.exp, found.line
    codes: tuple[Einsum, ...] = ()
    if found.mask is not None:
        cascade, line = _with_open_codes(cascade, found.mask)
        codes = (line.source,)
    rows = RowProducts(cascade, found.total)
    code = plain(cascade, _code(found, line))
    assert isinstance(code, Access)
    peak = rows.largest(code, lanes)
    kind = cascade.tensors[code.tensor].dtype
    low, high = int(kind.lowest), int(kind.highest)
    opposite = rows.tensor("opposite", (), kind)  # low + high - P, a code too
    turned = call("rint", call("fma", call("f32", peak), single(-1.0), single(low + high)))
    turned = call("add", turned, integer(0))
    rows.write(opposite, call("clip", turned, Const(low, S32), Const(high, S32)))
    distance = rows.tensor("distance", (rows.walked,), U8)  # c - P + 255
    other = call("sub", opposite, integer(low + high - 255)) if low else opposite
    rows.write(distance, call("u8", call("add", code, other)))
    table = np.rint(LARGEST * np.exp(line.slope * (np.arange(256.0) - 255)))
    digits = rows.tables(distance, table, _bound(rows, found, line))
    sums = rows.of_digits(digits)
    share = call("stage_reciprocal", call("f32", sums))
    word = rows.word(sums, call("fma", share, single(LARGEST * SHARES.a), single(RANGE)))
    assert isinstance(found.total.expr, Access)
    at = [index.variable for index in found.total.expr.indices].index(rows.walked)

    def changed(reader: Einsum) -> Einsum:
        own: list[Access] = []  # of each reader its own, which is a part of it

        def quotient(top: Access, bottom: Access, factor: float) -> Expr:
            power = own[0] if own else rows.powers(digits)
            own[:] = [power]
            place = (*bottom.indices, top.indices[at])
            part = SHARES.read(read_word(word, bottom.indices), factor / LARGEST)
            return call("mul", call("f32", Access(power.tensor, place)), part)

        expr = _with_quotients(reader.expr, exp, found.total, quotient, scaled=True)
        return replace(reader, expr=expr)

    others = [changed(e) for e in cascade.einsums]
    return _with(rows.cascade, found.total, (*codes, *rows.made), others)


def _bound(rows: RowProducts, found: Softmax, line: CodeLine) -> Access | None:
    """255 where a number counts, 0 where it is masked, in the variables of the sum."""
    if found.mask is None:
        return None
    mask = found.mask.mask
    data = np.isin(np.asarray(rows.cascade.constants[mask.tensor]), found.mask.opens)
    variables = tuple(r.lower() for r in rows.cascade.tensors[mask.tensor].ranks)
    name = rows.constant("bound", np.where(data, 255, 0).astype(np.uint8), variables)
    assert isinstance(found.total.expr, Access)
    place = line.at(Access(name, mask.indices), found.real)
    bound = renamed(found.exp, place, found.total.expr)
    assert isinstance(bound, Access)
    return bound


def _walked(total: Einsum, leaf: Expr) -> Einsum:
    """The sum in the order of the codes' dimensions: a softmax leaves it open."""
    assert isinstance(leaf, Access) and total.reduction is not None
    order = [v for index in leaf.indices for v in index.variables]
    variables = tuple(sorted(total.reduction.variables, key=order.index))
    return replace(total, reduction=replace(total.reduction, variables=variables))


def _shifted(line: CodeLine, masked: bool) -> Expr:
    """x - T over the code; far below all others where the code is below ``least``."""
    top = line.most if line.slope > 0 else line.least
    spread = abs(line.slope) * (line.most - line.least)
    middle = spread / 2 if spread > SPREAD else 0.0
    if not masked:
        offset = single32(middle - line.slope * top)
        return call("fma", call("f32", line.leaf), single(line.slope), offset)
    number = call("f32", call("sub", line.leaf, integer(line.least)))
    offset = single32(middle - line.slope * (top - line.least))
    shifted = call("fma", number, single(line.slope), offset)
    return call("min", shifted, call("mul", number, single(STEEP)))


def _with_peak(cascade: Cascade, found: Softmax, line: CodeLine) -> tuple[Cascade, Einsum]:
    """The largest code of each row."""
    largest = found.largest
    assert isinstance(largest.expr, Access)
    name = f"{largest.output.tensor}_code"
    while name in cascade.tensors:
        name += "_"
    kind = cascade.tensors[line.leaf.tensor].dtype
    tensor = replace(cascade.tensors[largest.output.tensor], name=name, dtype=kind, label=name)
    made = replace(
        largest,
        name=name,
        output=Access(name, largest.output.indices),
        expr=line.at(line.leaf, largest.expr),
    )
    return replace(cascade, tensors={**cascade.tensors, name: tensor}), made


def _row_of_peaks(
    cascade: Cascade, found: Softmax, line: CodeLine, peak: Einsum, leaf: Expr
) -> Row:
    """V of a row, whose range is known."""
    total = found.total
    assert total.reduction is not None
    count = 1
    for variable in total.reduction.variables:
        count *= cascade.size(variable)
    low, high = line.slope * line.least, line.slope * line.most + float(np.log(count))
    power = 2.0 ** np.floor(np.log2((RANGE - 2) / (high - low)))
    scale = Scale(float(power), float(np.float32(1 - low * power)))
    code = Access(peak.output.tensor, total.output.indices)
    difference = call("f32", call("sub", leaf, code))
    body = call("stage_exp", call("mul", difference, single(line.slope)))
    top = call("mul", call("f32", code), single(line.slope))
    return Row(body, lambda own: call("add", call("stage_log", own), top), scale)


def _with_open_codes(cascade: Cascade, mask: MaskedLine) -> tuple[Cascade, CodeLine]:
    """The codes with the lowest one where they are masked, and only there; x over them."""
    line, source = mask.line, mask.line.source
    kind = cascade.tensors[line.leaf.tensor].dtype
    editor = Editor(cascade)
    data = np.isin(np.asarray(cascade.constants[mask.mask.tensor]), mask.opens)
    bounds = np.where(data, line.most, line.least).astype(kind.numpy)
    real = cascade.tensors[source.output.tensor]
    bound = editor.weight(f"{real.name}_bound", bounds, cascade.tensors[mask.mask.tensor].ranks)
    name = f"{real.name}_codes"
    while name in editor.cascade.tensors:
        name += "_"
    tensor = replace(real, name=name, dtype=kind, label=name)
    own = Access(name, source.output.indices)
    least = line.least + 1
    expr = call("min", call("max", line.leaf, integer(least)), Access(bound, mask.mask.indices))
    maker = Einsum(name, own, expr, None, source.source, source.operator)
    cascade = replace(editor.cascade, tensors={**editor.cascade.tensors, name: tensor})
    return cascade, replace(line, source=maker, leaf=own, least=least)
