"""Least capacity by other means than the packer's: CP-SAT, and every combination of offsets."""

from __future__ import annotations

from collections.abc import Sequence

from ortools.sat.python import cp_model

from dataflow.memory import Buffer


def least_capacity(buffers: Sequence[Buffer]) -> int:
    """The optimum of the plain problem (sizes and lives only), proved by CP-SAT."""
    model = cp_model.CpModel()
    most = sum(b.size for b in buffers)
    top = model.new_int_var(0, most, "top")
    lows = [model.new_int_var(0, most, b.name) for b in buffers]
    model.add_no_overlap_2d(
        [model.new_fixed_size_interval_var(b.start, b.end - b.start, b.name) for b in buffers],
        [
            model.new_fixed_size_interval_var(low, b.size, b.name)
            for b, low in zip(buffers, lows, strict=True)
        ],
    )
    for b, low in zip(buffers, lows, strict=True):
        model.add(low + b.size <= top)
    for at in {b.start for b in buffers}:
        model.add(top >= sum(b.size for b in buffers if b.start <= at < b.end))
    model.minimize(top)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return round(solver.objective_value)


def fits(buffers: Sequence[Buffer], capacity: int, bank: int) -> bool:
    """Whether any combination of offsets is legal, step by step and byte by byte."""
    places = [
        [b.fixed] if b.fixed is not None else range(0, capacity - b.size + 1, b.align)
        for b in buffers
    ]
    alive = [
        {t for t in range(b.start, b.end) if not any(low <= t < high for low, high in b.holes)}
        for b in buffers
    ]

    def legal(i: int, at: int, j: int, to: int) -> bool:
        if not alive[i] & alive[j]:
            return True
        one, other = buffers[i], buffers[j]
        if set(one.groups) & set(other.groups):
            banks = {byte // bank for byte in range(at, at + one.size)}
            if banks & {byte // bank for byte in range(to, to + other.size)}:
                return False
        if at <= to:
            return at + one.size + one.gap <= to
        return to + other.size + other.gap <= at

    def extended(chosen: list[int]) -> bool:
        i = len(chosen)
        return i == len(buffers) or any(
            extended([*chosen, at])
            for at in places[i]
            if at + buffers[i].size <= capacity
            and all(legal(i, at, j, to) for j, to in enumerate(chosen))
        )

    return extended([])
