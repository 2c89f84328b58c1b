"""Queries, keys and values of attention operators over common rank variables.

Query head h reads key head h // G, so heads are two ranks: h = k*G + g. A 3-D operand holds its
heads in the last dimension; both forms are read in place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflow.frontend.context import UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.operators.ranks import Variables
from dataflow.frontend.value import Dims, Value, renamed
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Expr


@dataclass(frozen=True)
class Heads:
    """An operand with a head dimension.

    Attributes:
        operand: over [batch, head, position, channel], or [batch, position, head * channel].
        count: heads.
        length: positions.
        width: channels of a head.
    """

    operand: Operand
    count: int
    length: int
    width: int

    @property
    def dtype(self) -> DType:
        return self.operand.dtype

    @property
    def flat(self) -> bool:
        """Whether heads and channels share a dimension."""
        return len(self.operand.shape) == 3

    def at(self, b: Place, head: Affine, position: Place, channel: Place) -> Expr:
        """An element."""
        if not self.flat:
            return self.operand.at(b, head, position, channel)
        assert isinstance(channel, str | int | Affine)
        return self.operand.at(b, position, Affine.of(head * self.width, channel))

    def place(self, axis: str) -> tuple[Operand, int]:
        """The dimension of the operand for batch ``B``, position ``T`` or channel ``E``.

        Flat operands have no dimension for the channels of a head; theirs is that of all heads.
        """
        dims = {"B": 0, "T": 1, "E": 2} if self.flat else {"B": 0, "T": 2, "E": 3}
        return self.operand, dims[axis]


def heads(operand: Operand, count: int | None, what: str) -> Heads:
    """An operand of 3 dimensions with ``count`` heads, or of 4."""
    shape = operand.shape
    if len(shape) == 4:
        return Heads(operand, shape[1], shape[2], shape[3])
    if len(shape) != 3 or not count or count < 1 or shape[2] % count:
        raise UnsupportedError(f"{what} has shape {list(shape)} for {count} heads", "repair it")
    return Heads(operand, count, shape[1], shape[2] // count)


@dataclass(frozen=True)
class Space:
    """The variables of one attention.

    Attributes:
        b: batch; k: key head; g: query head of its group, "" when each key head has one query
            head; q: query; t: key; e: channel of keys; f: channel of values.
        group: query heads of a key head.
    """

    b: str
    k: str
    g: str
    q: str
    t: str
    e: str
    f: str
    group: int

    @property
    def head(self) -> Affine:
        """The query head."""
        return Affine.of((self.k, self.group), self.g) if self.g else Affine.of(self.k)

    @property
    def rows(self) -> list[str]:
        """What each query has of its own: batch, heads, query."""
        return [self.b, self.k, *([self.g] if self.g else []), self.q]


def space(low: Lowering, q: Heads, k: Heads, v: Heads) -> Space:
    """Rank variables for operands that fit each other."""
    if q.operand.shape[0] != k.operand.shape[0] or k.operand.shape[0] != v.operand.shape[0]:
        raise UnsupportedError("its batches differ", "repair the model")
    if k.count < 1 or q.count % k.count or v.count != k.count:
        raise UnsupportedError(
            f"{q.count} query heads share {k.count} key and {v.count} value heads",
            "use a multiple of the key heads",
        )
    if q.width != k.width or k.length != v.length:
        raise UnsupportedError(
            f"queries have {q.width} channels and keys {k.width}, for {k.length} keys and "
            f"{v.length} values",
            "repair the model",
        )
    own = Variables(low)
    group = q.count // k.count
    return Space(
        b=own.take("B", q.operand.shape[0], q.place("B"), k.place("B")),
        k=own.take("H", k.count, *([] if k.flat else [(k.operand, 1)])),
        g=low.rank("G", group) if group > 1 else "",
        q=own.take("P", q.length, q.place("T")),
        t=own.take("M", k.length, k.place("T"), v.place("T")),
        e=own.take("E", q.width, q.place("E"), k.place("E")),
        f=own.take("F", v.width, v.place("E")),
        group=group,
    )


def by_head(operand: Operand, s: Space) -> Value:
    """A tensor over [b, k, g, ..] as a value over [batch, query head, ..], a view."""
    value = operand.value
    if not s.g:
        return value
    dims: Dims = (value.dims[0], (*value.dims[1], *value.dims[2]), *value.dims[3:])
    return replace(value, dims=dims)


def by_position(operand: Operand, s: Space) -> Value:
    """A tensor over [b, k, g, q, f] as a value over [batch, query, head * channel], a view."""
    value = operand.value
    own = [value.placeholders(k)[0] for k in range(len(value.dims))]
    middle = list(range(1, len(own) - 2))
    order = [0, len(own) - 2, *middle, len(own) - 1]
    mapping = {own[old]: Affine.of(f"${new}") for new, old in enumerate(order)}
    last = tuple(size for old in order[2:] for size in value.dims[old])
    return renamed(value, (value.dims[0], value.dims[order[1]], last), mapping)
