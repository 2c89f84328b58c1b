"""Numbers for each channel behind an accumulator, where the machine has too few lines for them.

The scales of the codes, a batch normalisation, a factor and a bias are four float operations with
a number for each channel in each; the vector unit reads two such numbers. The chain is one
multiply-add but for its roundings. Both are monotone in the accumulator: they are compared at
every step of every channel, over all accumulators that can occur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from dataflow.evaluate.primitives import compute
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import S32
from dataflow.ir.expr import Access, Call, Expr, call, walk
from dataflow.rewrite.cone import Array, Cone, Editor, elementwise, is_codes
from dataflow.rewrite.monotone import monotone
from dataflow.rewrite.quantisers import literal_kernel, quantiser, rounding

LINES = 2
"""Numbers for each channel that the vector unit reads."""

CHANNELS = 4096
"""Most channels that are tried."""

TIE = 1e-3
"""How near to a tie, in codes, the code may differ by one."""

LARGEST = 1 << 30
"""Of the accumulators that are tried, and of an integer bias."""

SAMPLES = 33


def merge_parameters(cascade: Cascade) -> Cascade:
    """The cascade with chains of more than two numbers for each channel as one multiply-add.

    Inexact: changes the code by one where the real result lies within 1e-3 codes of a tie. Chains
    that are no multiply-add (a slope below zero, a polynomial) stay.
    """
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        _merge(editor, einsum)
    return editor.finished()


@dataclass(frozen=True, eq=False)
class Chain:
    """What follows an accumulator, at any accumulators of all channels.

    Attributes:
        most: magnitude of the largest accumulator.
        known: the numbers of each channel.
        real, zero: of ``clip(rint(real) + zero, ...)``.
    """

    cone: Cone
    most: int
    known: dict[Access, Array]
    real: Expr
    zero: int

    def at(self, expr: Expr, accumulators: Array) -> Array:
        """An expression, over [..., channels]."""
        (leaf,) = self.cone.leaves
        value = self.cone.value(expr, {**self.known, leaf: accumulators.astype(np.int32)})
        return np.broadcast_to(value, accumulators.shape)

    def codes(self, accumulators: Array) -> Array:
        """The codes, int64."""
        return self.at(self.cone.tip.expr, accumulators).astype(np.int64)


def _merge(editor: Editor, einsum: Einsum) -> None:
    cascade = editor.cascade
    if not is_codes(cascade.tensors[einsum.output.tensor]) or not elementwise(cascade, einsum):
        return
    parts = rounding(einsum.expr)
    if parts is None or literal_kernel(einsum):
        return
    cone = Cone(editor, einsum)
    if len(cone.leaves) != 1 or lines(cone) <= LINES or not monotone(cone):
        return
    most = largest(editor, cone.leaves[0])
    names = tuple(dict.fromkeys(v for a in cone.constants for v in a.variables))
    if most is None or prod(cascade.size(v) for v in names) > CHANNELS:
        return
    known = {a: cone.along(a, names) for a in cone.constants}
    if any(k.dtype.kind in "iu" and np.abs(k).max() >= LARGEST for k in known.values()):
        return
    found = _fitted(Chain(cone, most, known, *parts))
    if found is None:
        return
    scale, offset, low, high = found
    near = f"{einsum.output.tensor}_parameter"
    numbers = (editor.parameter(near, part, names) for part in (scale, offset))
    real = call("fma", call("f32", cone.leaves[0]), *numbers)
    editor.set_expr(einsum.name, quantiser(real, parts[1], low, high))


def lines(cone: Cone) -> int:
    """Numbers for each channel that the written form reads; a divisor takes two."""
    roots = [cone.tip.expr, *cone.parts.values()]
    calls = [part for root in roots for part in walk(root) if isinstance(part, Call)]
    divisors = {c.args[1] for c in calls if c.op == "div"} & set(cone.constants)
    return len(cone.constants) + len(divisors)


def largest(editor: Editor, leaf: Access) -> int | None:
    """Bound of the accumulators of a product of codes; None where the leaf is none."""
    cascade = editor.cascade
    fold = editor.writer(leaf.tensor)
    if fold is None or cascade.tensors[leaf.tensor].dtype != S32:
        return None
    reduction = fold.reduction
    if reduction is None or reduction.op != "add" or reduction.base:
        return None
    points = prod(cascade.size(v) for v in reduction.variables)
    return min(points * 255 * 255, LARGEST)


def _fitted(chain: Chain) -> tuple[Array, Array, int, int] | None:
    """(scale, offset, lowest, highest code), or None where that is another function."""
    count = max(k.size for k in chain.known.values())
    ends = np.array([[-chain.most], [chain.most]]) * np.ones((1, count), np.int64)
    outer = chain.codes(ends)
    low, high = int(outer.min()), int(outer.max())
    way = np.where(outer[1] >= outer[0], 1, -1)
    if low == high:
        return None
    steps = np.arange(low, high)[:, None]
    where = last_steps(lambda t: chain.codes(t * way), steps, chain.most, count)
    line = _line(chain, where[0] + 1, where[-1], way)
    if line is None:
        return None
    scale, offset = (part.astype(np.float32) for part in line)

    def made(t: Array) -> Array:
        numbers = compute("fma", [(t * way).astype(np.int32).astype(np.float32), scale, offset])
        return np.clip(compute("rint", [numbers]).astype(np.int64) + chain.zero, low, high)

    moved = last_steps(made, steps, chain.most, count)
    return (scale, offset, low, high) if _near(chain, where, moved, steps, way) else None


def last_steps(codes: Callable[[Array], Array], steps: Array, most: int, count: int) -> Array:
    """For each code and channel the last t at which the result is at most the code, by halving."""
    first = np.full((len(steps), count), -most - 1, dtype=np.int64)
    last = np.full((len(steps), count), most, dtype=np.int64)
    while (first < last).any():
        middle = (first + last + 1) // 2
        below = codes(middle) <= steps
        first = np.where(below, middle, first)
        last = np.where(below, last, middle - 1)
    return first


def _line(chain: Chain, first: Array, last: Array, way: Array) -> tuple[Array, Array] | None:
    """Least squares of what is rounded between the lowest and the highest code.

    A channel whose code never changes has no such stretch: any line between its ends will do.
    """
    flat = first >= last
    first, last = np.where(flat, -chain.most, first), np.where(flat, chain.most, last)
    share = np.linspace(0.0, 1.0, SAMPLES)[:, None]
    t = np.rint(first + share * (last - first))
    numbers = chain.at(chain.real, t * way).astype(np.float64)
    middle, mean = t.mean(axis=0), numbers.mean(axis=0)
    scale = ((t - middle) * (numbers - mean)).sum(axis=0) / ((t - middle) ** 2).sum(axis=0)
    offset = mean - scale * middle
    worst = np.abs(scale * t + offset - numbers)[:, ~flat].max(initial=0.0)
    return (scale * way, offset) if worst < TIE else None


def _near(chain: Chain, where: Array, moved: Array, steps: Array, way: Array) -> bool:
    """Whether the steps lie at the same accumulators, or at others near the same tie."""
    if (moved[1:] < where[:-1]).any() or (moved[:-1] > where[1:]).any():
        return False  # a code would change by more than one
    tie = steps + 0.5 - chain.zero
    for t in (where, where + 1, moved, moved + 1):
        between = (
            (where != moved) & (t > np.minimum(where, moved)) & (t <= np.maximum(where, moved))
        )
        numbers = chain.at(chain.real, t * way).astype(np.float64)
        if (np.abs(numbers - tie) >= TIE)[between].any():
            return False
    return True
