"""A number for each row of a tensor, kept in memory as the bytes of a word.

The machine stores 8-bit codes, one a point and layer. A float32 number v that is computed from a
row, with bounds known, becomes

    u = v a + b, from 0 to below 128, rounded to a multiple of 2^-16
    D[row, 0..2] = the bytes of u 2^16, D[row, 3] = 0

each byte by an Einsum of its own; who needs v reads `word`, which the lowering takes from memory as
one 32-bit number, and makes ``fma(f32(word), 2^-16 / a, -b / a)`` of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.dtype import S32, U8
from dataflow.ir.expr import Access, Call, Const, Expr, call, integer, single

BYTES = 4
"""Of a word; the last one is 0."""

DIGITS = 3
RESOLUTION = 2.0**-16
RANGE = 128.0
FLOOR = 1.5 * 2.0**23
"""What makes an integer of a number near zero when it is added and taken off."""


@dataclass(frozen=True)
class Scale:
    """u = v a + b; a is a power of two."""

    a: float
    b: float

    def written(self, value: Expr) -> Expr:
        """u + 128, which float32 rounds to a multiple of `RESOLUTION`."""
        return call("fma", value, single(self.a), single(self.b + RANGE))

    def read(self, word: Expr, factor: float = 1.0) -> Expr:
        """v times a factor."""
        slope = single32(RESOLUTION / self.a * factor)
        if not self.b:
            return call("mul", call("f32", word), slope)
        return call("fma", call("f32", word), slope, single32(-self.b / self.a * factor))


def single32(value: float) -> Const:
    """The literal of the nearest float32 number."""
    return single(float(np.float32(value)))


@dataclass(frozen=True, eq=False)
class Row:
    """A number of each row.

    Attributes:
        body: what is summed over the row, in the variables of ``total``.
        value: the number, of an access to the sum.
    """

    body: Expr
    value: Callable[[Expr], Expr]
    scale: Scale


def write_words(
    cascade: Cascade, total: Einsum, rows: tuple[Row, ...]
) -> tuple[Cascade, str, tuple[Einsum, ...]]:
    """The tensor of words and the Einsums that write it, one word after the other.

    Args:
        cascade: gets the tensors.
        total: a sum over the row, whose output variables, reduction and node the Einsums take over.
        rows: the numbers.
    """
    kept = cascade.tensors[total.output.tensor]
    rank = "W"
    while rank in cascade.rank_sizes:
        rank += "W"
    word = f"{kept.name}_word"
    size = BYTES * len(rows)
    tensors = dict(cascade.tensors)
    tensors[word] = Tensor(word, (*kept.ranks, rank), (*kept.shape, size), U8, label=word)
    made: list[Einsum] = []
    for at, row in enumerate(rows):
        for place in range(DIGITS):
            number = BYTES * at + place
            name = f"{kept.name}_{number}"
            tensors[name] = replace(kept, name=name, label=name)
            own = Access(name, total.output.indices)
            made.append(replace(total, name=name, output=own, expr=row.body))
            digit = byte_of(place, row.scale.written(row.value(own)))
            made.append(_writer(total, word, number, digit))
        made.append(_writer(total, word, BYTES * at + DIGITS, integer(0)))
    sizes = {**cascade.rank_sizes, rank: size}
    return replace(cascade, rank_sizes=sizes, tensors=tensors), word, tuple(made)


def _writer(total: Einsum, word: str, number: int, expr: Expr) -> Einsum:
    byte = Access(word, (*total.output.indices, Affine.of(number)))
    return Einsum(f"{word}_{number}", byte, expr, None, total.source, total.operator)


def read_word(word: str, row: tuple[Affine, ...], at: int = 0) -> Expr:
    """The word number ``at`` of a row, an int32."""
    parts = [Access(word, (*row, Affine.of(BYTES * at + place))) for place in range(DIGITS)]
    low = call("add", parts[0], call("mul", parts[1], integer(256)))
    return call("add", low, call("mul", parts[2], integer(65536)))


def feeds_word(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether only a byte of a word is made of an Einsum's result, one point at a time.

    Such a reduction has no use for rows that lie side by side: its bytes never do.
    """
    name = einsum.output.tensor
    readers = cascade.readers.get(name, ())
    return len(readers) == 1 and _writes_byte(cascade, readers[0])


def _writes_byte(cascade: Cascade, einsum: Einsum) -> bool:
    tensor = cascade.tensors[einsum.output.tensor]
    writers = cascade.writers[tensor.name]
    if tensor.dtype != U8 or not tensor.shape or tensor.shape[-1] != len(writers):
        return False
    places = [e.output.indices[-1] for e in writers]
    return len(writers) % BYTES == 0 and all(not place.terms for place in places)


def is_word(expr: Expr) -> Access | None:
    """The access of the first byte of a word that an expression reads; None for others."""
    if not (isinstance(expr, Call) and expr.op == "add"):
        return None
    low, high = expr.args
    if not (isinstance(low, Call) and low.op == "add"):
        return None
    first, second = low.args
    parts = [first, _weighed(second, 256), _weighed(high, 65536)]
    known = [part for part in parts if isinstance(part, Access) and part.indices]
    if len(known) < DIGITS:
        return None
    start = known[0].indices
    for place, part in enumerate(known):
        last = replace(start[-1], offset=start[-1].offset + place)
        if part.tensor != known[0].tensor or part.indices != (*start[:-1], last):
            return None
    return known[0]


def _weighed(expr: Expr, weight: int) -> Expr | None:
    if isinstance(expr, Call) and expr.op == "mul" and expr.args[1] == integer(weight):
        return expr.args[0]
    return None


def byte_of(place: int, number: Expr) -> Expr:
    """Byte ``place`` of u 2^16, exactly: no rounding to an integer is near a tie.

    ``number`` is u + 128. Half of the last place is added to u: no part of it is an integer.
    """
    half = single(0.5)
    u = call("sub", number, single(RANGE - RESOLUTION / 2))
    whole = call("sub", u, half)
    for _ in range(DIGITS - 1 - place):
        floor = call("sub", call("add", whole, single(FLOOR)), single(FLOOR))
        u = call("mul", call("sub", u, floor), single(256.0))
        whole = call("sub", u, half)
    rounded = call("add", call("rint", whole), integer(0))
    return call("clip", rounded, Const(0, S32), Const(255, S32))
