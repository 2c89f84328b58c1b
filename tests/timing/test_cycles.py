"""The cycle model against timelines derived by hand from the documented timing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.machine import Machine, isa, machine_of
from dataflow.machine.decode import fixed_beats
from dataflow.machine.isa import LEVELS, Counter, Event, Op, Operand, Unit
from dataflow.timing import Outcome, simulate
from tests.rtl.dma_model import end, instruction

MACHINE = machine_of(load_architecture("edge16"))
LINE = MACHINE.line_bytes
LATENCY = MACHINE.dram_read_latency
NEVER = (1 << 24) - 1
STRUCTS = {
    Unit.LOAD: isa.LOAD,
    Unit.ARRAY: isa.ARRAY,
    Unit.VECTOR: isa.VECTOR,
    Unit.STORE: isa.STORE,
}
Fields = dict[str, Any]
Part = tuple[Unit, Fields] | tuple[Unit, Fields, bytes]
few = settings(max_examples=40, deadline=None, derandomize=True)


def run(parts: Iterable[Part], machine: Machine = MACHINE) -> Outcome:
    """A program of hand-made instructions, each its own layer."""
    code = b""
    for layer, (unit, fields, *payload) in enumerate(parts):
        code += instruction(
            STRUCTS[unit], unit, layer, fields, machine.line_bytes, b"".join(payload)
        )
    return simulate(code + end(machine.line_bytes), machine, "test")


def times(outcome: Outcome) -> dict[Unit, int]:
    """Cycle of the last retirement of each engine, counted from the start pulse (cycle 0).

    The machine's own counter, which the model reports, is one behind.
    """
    return {unit: at + 1 for unit, _, at in outcome.retired}


def offered(unit: Unit) -> int:
    """When the engine sees the program's first instruction, which is its own.

    Start in 0, request in 1, AR in 2, first beat in 2 + latency, dealt a cycle later, collected a
    cycle later, the last fixed beat seen from the next cycle on.
    """
    return 2 + LATENCY + (fixed_beats(unit, LINE) - 1) + 3


def once(**fields: Any) -> Fields:
    """Fields with one iteration of every loop and no ragged sizes."""
    return {"trips": [1] * LEVELS, **fields}


def tile(at: int = 0, **ready: Any) -> Fields:
    """A tile at an address that fires once and waits for `ready`."""
    return {"enable": 1, "depth": 0, "base": at, "ready": {"cap": NEVER, **ready}}


def load_fields(weight_lines: int, source_bytes: int, param_lines: int = 0) -> Fields:
    """Loads weights from DRAM 0, parameters from 0 and a tile of one segment from 4096."""
    ring = {"depth": 0, "base": 0}
    block: Fields = {
        "tile": tile(),
        "dram": 4096,
        "y_size": 1,
        "x_size": 1,
        "z_size": source_bytes,
        "y_count": [1, 1],
        "x_count": [1, 1],
        "z_count": [source_bytes] * 2,
        **{f"{axis}_level": 7 for axis in "yxz"},
    }
    return once(
        n_level=7,
        k_level=7,
        weights={**ring, "enable": int(weight_lines > 0), "lines": [weight_lines] * 4},
        params={**ring, "enable": int(param_lines > 0), "lines": [param_lines] * 4},
        source=block if source_bytes else {"tile": {"enable": 0}},
        second={"tile": {"enable": 0}},
    )


def array_fields(segment: int, points: int, **fields: Any) -> Fields:
    """One tap of `segment` bytes, `points` points, waiting for the loaded tile."""
    return once(
        **dict.fromkeys(("p_level", "q_level", "n_level", "k_level"), 7),
        **{
            "p_count": [1, 1],
            "q_count": [points, points],
            "blocks": [1, 1],
            "columns": MACHINE.cols,
            "columns_last": [MACHINE.cols] * 2,
            "taps_a": 1,
            "taps_b": 1,
            "segment": [segment, segment],
            "ports": 1,
            "tile": tile(event=Event.LOAD_I, base=1),
            "y_size": 1,
            "x_size": segment,
            **fields,
        },
    )


def micro_op(**fields: Any) -> bytes:
    """A packed micro-operation."""
    word = isa.pack(isa.MICRO_OP, {"op": Op.MOVE, "a": Operand.ZERO, **fields})
    return word.to_bytes(isa.MICRO_OP.bits // 8, "little")


def vector_fields(points: int, ops: int, **fields: Any) -> Fields:
    """One block of `points` points from the loaded tile, or from the accumulators."""
    step = {"addr": LINE, "y": 0, "x": 1}
    source = {"tile": {"enable": 0}, "q_step": step}
    return once(
        **{
            "p_level": 7,
            "q_level": 7,
            "n_level": 7,
            "p_count": [1, 1],
            "q_count": [points, points],
            "blocks": [1, 1],
            "lanes": MACHINE.cols,
            "lanes_last": [MACHINE.cols] * 2,
            "first": source,
            "y_size": 1,
            "x_size": points,
            "window_r": 1,
            "window_s": 1,
            "ops_final": ops,
            "sink": {"enable": 0},
            **fields,
        }
    )


def test_program_that_only_ends() -> None:
    # The END beat arrives in 2 + latency and is dealt a cycle later; fetch is done two cycles
    # behind it, which is seen a cycle later; then three quiet cycles, the last of which is counted
    # with the one in which done rises.
    dealt = 2 + LATENCY + 1
    assert run([]).cycles == (dealt + 2 + 1) + 3


def test_instruction_that_does_nothing_retires_after_pick() -> None:
    outcome = run([(Unit.LOAD, load_fields(0, 0))])
    # Taken when offered, Pick a cycle later passes the retirement on, which takes a cycle.
    assert times(outcome) == {Unit.LOAD: offered(Unit.LOAD) + 2}


def test_one_line_through_all_engines() -> None:
    outcome = run(
        [
            (Unit.LOAD, load_fields(weight_lines=1, source_bytes=LINE)),
            (Unit.ARRAY, array_fields(segment=1, points=1)),
            (
                Unit.VECTOR,
                vector_fields(1, 1, from_acc=1, sink=tile(64)),
                micro_op(a=Operand.S0, sink=1),
            ),
            (
                Unit.STORE,
                once(
                    tile=tile(64, event=Event.VECTOR_OUT, base=1),
                    dram=8192,
                    y_count=[1, 1],
                    x_count=[1, 1],
                    z_count=[LINE, LINE],
                    y_level=7,
                    x_level=7,
                    z_level=7,
                ),
            ),
        ]
    )
    taken = offered(Unit.LOAD)
    # Pick, Go, Run of the weights, then of the source: requested in taken + 6, AR a cycle later;
    # R is seen by the array two cycles behind it. The retirement takes the cycle in between.
    source_seen = taken + 7 + LATENCY + 2
    assert times(outcome)[Unit.LOAD] == source_seen
    # Tile, Port, Push; the loader takes the pass (+1), it is ready (+2), the feed starts, one step.
    step = source_seen + 2 + 1 + 2 + 1
    assert times(outcome)[Unit.ARRAY] == step + 1
    block_seen = step + MACHINE.rows + 5
    line = block_seen + 3
    written = line + MACHINE.vector_latency + 3
    assert times(outcome)[Unit.VECTOR] == written
    # Go reaches its wait, Run requests, four cycles to W, then the answer.
    answer = (written + 1) + 1 + 4 + MACHINE.dram_write_latency
    assert times(outcome)[Unit.STORE] == answer + 1
    assert outcome.cycles == (answer + 2) + 3
    assert outcome.counters[Counter.LOAD_BYTES] == 2 * LINE
    assert outcome.counters[Counter.STORE_BYTES] == LINE
    assert outcome.events[Event.STORE_FREE] == 1


def array_times(segment: int, points: int, ready: int) -> tuple[int, int]:
    """Start of the first pass and last step, by the recurrence of the documentation.

    `ready`: cycle in which the tile's wait is reached. All weights lie in the ring.
    """
    lines = [min(MACHINE.rows, segment - at) for at in range(0, segment, MACHINE.rows)]
    first = take = start = 0
    for number, n in enumerate(lines):
        pushed = ready + 2 + 2 * number  # Port and Push each
        if number == 0:
            take = pushed + 1
            first = start = take + 2
        else:
            take = max(pushed + 1, take + lines[number - 1], start + 4)
            start = max(start + points, take + 2)
        assert n
    return first, start + points


@few
@given(st.integers(1, 20 * MACHINE.rows), st.integers(1, 60))
def test_passes_follow_the_recurrence(segment: int, points: int) -> None:
    parts: list[Part] = [
        (Unit.LOAD, load_fields(segment, segment)),
        (Unit.ARRAY, array_fields(segment, points)),
        (Unit.VECTOR, vector_fields(1, 1, from_acc=1), micro_op(a=Operand.S0)),
    ]
    outcome = run(parts)
    loaded = times(outcome)[Unit.LOAD]  # LOAD_I is seen from the cycle of the retirement on
    _, last = array_times(segment, points, loaded)
    assert times(outcome)[Unit.ARRAY] == last + 1
    block_seen = last + MACHINE.rows + 5
    assert times(outcome)[Unit.VECTOR] == block_seen + 3 + MACHINE.vector_latency + 3
    passes = -(-segment // MACHINE.rows)
    assert outcome.counters[Counter.ARRAY_STEPS] == passes * points


@few
@given(st.integers(2, 9), st.integers(1, 12))
def test_short_passes_come_six_cycles_apart(taps: int, points: int) -> None:
    """Passes of a line each: shadow weights are free 4 cycles behind a start, ready 2 later."""
    parts: list[Part] = [
        (Unit.LOAD, load_fields(taps, LINE)),
        (Unit.ARRAY, array_fields(1, points, taps_a=taps)),
    ]
    outcome = run(parts)
    first, _ = array_times(1, points, times(outcome)[Unit.LOAD])
    last = first + (taps - 1) * max(6, points) + points
    assert times(outcome)[Unit.ARRAY] == last + 1


def vector_lines(points: int, depends: Sequence[bool]) -> int:
    """Cycles of a block by the formula of the vector control: lines and waits of every strip."""
    cycles = 0
    for at in range(0, points, MACHINE.vector_strip):
        n = min(MACHINE.vector_strip, points - at)
        waits = [max(0, MACHINE.vector_latency - n) if d else 0 for d in depends]
        cycles += len(depends) * n + sum(waits[1:])
    return cycles


@few
@given(st.integers(1, 70), st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 2))
def test_vector_lines_follow_the_formula(points: int, depends: list[bool], params: int) -> None:
    payload = b"".join(micro_op(depends=int(d)) for d in depends)
    fields = vector_fields(points, len(depends), params=params)
    fields["first"] = {"tile": tile(event=Event.LOAD_I, base=1), "q_step": {"addr": LINE}}
    parts: list[Part] = [(Unit.LOAD, load_fields(0, LINE, params)), (Unit.VECTOR, fields, payload)]
    outcome = run(parts)
    first = times(outcome)[Unit.LOAD] + 3
    last = first + params + vector_lines(points, depends) - 1
    assert times(outcome)[Unit.VECTOR] == last + MACHINE.vector_latency + 3
    assert outcome.counters[Counter.VECTOR_OPS] == params + len(depends) * points


@few
@given(st.integers(1, 9000))
def test_long_load_is_bound_by_the_bus(size: int) -> None:
    outcome = run([(Unit.LOAD, load_fields(0, size))])
    beats = -(-size // LINE)
    assert outcome.counters[Counter.LOAD_BEATS] == beats
    assert outcome.counters[Counter.LOAD_BYTES] == size
    # Requests come one a cycle and open bursts cover the latency: a beat a cycle from the first.
    first = offered(Unit.LOAD) + 4 + LATENCY
    assert times(outcome)[Unit.LOAD] == first + (beats - 1) + 2


def test_ring_that_is_never_freed_stops_the_load() -> None:
    lines = MACHINE.wbuf_lines + 1
    with pytest.raises(DataflowError) as caught:
        run([(Unit.LOAD, load_fields(lines, 0))])
    assert str(caught.value) == (
        "test: the program does not end: 0 of 1 instructions retired, taken: load 1 of 1, "
        "array 0 of 0, vector 0 of 0, store 0 of 0; this is a defect of the schedule: report it"
    )


def test_machine_beyond_the_model_is_refused() -> None:
    with pytest.raises(DataflowError, match="outstanding_reads is 4096"):
        run([], replace(MACHINE, outstanding_reads=4096))


def test_latency_of_the_dram_counts() -> None:
    slow = replace(MACHINE, dram_read_latency=LATENCY + 100)
    assert run([], slow).cycles == run([]).cycles + 100
