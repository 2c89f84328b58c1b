"""Accesses of every memory, exactly, layer by layer: what the counters of the machine would show.

Counted from the instructions' fields (loops, ragged sizes, passes), not from the tilings that
they were made from. Lines are those of `Machine`; see `docs/design/machine.md` for the loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import prod

import numpy as np

from dataflow.layers.passes import Reduction, feed_steps, pass_kinds
from dataflow.layers.tiled import NO_LEVEL
from dataflow.machine import Machine
from dataflow.machine.isa import MICRO_OP, Field, Operand, Unit, Value
from dataflow.machine.program import Instruction, LayerCounts, Program
from dataflow.program.fields import feed_of


@dataclass(frozen=True)
class Accesses:
    """Accesses of one layer: lines of each on-chip memory, bytes of DRAM, operations.

    An unaligned access of the activation memory counts as one.

    Attributes:
        dram_bytes: tensor bytes read and written (the program is apart).
        macs: multiply-accumulates of the array, padding of block-diagonal groups included.
        vector_ops: operations of single lanes, used lanes only.
        cycles_busy_array: feed steps.
    """

    dram_bytes: int = 0
    act_reads: int = 0
    act_writes: int = 0
    wbuf_reads: int = 0
    wbuf_writes: int = 0
    param_reads: int = 0
    param_writes: int = 0
    acc_reads: int = 0
    acc_writes: int = 0
    macs: int = 0
    vector_ops: int = 0
    array_steps: int = 0

    def __add__(self, other: Accesses) -> Accesses:
        return Accesses(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Accesses)}
        )


def network_accesses(program: Program, machine: Machine) -> tuple[Accesses, ...]:
    """The Accesses of each layer of the program."""
    found = [_loads(counts, machine) for counts in program.layers]
    for instruction in program.instructions:
        if instruction.unit is Unit.ARRAY:
            found[instruction.layer] += _array(instruction, machine)
        elif instruction.unit is Unit.VECTOR:
            found[instruction.layer] += _vector(instruction)
    return tuple(found)


COLUMNS = 2
"""`w_source` of a transposed activation."""

MEMORIES = ("act", "wbuf", "acc", "param")
"""On-chip memories, by the names of their counters: `isa.Counter.ACT_READS` and so on."""


def memory_accesses(
    program: Program, machine: Machine, counters: Mapping[str, int]
) -> dict[str, int]:
    """Reads and writes of each on-chip memory, whole network, by counter name: what the counters of
    the machine will show.

    Args:
        counters: of the cycle model. How many lines a transfer touches depends on where each of its
            segments starts, which the model of the bus knows; `Accesses` counts full lines.
    """
    found = network_accesses(program, machine)
    stated = {
        f"{memory}_{kind}": sum(getattr(one, f"{memory}_{kind}") for one in found)
        for memory in MEMORIES
        for kind in ("reads", "writes")
    }
    rings = stated["wbuf_writes"] + 4 * stated["param_writes"]
    loads = sum(_loads(counts, machine).act_writes for counts in program.layers)
    stores = sum(_loads(counts, machine).act_reads for counts in program.layers)
    stated["act_writes"] += counters["load_beats"] - rings - loads
    stated["act_reads"] += counters["store_beats"] - stores
    return stated


def _loads(counts: LayerCounts, machine: Machine) -> Accesses:
    line = machine.line_bytes
    return Accesses(
        dram_bytes=counts.dram_read_bytes + counts.store_bytes,
        act_writes=-(-counts.source_bytes // line) - (-counts.second_bytes // line),
        act_reads=-(-counts.store_bytes // line),
        wbuf_writes=counts.weight_bytes // line,
        param_writes=counts.param_bytes // (4 * line),
        macs=counts.array_macs,
        array_steps=counts.array_steps,
    )


def _number(value: object) -> int:
    assert isinstance(value, int), f"{value!r} is a counted field"
    return value


def _numbers(value: object) -> Sequence[int]:
    assert isinstance(value, Sequence), f"{value!r} is a single field"
    return [int(v) for v in value]


def _corners(
    fields_: Mapping[str, Value], levels: Sequence[str]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(times, index of the full (0) or last (1) size of each count) over all tile iterations."""
    trips = _numbers(fields_["trips"])
    own = [_number(fields_[level]) for level in levels]
    used = sorted({at for at in own if at < NO_LEVEL})
    others = prod(n for at, n in enumerate(trips) if at not in used)
    for bits in range(1 << len(used)):
        last = {at: bits >> i & 1 for i, at in enumerate(used)}
        times = others * prod(1 if last[at] else trips[at] - 1 for at in used)
        if times:
            yield times, tuple(last.get(at, 0) for at in own)


def _array(instruction: Instruction, machine: Machine) -> Accesses:
    f = instruction.fields
    p, q = _numbers(f["p_count"]), _numbers(f["q_count"])
    blocks, segment = _numbers(f["blocks"]), _numbers(f["segment"])
    zero, source = _number(f["w_zero_lines"]), _number(f["w_source"])
    columns, columns_last = _number(f["columns"]), _numbers(f["columns_last"])
    total = Accesses()
    levels = ("p_level", "q_level", "n_level", "k_level")
    first_k = _first_share(f)
    feed, stride = feed_of(f)
    for times, (ip, iq, ib, ik) in _corners(f, levels):
        reduction = Reduction(_number(f["taps_a"]), _number(f["taps_b"]), segment[ik])
        for kind in pass_kinds(reduction, feed, machine.rows):
            steps = feed_steps(feed, kind.taps, stride, p[ip], q[iq])
            each = times * blocks[ib] * kind.times
            points = each * p[ip] * q[iq]
            if source == COLUMNS:
                # A line of the activations for each column, whatever rows the pass has.
                of_blocks = (blocks[ib] - 1) * columns + columns_last[ib]
                weights = times * kind.times * of_blocks
            else:
                weights = each * (kind.lines + zero)
            total += Accesses(
                act_reads=each * steps * kind.ports + (weights if source else 0),
                wbuf_reads=0 if source else weights,
                acc_reads=points,
                acc_writes=points,
            )
    # The first pass of the first k tile overwrites: it does not read.
    outputs = sum(
        times * blocks[ib] * p[ip] * q[iq] for times, (ip, iq, ib, _) in _corners(f, levels)
    )
    return total + Accesses(acc_reads=-(outputs // first_k))


def _first_share(f: Mapping[str, Value]) -> int:
    """Trips of k: one of so many iterations overwrites the accumulators."""
    level = _number(f["k_level"])
    return _numbers(f["trips"])[level] if level < NO_LEVEL else 1


def _vector(instruction: Instruction) -> Accesses:
    f = instruction.fields
    p, q = _numbers(f["p_count"]), _numbers(f["q_count"])
    blocks, lanes = _numbers(f["blocks"]), _number(f["lanes"])
    last_lanes = _numbers(f["lanes_last"])
    counts = [_number(f[name]) for name in ("ops_init", "ops_body", "ops_final")]
    repeats = (1, _number(f["window_r"]) * _number(f["window_s"]), 1)
    ops = list(_micro_ops(instruction.payload, sum(counts)))
    first = [0, 0, 0]  # uses of the first source, by part
    second = sinks = issued = at = 0
    for part, count, times in zip(range(3), counts, repeats, strict=True):
        for op in ops[at : at + count]:
            used = {op["a"], op["b"], op["c"]}
            issued += times
            first[part] += int(Operand.S0) in used
            second += times * (int(Operand.S1) in used)
            # In the body only the last repetition writes the sink.
            sinks += op["sink"] * (1 if part == 1 else times)
        at += count
    from_acc, params = _number(f["from_acc"]), _number(f["params"])
    total = Accesses()
    for times, (ip, iq, ib) in _corners(f, ("p_level", "q_level", "n_level")):
        points = times * p[ip] * q[iq]
        lines = points * blocks[ib]
        used_lanes = points * ((blocks[ib] - 1) * lanes + last_lanes[ib])
        uses = sum(n * t for n, t in zip(first, repeats, strict=True))
        total += Accesses(
            act_reads=lines * second,
            act_writes=lines * sinks,
            acc_reads=lines * uses if from_acc else 0,
            param_reads=times * blocks[ib] * params,
            vector_ops=used_lanes * issued,
        )
    if not from_acc and any(first):
        point, window = _inside(f, (1, 1)), _inside(f, (_number(f["window_r"]), repeats[1]))
        total += Accesses(act_reads=(first[0] + first[2]) * point + first[1] * window)
    return total


def _inside(f: Mapping[str, Value], window: tuple[int, int]) -> int:
    """Lines of the first source that lie inside the tensor, over all tiles, points and taps; the
    others are padding, which is not read.

    Args:
        window: taps r, and taps r times s.
    """
    taps = window[0], window[1] // window[0]
    trips, blocks = _numbers(f["trips"]), _numbers(f["blocks"])
    p, q = _numbers(f["p_count"]), _numbers(f["q_count"])
    strides = _numbers(f["y_strides"]), _numbers(f["x_strides"])
    start = _number(f["y"]), _number(f["x"])
    size = _number(f["y_size"]), _number(f["x_size"])
    first = f["first"]
    assert isinstance(first, Mapping)
    steps = [(first, "p_step"), (first, "q_step"), (f, "r_step"), (f, "s_step")]
    own = [_number(f[level]) for level in ("p_level", "q_level", "n_level")]
    moving = [
        at
        for at, n in enumerate(trips)
        if n > 1 and (at in own or strides[0][at] or strides[1][at])
    ]
    still = prod(n for at, n in enumerate(trips) if at not in moving)
    known: dict[tuple[int, int, int, int], int] = {}
    total = 0
    for index in product(*(range(trips[at]) for at in moving)):
        where = dict(zip(moving, index, strict=True))
        last = [int(at < NO_LEVEL and where.get(at, 0) == trips[at] - 1) for at in own]
        corner = [start[c] + sum(strides[c][at] * i for at, i in where.items()) for c in range(2)]
        counts = p[last[0]], q[last[1]]
        key = (corner[0], corner[1], *counts)
        if key not in known:
            known[key] = _points_inside(corner, size, (*counts, *taps), steps)
        total += blocks[last[2]] * known[key]
    return total * still


def _points_inside(
    corner: Sequence[int],
    size: Sequence[int],
    counts: Sequence[int],
    steps: Sequence[tuple[Mapping[str, Value], str]],
) -> int:
    """Of the points and taps from a corner on, those with both coordinates inside."""
    inside = np.ones((1, 1, 1, 1), bool)
    for axis, at, limit in zip("yx", corner, size, strict=True):
        value = np.full((1, 1, 1, 1), at, np.int64)
        for dimension, (count, (group, name)) in enumerate(zip(counts, steps, strict=True)):
            step = group[name]
            assert isinstance(step, Mapping)
            by = _number(step.get(axis, 0))
            if by:
                shape = [1, 1, 1, 1]
                shape[dimension] = count
                value = value + by * np.arange(count).reshape(shape)
        inside = inside & (value >= 0) & (value < limit)
    # An axis that no coordinate depends on was left at 1.
    repeats = prod(n for n, have in zip(counts, inside.shape, strict=True) if have != n)
    return int(inside.sum()) * repeats


def _micro_ops(payload: bytes, count: int) -> Iterator[dict[str, int]]:
    """Fields of the micro-operations of a payload."""
    size = MICRO_OP.bits // 8
    for i in range(count):
        word = int.from_bytes(payload[i * size : (i + 1) * size], "little")
        found: dict[str, int] = {}
        for member in MICRO_OP.members:
            assert isinstance(member, Field)
            found[member.name] = word & ((1 << member.bits) - 1)
            word >>= member.bits
        yield found
