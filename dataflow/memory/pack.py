"""Offsets for buffers with fixed lifetimes: first fit in several orders, then CP-SAT.

The problem is rectangle packing with fixed positions in time (dynamic storage allocation). First
fit decides most networks; CP-SAT's two-dimensional no-overlap decides the rest, or proves that
nothing fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ortools.sat.python import cp_model

from dataflow.memory.plan import Buffer, Offsets, peak_bytes

DETERMINISTIC_TIME = 8.0
"""CP-SAT's own measure of work: the same on every computer."""


def pack(
    buffers: Sequence[Buffer], capacity: int, align: int = 1, effort: float = DETERMINISTIC_TIME
) -> Offsets | None:
    """Offsets (multiples of `align`, inside `capacity`), or None when none were found.

    Sizes are rounded up to `align`. The result depends on nothing but the arguments.
    """
    rounded = [
        Buffer(b.name, -(-b.size // align) * align, b.start, b.end)
        for b in sorted(buffers, key=lambda b: (b.start, b.end, b.name))
    ]
    if peak_bytes(rounded) > capacity:
        return None
    best: Offsets | None = None
    best_top = capacity + 1
    for key in _ORDERS:
        offsets = first_fit(sorted(rounded, key=key))
        top = max((offsets[b.name] + b.size for b in rounded), default=0)
        if top < best_top:
            best, best_top = offsets, top
    return best if best is not None else _solve(rounded, capacity, align, effort)


_Key = Callable[[Buffer], tuple[int, ...]]
_ORDERS: tuple[_Key, ...] = (
    lambda b: (-b.size * (b.end - b.start), -b.size, b.start),
    lambda b: (-b.size, b.start, b.end),
    lambda b: (-(b.end - b.start), -b.size, b.start),
    lambda b: (b.start, -b.size, b.end),
    lambda b: (-b.end, -b.size, b.start),
)


def first_fit(buffers: Sequence[Buffer]) -> dict[str, int]:
    """Each buffer at the lowest offset that is free over its life, in the order given."""
    placed: list[tuple[Buffer, int]] = []
    offsets: dict[str, int] = {}
    for buffer in buffers:
        low = 0
        taken = sorted((at, at + b.size) for b, at in placed if b.meets(buffer))
        for start, end in taken:
            if low + buffer.size <= start:
                break
            low = max(low, end)
        offsets[buffer.name] = low
        placed.append((buffer, low))
    return offsets


def _solve(
    buffers: Sequence[Buffer], capacity: int, align: int, effort: float
) -> dict[str, int] | None:
    model = cp_model.CpModel()
    units = capacity // align
    lows, times, spaces = [], [], []
    for i, buffer in enumerate(buffers):
        size = buffer.size // align
        low = model.new_int_var(0, units - size, f"low{i}")
        lows.append(low)
        spaces.append(model.new_fixed_size_interval_var(low, size, f"space{i}"))
        length = buffer.end - buffer.start
        times.append(model.new_fixed_size_interval_var(buffer.start, length, f"time{i}"))
    model.add_no_overlap_2d(times, spaces)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = effort
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return {b.name: solver.value(low) * align for b, low in zip(buffers, lows, strict=True)}
