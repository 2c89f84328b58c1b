"""Runs a packed Program: four engines, any legal interleaving."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from dataflow.machine import Machine
from dataflow.machine.decode import Decoded, decode
from dataflow.machine.isa import Event, Unit
from dataflow.machine.program import Program
from tests.program.interpret.array import array
from tests.program.interpret.dma import load, store
from tests.program.interpret.state import POISON, InterpretError, State
from tests.program.interpret.vector import vector

Array = np.ndarray

UNITS = (Unit.LOAD, Unit.ARRAY, Unit.VECTOR, Unit.STORE)


@dataclass(frozen=True)
class Result:
    """What the machine left behind.

    Attributes:
        dram: the image behind the tensor base pointer.
        macs, read_bytes, write_bytes: the counters (the program's own bytes are not counted).
        events: event counters.
    """

    dram: Array
    macs: int
    read_bytes: int
    write_bytes: int
    events: Mapping[Event, int]


def interpret(
    program: Program, machine: Machine, tensors: Mapping[str, bytes], seed: int | None = None
) -> Result:
    """Executes ``program.code``.

    Args:
        program: only its code, image and tensor table are read.
        machine: sizes of the memories.
        tensors: bytes of the inputs, in their physical layout, by tensor name.
        seed: None runs each engine as far as it can in turn; a number picks engines at random,
            so that a missing wait shows as a wrong result.

    Raises:
        InterpretError: no engine can go on, or an access is illegal.
    """
    state = _initial(program, machine, tensors)
    queues = {
        u: [d for d in decode(program.code, program.line_bytes) if d.unit is u] for u in UNITS
    }
    engines = {u: _engine(state, queues[u]) for u in UNITS}
    chance = random.Random(seed)
    while engines:
        order = list(engines)
        if seed is not None:
            chance.shuffle(order)
        moved, before = False, state.progress()
        for unit in order:
            steps = 1 if seed is not None and chance.random() < 0.7 else 1 << 30
            while steps:
                answer = next(engines[unit], None)
                if answer is None:
                    del engines[unit]
                    moved = True
                    break
                if not answer:
                    break
                moved, steps = True, steps - 1
        # An engine may retire an instruction and wait in the next one within a single step.
        if not moved and state.progress() == before:
            waiting = ", ".join(
                f"{u.name} has retired {state.done[u]} of {len(queues[u])}" for u in engines
            )
            events = {e.name: n for e, n in sorted(state.events.items())}
            raise InterpretError(f"deadlock: {waiting}; events {events}")
    return Result(state.dram, state.macs, state.read_bytes, state.write_bytes, state.events)


def _initial(program: Program, machine: Machine, tensors: Mapping[str, bytes]) -> State:
    lb = machine.line_bytes
    dram = np.full(program.dram_bytes, POISON, dtype=np.uint8)
    image = np.frombuffer(program.image, dtype=np.uint8)
    dram[program.image_base : program.image_base + len(image)] = image
    for name, data in tensors.items():
        place = program.tensors[name]
        assert len(data) == place.bytes, f"{name}: {len(data)} bytes, not {place.bytes}"
        dram[place.dram : place.dram + place.bytes] = np.frombuffer(data, dtype=np.uint8)
    return State(
        machine,
        act=np.full(machine.act_lines * lb, POISON, dtype=np.uint8),
        dram=dram,
        weights=np.full((machine.wbuf_lines, lb), POISON, dtype=np.uint8),
        params=np.full((machine.param_lines, 4 * lb), POISON, dtype=np.uint8),
        acc=np.full((2, machine.acc_lines, machine.cols), -0x5A5A5A5B, dtype=np.int32),
    )


def _engine(state: State, queue: list[Decoded]) -> Iterator[bool]:
    for instruction in queue:
        f = instruction.fields
        if instruction.unit is Unit.LOAD:
            yield from load(state, f)
        elif instruction.unit is Unit.ARRAY:
            yield from array(state, f)
        elif instruction.unit is Unit.VECTOR:
            yield from vector(state, f, instruction.payload)
        else:
            yield from store(state, f)
