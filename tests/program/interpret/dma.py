"""Load and store engines of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dataflow.machine.decode import Fields
from dataflow.machine.isa import Event, Unit
from tests.program.interpret.state import (
    InterpretError,
    Position,
    Reference,
    State,
    walk,
)

Array = np.ndarray
DRAM_MASK = (1 << 32) - 1


def load(state: State, f: Fields) -> Iterator[bool]:
    """One load instruction; yields True after a step, False while it waits."""
    source, second = Reference(f["source"]["tile"]), Reference(f["second"]["tile"])
    for at in walk(f["trips"]):
        for name in ("weights", "params"):
            if f[name]["enable"] and at.fires(f[name]["depth"]):
                yield from _ring(state, f, name, at)
        for block, tile, event in (
            (f["source"], source, Event.LOAD_I),
            (f["second"], second, Event.LOAD_R),
        ):
            if not tile.fires(at):
                continue
            while not (
                state.all_retired(block["retired"]) and state.reached(tile.fields["ready"], tile.t)
            ):
                yield False
            tile.t += 1
            _fill(state, block, at, tile.place(at))
            state.events[event] += 1
            yield True
    state.done[Unit.LOAD] += 1
    state.events[Event.LOAD_DONE] += 1


def _ring(state: State, f: Fields, name: str, at: Position) -> Iterator[bool]:
    ring, memory = f[name], getattr(state, name)
    line = memory.shape[1]
    lines = ring["lines"][at.last(f["n_level"]) + 2 * at.last(f["k_level"])]
    base = (ring["base"] + at.offset(ring["strides"])) & DRAM_MASK
    if base % state.machine.line_bytes:
        raise InterpretError(f"{name} block at DRAM byte {base} is not line aligned")
    for i in range(lines):
        while state.written[name] - state.freed[name] >= len(memory):
            yield False
        data = state.dram[base + i * line : base + (i + 1) * line]
        memory[state.written[name] % len(memory)] = data
        state.written[name] += 1
    state.read_bytes += lines * line
    yield True


def _axis(block: Fields, name: str, at: Position) -> tuple[Array, Array]:
    """(indices inside the tile, those that lie inside the tensor)."""
    count = at.pick(block[f"{name}_count"], block[f"{name}_level"])
    i = np.arange(count)
    where = i + block[name] + at.offset(block[f"{name}_strides"])
    return i, (where >= 0) & (where < block[f"{name}_size"])


def _fill(state: State, block: Fields, at: Position, tile: int) -> None:
    axes = []
    for name, dram, local in (
        ("y", block["y_dram"], block["y_local"]),
        ("x", block["x_dram"], block["x_local"]),
        ("z", 1, 1),
    ):
        i, inside = _axis(block, name, at)
        axes.append((i[inside] * dram, i[inside] * local))
    far = block["dram"] + at.offset(block["dram_strides"])
    far_at = (far + _grid([a for a, _ in axes])) & DRAM_MASK
    near_at = (tile + _grid([b for _, b in axes])) & ((1 << 24) - 1)
    if far_at.size and (far_at.max() >= len(state.dram) or near_at.max() >= len(state.act)):
        raise InterpretError("a load reaches outside its memory")
    state.act[near_at] = state.dram[far_at]
    state.read_bytes += far_at.size


def _grid(axes: list[Array]) -> Array:
    return np.asarray(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])


def store(state: State, f: Fields) -> Iterator[bool]:
    """One store instruction."""
    tile = Reference(f["tile"])
    while not state.all_retired(f["retired"]):
        yield False
    for at in walk(f["trips"]):
        if not tile.fires(at):
            continue
        while not state.reached(tile.fields["ready"], tile.t):
            yield False
        tile.t += 1
        counts = [np.arange(at.pick(f[f"{n}_count"], f[f"{n}_level"])) for n in ("y", "x", "z")]
        far = f["dram"] + at.offset(f["dram_strides"])
        near_at = tile.place(at) + _grid(
            [counts[0] * f["y_local"], counts[1] * f["x_local"], counts[2]]
        )
        far_at = far + _grid([counts[0] * f["y_dram"], counts[1] * f["x_dram"], counts[2]])
        far_at &= DRAM_MASK
        if far_at.max() >= len(state.dram):
            raise InterpretError("a store reaches outside the DRAM image")
        state.dram[far_at] = state.read(near_at)
        state.write_bytes += far_at.size
        state.events[Event.STORE_FREE] += 1
        yield True
    state.done[Unit.STORE] += 1
    state.events[Event.STORE_DONE] += 1
