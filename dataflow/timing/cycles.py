"""Cycle model of a Program: when every layer is done, and what the counters will show.

The program is run on a model of the machine's timing (`dataflow.timing`), burst by burst,
pass by pass and line by line, without data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataflow.machine import Machine
from dataflow.machine.isa import Counter, Unit
from dataflow.machine.program import Program
from dataflow.timing import Outcome, simulate

BUSY = {
    Unit.ARRAY: Counter.ARRAY_STEPS,
    Unit.VECTOR: Counter.VECTOR_OPS,
    Unit.LOAD: Counter.LOAD_BEATS,
    Unit.STORE: Counter.STORE_BEATS,
}
"""The counter of each engine that counts the cycles in which it does its work."""


@dataclass(frozen=True)
class Engine:
    """Cycles of an engine.

    Attributes:
        busy: in which it feeds a step (array), issues a line (vector), moves a beat (load, store).
        stalls: in which it waits, by cause: the names of the performance counters.
    """

    busy: int
    stalls: Mapping[str, int]


@dataclass(frozen=True)
class Prediction:
    """What a run of the program will show, with a DRAM that never stalls.

    Attributes:
        cycles: from start to done.
        layers: cycles by layer index, from the last retirement of the layers before to its own;
            what follows the last one belongs to the last layer. They add up to `cycles`.
        dram_read_bytes, dram_write_bytes: tensor bytes; the program is not counted.
        engines: by unit name, in lower case.
        counters: all performance counters by lower-case name, but MACs and errors.
    """

    cycles: int
    layers: tuple[int, ...]
    dram_read_bytes: int
    dram_write_bytes: int
    engines: Mapping[str, Engine]
    counters: Mapping[str, int]


DATA = (Counter.MACS_LOW, Counter.MACS_HIGH, *range(Counter.ERRORS, len(Counter)))
"""Counters of what is computed or accessed, not of when (see `dataflow.program.accesses`)."""


def predict(program: Program, machine: Machine) -> Prediction:
    """Cycles of `program` on `machine`.

    Raises:
        DataflowError: the program does not come to an end, or the machine is beyond the model.
    """
    outcome = simulate(program.code, machine, program.name)
    counters = {c.name.lower(): n for c, n in outcome.counters.items() if c not in DATA}
    return Prediction(
        cycles=outcome.cycles,
        layers=_layers(outcome, len(program.layers)),
        dram_read_bytes=outcome.counters[Counter.LOAD_BYTES],
        dram_write_bytes=outcome.counters[Counter.STORE_BYTES],
        engines={unit.name.lower(): _engine(unit, counters) for unit in BUSY},
        counters=counters,
    )


def _engine(unit: Unit, counters: Mapping[str, int]) -> Engine:
    prefix = f"{unit.name.lower()}_wait_"
    stalls = {name: n for name, n in counters.items() if name.startswith(prefix)}
    return Engine(counters[BUSY[unit].name.lower()], stalls)


def _layers(outcome: Outcome, count: int) -> tuple[int, ...]:
    ends = [0] * count
    for _, layer, at in outcome.retired:
        ends[layer] = max(ends[layer], at)
    if count:
        ends[-1] = outcome.cycles
    cycles, before = [], 0
    for end in ends:
        cycles.append(max(end - before, 0))
        before = max(before, end)
    return tuple(cycles)
