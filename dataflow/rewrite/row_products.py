"""Sums over rows of codes as products with ones, and largest codes of rows in steps of lanes.

A row that lies in the lanes of the vector unit is walked by one of them. The array sums it at full
rate, exactly in int32, where what is summed is a table of the code:

    F[c] = 255 H[c] + L[c], from 0 to 65,279      G[row, 0, k] = H[c]      G[row, 1, k] = L[c]
    A[row, n] = G[row, i, k] W[i, n] :: add(i, k)      W = (255, 1) for each n

n are the four bytes of the word (`words`) that is made of the sum: A is the same in all of them,
and byte n of it is one expression with numbers that differ from lane to lane. F itself at each
place is a product of the same digits, with a column for each k.

A largest code has no such form. Lane l takes it over k = t s + l, and again over what is left,
until that is one code. Where lanes are more than a step s they take some codes twice, which a
maximum may.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Reduction, Tensor
from dataflow.ir.dtype import S32, U8, DType
from dataflow.ir.expr import Access, Const, Expr, call, integer, single
from dataflow.rewrite.words import BYTES, DIGITS, FLOOR, RANGE, RESOLUTION

Array = np.ndarray

BASE = 255
"""Of the two digits of a table: the largest factor that the array takes."""

LARGEST = BASE * BASE + BASE - 1
"""Of what a table holds."""

MOST = 4096
"""Codes of a row: a sum of them is below 2^28."""

LAYER = 150
"""Cycles that a layer takes besides its work, about."""


def plain(cascade: Cascade, expr: Expr) -> Expr:
    """An access without variables of one value beside others."""
    if not isinstance(expr, Access):
        return expr

    def kept(index: Affine) -> Affine:
        terms = tuple((v, c) for v, c in index.terms if cascade.size(v) > 1)
        return Affine(terms, index.offset) if terms and len(index.terms) > 1 else index

    return Access(expr.tensor, tuple(kept(i) for i in expr.indices), expr.indirect)


def as_row(total: Einsum, code: Expr) -> bool:
    """Whether a sum walks rows of codes one after the other, along the last rank of the codes."""
    fold = total.reduction
    if fold is None or len(fold.variables) != 1 or not isinstance(code, Access):
        return False
    names = [index.variable for index in code.indices]
    rows = [index.variable for index in total.output.indices]
    if None in names or None in rows or len(set(names)) < len(names):
        return False
    return names[-1] == fold.variables[0] and set(names[:-1]) <= set(rows)


@dataclass
class RowProducts:
    """Einsums over the rows of one sum, and the cascade with their tensors.

    Attributes:
        cascade: grows.
        total: the sum, whose rows, node and operator they take over.
        made: in the order of execution.
    """

    cascade: Cascade
    total: Einsum
    made: list[Einsum] = field(default_factory=list)

    @property
    def rows(self) -> tuple[Affine, ...]:
        """The place of a row."""
        return self.total.output.indices

    @property
    def walked(self) -> str:
        """The variable along a row."""
        assert self.total.reduction is not None
        return self.total.reduction.variables[0]

    @property
    def count(self) -> int:
        """Codes of a row."""
        return self.cascade.size(self.walked)

    def rank(self, name: str, size: int) -> str:
        """The variable of a new rank."""
        while name in self.cascade.rank_sizes:
            name += "W"
        sizes = {**self.cascade.rank_sizes, name: size}
        self.cascade = replace(self.cascade, rank_sizes=sizes)
        return name.lower()

    def tensor(self, stem: str, variables: tuple[str, ...], dtype: DType) -> Access:
        """A new tensor of the rows, with more ranks behind theirs; its access."""
        kept = self.cascade.tensors[self.total.output.tensor]
        name = self._fresh(f"{kept.name}_{stem}")
        ranks = (*kept.ranks, *(v.upper() for v in variables))
        shape = (*kept.shape, *(self.cascade.size(v) for v in variables))
        self._declare(Tensor(name, ranks, shape, dtype, label=name))
        return Access(name, (*self.rows, *(Affine.of(v) for v in variables)))

    def constant(self, stem: str, data: Array, variables: tuple[str, ...]) -> str:
        """A new constant."""
        name = self._fresh(f"{self.total.output.tensor}_{stem}")
        ranks = tuple(v.upper() for v in variables)
        self._declare(Tensor(name, ranks, data.shape, DType.of(data), "weight", label=name))
        held = {**self.cascade.constants, name: data}
        self.cascade = replace(self.cascade, constants=held)
        return name

    def write(
        self, output: Access, expr: Expr, fold: Reduction | None = None, at: str = ""
    ) -> None:
        """An Einsum that writes a tensor, or a part of it that ``at`` names."""
        name = output.tensor + at
        own = (self.total.source, self.total.operator)
        self.made.append(Einsum(name, output, expr, fold, *own))

    def _fresh(self, name: str) -> str:
        while name in self.cascade.tensors:
            name += "_"
        return name

    def _declare(self, tensor: Tensor) -> None:
        tensors = {**self.cascade.tensors, tensor.name: tensor}
        self.cascade = replace(self.cascade, tensors=tensors)

    # Steps

    def largest(self, code: Access, lanes: int) -> Access:
        """The largest code of each row."""
        kind = self.cascade.tensors[code.tensor].dtype
        left = self.walked
        points = prod(self.cascade.size(v) for v in self.total.output.variables)
        for number, (width, step) in enumerate(steps(self.count, lanes, points)):
            size = self.cascade.size(left)
            if width == 1:
                taken, index = left, Affine.of(left)
                own = self.tensor("largest", (), kind)
            else:
                taken = self.rank("RT", (size - width) // step + 1)
                lane = self.rank("RL", width)
                index = Affine.of((taken, step), lane)
                own = self.tensor(f"largest_{number}", (lane,), kind)
            place = tuple(index if i.variable == left else i for i in code.indices)
            self.write(own, Access(code.tensor, place), Reduction("max", (taken,)))
            if width > 1:
                code, left = own, lane
            else:
                code = own
        return code

    def tables(self, code: Expr, table: Array, bound: Access | None = None) -> Access:
        """The digits of a table of codes, by their raw byte; 0 where ``bound`` is 0 (else 255)."""
        digit = self.rank("RI", 2)
        entry = self.rank("RE", 256)
        made = self.tensor("digits", (digit, self.walked), U8)
        parts = table.astype(np.int64) // BASE, table.astype(np.int64) % BASE
        for place, part in enumerate(parts):
            data = self.constant(f"table_{place}", part.astype(np.uint8), (entry,))
            expr: Expr = call("lookup", code, Access(data))
            if bound is not None:
                expr = call("min", expr, bound)
            own = (*self.rows, Affine.of(place), Affine.of(self.walked))
            self.write(Access(made.tensor, own), expr, at=f"_{place}")
        return made

    def of_digits(self, digits: Access, *, bytes_of_words: bool = True) -> Access:
        """The sum of a table over each row, for each byte of a word or once: int32."""
        digit = digits.indices[-2].variables[0]
        columns = (self.rank("RB", BYTES),) if bytes_of_words else ()
        weights = np.array([BASE, 1], np.uint8).reshape(2, *(1 for _ in columns))
        weights = np.broadcast_to(weights, (2, *(BYTES for _ in columns))).copy()
        names = (digit, *columns)
        factor = Access(self.constant("ones", weights, names), tuple(map(Affine.of, names)))
        own = self.tensor("sum", columns, S32)
        fold = Reduction("add", (digit, self.walked))
        self.write(own, call("mul", digits, factor), fold)
        return own

    def powers(self, digits: Access) -> Access:
        """The numbers of a table at each place of the rows, once more: int32."""
        digit = digits.indices[-2].variables[0]
        weights = np.repeat(np.array([[BASE], [1]], np.uint8), self.count, axis=1)
        names = (digit, self.walked)
        factor = Access(self.constant("digits", weights, names), tuple(map(Affine.of, names)))
        own = self.tensor("powers", (self.walked,), S32)
        self.write(own, call("mul", digits, factor), Reduction("add", (digit,)))
        return own

    def of_codes(self, code: Access, zero: int) -> Access:
        """The sum of the codes of each row less a number, for each byte of a word: int32."""
        byte = self.rank("RB", BYTES)
        ones = self.constant("ones", np.ones(BYTES, np.uint8), (byte,))
        own = self.tensor("sum", (byte,), S32)
        less = call("sub", code, integer(zero)) if zero else code
        factor = Access(ones, (Affine.of(byte),))
        self.write(own, call("mul", less, factor), Reduction("add", (self.walked,)))
        return own

    def word(
        self, total: Access, number: Expr, *, stem: str = "word", behind: str | None = None
    ) -> str:
        """The tensor of the word of a number u + 128 of each row.

        Args:
            total: the sum that it is computed from, the same for all bytes.
            number: in the variables of the sum.
            stem: of the tensor's name.
            behind: holds a word of each row, a copy of which stands in front.
        """
        byte = total.indices[-1].variables[0]
        size = self.rank("W", BYTES if behind is None else 2 * BYTES)
        word = self.tensor(stem, (size,), U8).tensor
        if behind is not None:
            place = (*self.rows, Affine.of(byte))
            self.write(Access(word, place), Access(behind, place), at="_copy")
        place = (*self.rows, Affine.of(byte, 0 if behind is None else BYTES))
        self.write(Access(word, place), self._byte(number, byte), at="_bytes")
        return word

    def _byte(self, number: Expr, byte: str) -> Expr:
        """Byte n of u 2^16, exactly; ``number`` is u + 128 (`words.byte_of`).

        u m has its byte behind the point: 256 times what is left of it is the byte and less than
        one. Of the fourth byte nothing is left.
        """
        powers = [256.0 ** (1 - place) for place in range(DIGITS)] + [256.0**-2]
        data = np.array(powers, np.float32)
        moved = Access(self.constant("factors", data, (byte,)), (Affine.of(byte),))
        u = call("sub", number, single(RANGE - RESOLUTION / 2))
        near = call("fma", u, moved, single(-0.5))
        floor = call("sub", call("add", near, single(FLOOR)), single(FLOOR))
        left = call("fma", u, moved, call("neg", floor))
        rest = call("fma", left, single(256.0), single(-0.5))
        rounded = call("add", call("rint", rest), integer(0))
        return call("clip", rounded, Const(0, S32), Const(255, S32))


Steps = tuple[tuple[int, int], ...]
"""(lanes, step) of each layer."""


def steps(count: int, lanes: int, rows: int) -> Steps:
    """The layers of least work that take the largest of ``count`` codes; the last has one lane."""
    best: dict[int, tuple[int, Steps]] = {}
    for size in (*range(1, min(count - 1, lanes) + 1), count):
        best[size] = _least(size, best, rows)
    return best[count][1]


def _least(size: int, known: dict[int, tuple[int, Steps]], rows: int) -> tuple[int, Steps]:
    found: tuple[int, Steps] = (size * rows + LAYER, ((1, 1),))
    for width, (rest, behind) in known.items():
        for step in range(2, width + 1):
            if size > width and (size - width) % step == 0:
                work = ((size - width) // step + 1) * rows + LAYER + rest
                found = min(found, (work, ((width, step), *behind)))
    return found
