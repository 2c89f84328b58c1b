"""What LSTM, GRU and RNN share: operands, the loop of one direction, outputs.

What does not depend on the state, X * W + B, is computed for all steps before the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dataflow.frontend.context import UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.operators.ranks import Variables
from dataflow.frontend.value import Dims, Value
from dataflow.ir.affine import Affine
from dataflow.ir.dtype import DType
from dataflow.ir.expr import Access, Const, Expr, Index, call

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Per direction whether it runs backward in time."""


@dataclass(frozen=True)
class Recurrence:
    """The operands and sizes of one node.

    Attributes:
        gates: how many there are.
        batch_first: whether batch comes before time (layout 1).
        lengths: valid steps of each sample, or None when all are.
        backward: per direction.
    """

    low: Lowering
    x: Operand
    weights: Operand
    recurrent: Operand
    bias: Operand | None
    gates: int
    steps: int
    batch: int
    hidden: int
    batch_first: bool
    lengths: Operand | None
    backward: tuple[bool, ...]

    @property
    def dtype(self) -> DType:
        return self.x.dtype

    def number(self, value: float) -> Const:
        """A literal of the operands' type."""
        return literal(value, self.dtype)


@dataclass(frozen=True)
class Pass:
    """One direction at work: what a step reads and writes.

    Attributes:
        number: position among the directions.
        b, h, k: variables of batch, hidden unit, and hidden unit of the step before.
        step: variable of the loop.
        states: tensors over [step, b, h]: slice t is what step t finds.
    """

    cell: Recurrence
    number: int
    b: str
    h: str
    k: str
    step: str
    projected: Operand
    states: tuple[str, ...]

    @property
    def place(self) -> Place:
        """The time that the step reads."""
        cell = self.cell
        if not cell.backward[self.number]:
            return Affine.of(self.step)
        if cell.lengths is None:
            return Affine.of((self.step, -1), cell.steps - 1)
        # Only the valid steps are reversed; the others stay where they are.
        flipped = call("sub", length(cell, self.b), Index(Affine.of(self.step, 1)))
        return call("where", valid(cell, self.step, self.b), flipped, Index(Affine.of(self.step)))

    def input(self, gate: int) -> Expr:
        """X * W + B of a gate."""
        return self.projected.at(self.place, self.b, gate, self.h)

    def before(self, state: int, unit: str) -> Expr:
        """A state as the step finds it."""
        return self.cell.low.read(self.states[state]).at(self.step, self.b, unit)

    def product(self, suffix: str, state: Expr, gates: range) -> Operand:
        """``state[b, k] * R[gate, h, k] :: add(k)`` for a range of gates."""
        low, cell = self.cell.low, self.cell
        g = low.rank("G", len(gates))
        row = Affine.of((g, cell.hidden), self.h, gates.start * cell.hidden)
        product = call("mul", state, cell.recurrent.at(self.number, row, self.k))
        return low.let(suffix, [self.b, g, self.h], product, ("add", [self.k]), cell.dtype)

    def let(self, suffix: str, expr: Expr) -> Expr:
        """Stores an expression over batch and hidden unit."""
        low = self.cell.low
        return low.let(suffix, [self.b, self.h], expr, dtype=self.cell.dtype).at(self.b, self.h)

    def update(self, state: int, expr: Expr) -> None:
        """Writes the next value of a state; a sample without this step keeps the old one."""
        cell = self.cell
        if cell.lengths is not None:
            kept = self.before(state, self.h)
            expr = call("where", valid(cell, self.step, self.b), expr, kept)
        cell.low.write(self.states[state], [Affine.of(self.step, 1), self.b, self.h], expr)


def length(cell: Recurrence, b: str) -> Expr:
    """Number of steps of a sample, int64."""
    assert cell.lengths is not None
    return call("s64", cell.lengths.at(b))


def valid(cell: Recurrence, step: str, b: str) -> Expr:
    """Whether a sample has a step."""
    return call("less", Index(Affine.of(step)), length(cell, b))


def read(low: Lowering, gates: int, apart: int | None = None) -> Recurrence:
    """The common operands, checked.

    ``apart``: a gate whose recurrent bias is not added to that of the input.
    """
    node = low.node
    x, w, r = low.operand(0), low.operand(1), low.operand(2)
    backward = DIRECTIONS.get(str(node.get("direction", "forward")))
    if backward is None or len(x.shape) != 3 or len(w.shape) != 3 or len(r.shape) != 3:
        raise UnsupportedError(f"its input has shape {list(x.shape)}", "repair the model")
    first = bool(node.get("layout", 0))
    steps, batch = (x.shape[1], x.shape[0]) if first else x.shape[:2]
    hidden = r.shape[2]
    rows = (len(backward), gates * hidden)
    if w.shape != (*rows, x.shape[2]) or r.shape != (*rows, hidden) or not steps:
        raise UnsupportedError(
            f"its weights have shapes {list(w.shape)} and {list(r.shape)}", "repair the model"
        )
    if not x.dtype.is_float or {w.dtype, r.dtype} != {x.dtype}:
        raise UnsupportedError(f"its operands are {x.dtype} and {w.dtype}", "use one float type")
    lengths = low.optional(4)
    known = low.ctx.optional(node, 4)
    if known is not None and known.constant is not None and (known.constant == steps).all():
        lengths = None
    if lengths is not None and lengths.shape != (batch,):
        raise UnsupportedError(f"sequence_lens has shape {list(lengths.shape)}", "repair it")
    bias = _bias(low, len(backward), gates, hidden, x.dtype, apart)
    return Recurrence(low, x, w, r, bias, gates, steps, batch, hidden, first, lengths, backward)


def _bias(
    low: Lowering, count: int, gates: int, hidden: int, dtype: DType, apart: int | None
) -> Operand | None:
    """The biases of X * W and H * R added, over direction, gate and hidden unit."""
    bias = low.optional(3)
    if bias is None:
        return None
    if bias.shape != (count, 2 * gates * hidden) or bias.dtype != dtype:
        raise UnsupportedError(f"its bias has shape {list(bias.shape)}", "repair the model")
    known = low.ctx.value(low.node, 3)
    if known.constant is not None:
        data = known.real_constant().reshape(count, 2, gates, hidden)
        second = data[:, 1].copy()
        if apart is not None:
            second[:, apart] = 0
        return low.table(f"{low.node.name}_bias", np.asarray(data[:, 0] + second))
    d, h = low.rank("D", count), low.rank("H", hidden)
    name = low.tensor("bias", [d, low.rank("G", gates), h], dtype)
    for gate in range(gates):
        total = bias.at(d, Affine.of(h, gate * hidden))
        if gate != apart:
            total = call("add", total, bias.at(d, Affine.of(h, (gate + gates) * hidden)))
        low.write(name, [d, gate, h], total)
    return low.read(name)


@contextmanager
def direction(cell: Recurrence, number: int, initial: Sequence[int]) -> Iterator[Pass]:
    """The loop of one direction; ``initial``: input positions of the initial states."""
    low, x = cell.low, cell.x
    own = Variables(low)
    time, batch = (1, 0) if cell.batch_first else (0, 1)
    t, b = own.take("T", cell.steps, (x, time)), own.take("B", cell.batch, (x, batch))
    i = own.take("I", x.shape[2], (x, 2))
    h, k, g = low.rank("H", cell.hidden), low.rank("K", cell.hidden), low.rank("G", cell.gates)
    row = Affine.of((g, cell.hidden), h)
    source = x.at(b, t, i) if cell.batch_first else x.at(t, b, i)
    tag = f"{number}" if len(cell.backward) > 1 else ""
    product = call("mul", source, cell.weights.at(number, row, i))
    projected = low.let(f"input{tag}", [t, b, g, h], product, ("add", [i]), cell.dtype)
    if cell.bias is not None:
        total = call("add", projected.at(t, b, g, h), cell.bias.at(number, g, h))
        projected = low.let(f"biased{tag}", [t, b, g, h], total, dtype=cell.dtype)
    states = []
    slices = low.rank("T", cell.steps + 1)
    for name, position in zip(("hidden", "cell"), initial, strict=False):
        state = low.tensor(f"{name}{tag}", [slices, b, h], cell.dtype)
        low.write(state, [0, b, h], _initial(cell, number, position, b, h))
        states.append(state)
    with low.loop("T", cell.steps) as step:
        yield Pass(cell, number, b, h, k, step, projected, tuple(states))


def _initial(cell: Recurrence, number: int, position: int, b: str, h: str) -> Expr:
    given = cell.low.optional(position)
    if given is None:
        return cell.number(0)
    sizes = (len(cell.backward), cell.batch)
    shape = (*(sizes[::-1] if cell.batch_first else sizes), cell.hidden)
    if given.shape != shape or given.dtype != cell.dtype:
        raise UnsupportedError(f"an initial state has shape {list(given.shape)}", "repair it")
    return given.at(b, number, h) if cell.batch_first else given.at(number, b, h)


def outputs(cell: Recurrence, passes: Sequence[Pass]) -> None:
    """Y, all steps; Y_h and Y_c, the last ones. Views of the states where there is one pass."""
    low, node = cell.low, cell.low.node
    wanted = [k < len(node.outputs) and bool(node.outputs[k]) for k in range(3)]
    if wanted[0]:
        low.view(_sequence(cell, passes))
    for k in range(len(passes[0].states)):
        if wanted[1 + k]:
            low.view(_last(cell, passes, k), 1 + k)


def _sequence(cell: Recurrence, passes: Sequence[Pass]) -> Value:
    """The hidden states by time, zero beyond the end of a sample."""
    if len(passes) == 1 and cell.lengths is None:
        only = passes[0]
        # Step t leaves slice t + 1; backward, time t is step T - 1 - t.
        time = Affine.of(("$t", -1), cell.steps) if cell.backward[0] else Affine.of("$t", 1)
        return _ordered(cell, only.states[0], time)
    low = cell.low
    t, d = low.rank("T", cell.steps), low.rank("D", len(passes))
    b, h = passes[0].b, passes[0].h
    order = [b, t, d, h] if cell.batch_first else [t, d, b, h]
    name = low.tensor("sequence", order, cell.dtype)
    for p in passes:
        state = low.read(p.states[0])
        place: Place = (
            Affine.of((t, -1), cell.steps) if cell.backward[p.number] else Affine.of(t, 1)
        )
        if cell.lengths is not None and cell.backward[p.number]:
            # Beyond the end the index only has to stay inside.
            place = call("sub", length(cell, p.b), Index(Affine.of(t)))
            place = call("max", place, Index(Affine.of(0)))
        expr = state.at(place, p.b, p.h)
        if cell.lengths is not None:
            expr = call("where", valid(cell, t, p.b), expr, cell.number(0))
        names = {d: Affine.of(p.number), b: Affine.of(p.b), h: Affine.of(p.h)}
        low.write(name, [names.get(v, Affine.of(v)) for v in order], expr)
    return low.read(name).value


def _ordered(cell: Recurrence, state: str, time: Affine) -> Value:
    """The state over [T, 1, B, H] or [B, T, 1, H]; ``$t`` in ``time`` is the time."""
    sizes = (cell.batch, cell.steps) if cell.batch_first else (cell.steps, cell.batch)
    t, b = ("$1", "$0") if cell.batch_first else ("$0", "$1")
    place = time.substitute({"$t": Affine.of(t)})
    dims: Dims = ((sizes[0],), (sizes[1],), (), (cell.hidden,))
    if not cell.batch_first:
        dims = ((sizes[0],), (), (sizes[1],), (cell.hidden,))
    return Value(dims, cell.dtype, Access(state, (place, Affine.of(b), Affine.of("$2"))))


def _last(cell: Recurrence, passes: Sequence[Pass], state: int) -> Value:
    """The states after the last step, over [D, B, H] or [B, D, H]."""
    low = cell.low
    if len(passes) == 1:
        indices = (Affine.of(cell.steps), Affine.of("$0"), Affine.of("$1"))
        dims: Dims = ((), (cell.batch,), (cell.hidden,))
        if cell.batch_first:
            dims = ((cell.batch,), (), (cell.hidden,))
        return Value(dims, cell.dtype, Access(passes[0].states[state], indices))
    b, h, d = passes[0].b, passes[0].h, low.rank("D", len(passes))
    name = low.tensor(f"last{state}", [b, d, h] if cell.batch_first else [d, b, h], cell.dtype)
    for p in passes:
        expr = low.read(p.states[state]).at(cell.steps, p.b, p.h)
        place = (p.b, p.number, p.h) if cell.batch_first else (p.number, p.b, p.h)
        low.write(name, place, expr)
    return low.read(name).value
