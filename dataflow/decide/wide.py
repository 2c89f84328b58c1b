"""Accumulators that leave the network, as three bytes each.

The machine stores 8-bit codes. What is computed behind the last accumulators and is no code (logits
without a quantiser, int32 results) is the host's, and the accumulator a itself crosses to it as
digits to the base 256, each from -128 to 127:

    h = rint((a + 128.5) / 65536)    r = a - 65536 h    m = rint((r + 0.5) / 256)    l = r - 256 m

All of it is exact in float32 while abs(a) is at most `LARGEST`, which the weights prove, and no
rint is near a tie. The accumulators are computed once for each digit: three layers. Sums of long
rows, which may be larger, are cut into parts of the rows (`dataflow.decide.wide_parts`), each with
digits of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflow.decide.wide_parts import in_parts, largest
from dataflow.ir.cascade import Cascade, Einsum, HostOp, Tensor
from dataflow.ir.dtype import F32, S8, S32
from dataflow.ir.expr import Access, Call, Const, Expr, accesses, call, walk
from dataflow.ir.macs import contraction_operands

LARGEST = 8_355_000
"""Largest accumulator whose digits are exact: the first digit of more would pass 127."""

DIGITS = ("high", "middle", "low")
WEIGHTS = (65536, 256, 1)

RECOMPUTED = "Recomputed"
"""Operator of the copies of a product: their multiply-accumulates are not nominal ones."""

PLAIN = frozenset({"f32", "add", "sub", "mul", "div", "max", "min"})
"""Operations that the host can take over node by node."""


@dataclass(frozen=True)
class WideOutput:
    """A result that is no code, cut off behind its accumulators.

    Attributes:
        accumulator: the tensor of the accumulators, gone from the network.
        digits: labels of its digits that leave the machine instead, high to low, part by part.
        result: the tensor that the host makes of them, and ``einsum`` that says how; None for the
            accumulator itself.
        host: the host operations behind it, now the tail's.
    """

    accumulator: Tensor
    digits: tuple[str, ...]
    result: Tensor
    einsum: Einsum | None
    host: tuple[HostOp, ...]


def split_wide(cascade: Cascade) -> tuple[Cascade, tuple[WideOutput, ...]]:
    """The Cascade with digits in place of wide outputs, and what was cut off."""
    found: list[WideOutput] = []
    for name in cascade.outputs:
        product = _product(cascade, name)
        if product is None:
            continue
        parts = [product]
        if largest(cascade, product) > LARGEST:
            cascade, parts = in_parts(cascade, product, LARGEST)
        if parts:
            cascade, wide = _cut(cascade, name, product, parts)
            found.append(wide)
    return cascade, tuple(found)


def _product(cascade: Cascade, name: str) -> Einsum | None:
    """The product behind an output that is no code, where the host can do what stands between."""
    tensor = cascade.tensors[name]
    wide = tensor.dtype == F32 or tensor.dtype == S32
    makers = cascade.writers.get(name, ())
    if not wide or len(makers) != 1 or name in cascade.readers or makers[0].iterates:
        return None
    maker = makers[0]
    if tensor.dtype == S32 and contraction_operands(maker) is not None:
        return maker if _whole(cascade, maker.output) else None
    operations = {p.op for p in walk(maker.expr) if isinstance(p, Call)}
    data = {a for a in accesses(maker.expr) if a.tensor not in cascade.constants}
    constants = [a for a in accesses(maker.expr) if a.tensor in cascade.constants]
    direct = all(i.variable is not None for a in constants for i in a.indices)
    if maker.reduction is not None or operations - PLAIN or len(data) != 1 or not direct:
        return None
    (access,) = data
    if access.indirect or access.indices != maker.output.indices or not _whole(cascade, access):
        return None
    above = cascade.writers.get(access.tensor, ())
    readers = cascade.readers[access.tensor]
    plain = cascade.tensors[access.tensor].dtype == S32 and access.tensor not in cascade.outputs
    if len(above) != 1 or contraction_operands(above[0]) is None or readers != (maker,):
        return None
    return above[0] if plain and _whole(cascade, above[0].output) else None


def _whole(cascade: Cascade, access: Access) -> bool:
    """Whether an access walks a tensor element by element, whole."""
    names = [i.variable for i in access.indices]
    sizes = [cascade.size(n) if n is not None else 0 for n in names]
    return len(set(names)) == len(names) and sizes == list(cascade.tensors[access.tensor].shape)


def _cut(
    cascade: Cascade, name: str, product: Einsum, parts: Sequence[Einsum]
) -> tuple[Cascade, WideOutput]:
    """The Cascade with the digits of each part of a product in the place of the output."""
    tensors: dict[str, Tensor] = dict(cascade.tensors)
    result, accumulator = tensors[name], tensors[product.output.tensor]
    einsum = next((e for e in cascade.einsums if e.output.tensor == name and e != product), None)
    host, made = [], {name}
    for op in cascade.host:
        if op.input in made and op.stage == "after":
            host.append(op)
            made.add(op.output)
    einsums: list[Einsum] = []
    digits: list[str] = []
    taken = {e.name for e in cascade.einsums}
    for e in cascade.einsums:
        if e is einsum:
            continue
        if e is not product:
            einsums.append(e)
            continue
        for number, (part, digit) in enumerate((p, d) for p in parts for d in DIGITS):
            place = number % len(DIGITS)
            near = accumulator.name if len(parts) == 1 else part.name
            own, stored = f"{near}_{digit}_sum", f"{near}_{digit}"
            while {own, stored} & (tensors.keys() | taken):
                own, stored = f"{own}_", f"{stored}_"
            tensors[own] = replace(accumulator, name=own, label=own, role="intermediate")
            label = f"{result.label or name} {digit} digit"
            if len(parts) > 1:
                label = f"{label} of part {number // len(DIGITS) + 1}"
            tensors[stored] = replace(
                accumulator, name=stored, label=label, role="output", dtype=S8, quant=None
            )
            sums = replace(part, name=e.name, output=replace(e.output, tensor=own))
            if number:
                sums = replace(sums, name=own, operator=RECOMPUTED)
            target, read = (Access(n, e.output.indices) for n in (stored, own))
            made_of = digit_of(place, read)
            einsums += [sums, Einsum(stored, target, made_of, source=e.source, operator=RECOMPUTED)]
            digits.append(stored)
    gone = {name, accumulator.name, *made}
    labels = tuple(tensors[d].label for d in digits)
    left = [n for n in cascade.graph_outputs if n not in gone]
    return replace(
        cascade,
        tensors={n: t for n, t in tensors.items() if n not in gone},
        einsums=tuple(einsums),
        outputs=(*(n for n in cascade.outputs if n != name), *digits),
        host=tuple(op for op in cascade.host if op not in host),
        graph_outputs=(*left, *digits),
    ), WideOutput(accumulator, labels, result, einsum, tuple(host))


def digit_of(place: int, accumulator: Expr) -> Expr:
    """The digit (0 the highest) of an int32 expression of magnitude at most `LARGEST`."""
    whole = call("f32", accumulator)
    high = _byte(_fma(whole, 2.0**-16, 128.5 * 2.0**-16))
    if place == 0:
        return high
    rest = call("fma", call("f32", high), Const(-65536.0, F32), whole)
    middle = _byte(_fma(rest, 2.0**-8, 2.0**-9))
    if place == 1:
        return middle
    return _byte(call("fma", call("f32", middle), Const(-256.0, F32), rest))


def _fma(x: Expr, scale: float, offset: float) -> Expr:
    return call("fma", x, Const(scale, F32), Const(offset, F32))


def _byte(x: Expr) -> Expr:
    return call("clip", call("rint", x), Const(-128, S32), Const(127, S32))
