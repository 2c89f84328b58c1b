"""Instruction words of the machine: one field table, printed as a package and used to pack.

An instruction is a header, a fixed block of fields for its engine, and (vector only) a payload of
micro-operations and an optional 256-entry table, padded to whole DRAM beats. Fields lie in the
order of the tables below, first field in the least significant bits. Every number of the machine
that depends on the architecture is a parameter; only these formats are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from dataflow.evaluate.functions import Function
from dataflow.machine.machine import Machine

VERSION = 3
LEVELS = 6  # tile loops that each engine walks in hardware
RAGGED = 2  # [size of a full tile, size of the last tile]
MOST_COUNT = (1 << 16) - 1  # trips of a loop; points or column blocks of a tile along a dim


class Unit(IntEnum):
    """Engine that executes an instruction; values of the header's `unit` field."""

    LOAD = 0
    ARRAY = 1
    VECTOR = 2
    STORE = 3
    END = 15


class Event(IntEnum):
    """Monotonic 24-bit event counters, each incremented by one engine, read by all."""

    NONE = 0  # always reached
    LOAD_I = 1  # first-source tiles loaded
    LOAD_R = 2  # second-source tiles loaded
    ARRAY_I = 3  # first-source tiles released by the array
    ARRAY_R = 4  # second-source (stationary activation) tiles released by the array
    ARRAY_ACC = 5  # accumulator blocks complete
    VECTOR_ACC = 6  # accumulator blocks released by the vector unit
    VECTOR_I = 7  # first-source tiles released by the vector unit
    VECTOR_R = 8  # second-source tiles released by the vector unit
    VECTOR_OUT = 9  # output tiles written to the activation memory
    STORE_FREE = 10  # output tiles read out by the store engine
    LOAD_DONE = 11  # instructions retired, per engine
    ARRAY_DONE = 12
    VECTOR_DONE = 13
    STORE_DONE = 14


# What a tile may wait for: whoever fills it, or whoever frees the place that it is put in.
FILLED = (Event.LOAD_I, Event.LOAD_R, Event.VECTOR_OUT)
FREED_FIRST = (Event.ARRAY_I, Event.VECTOR_I, Event.STORE_FREE)
FREED_SECOND = (Event.ARRAY_R, Event.VECTOR_R, Event.STORE_FREE)
FREED_OUTPUT = (Event.STORE_FREE,)


class Counter(IntEnum):
    """Performance counters, 32 bits each, readable at 0x40 + 4 * index; cleared by ap_start."""

    CYCLES = 0
    ARRAY_STEPS = 1  # cycles in which the array is fed
    ARRAY_WAIT_TILE = 2  # cycles of the feed without a step, by cause
    ARRAY_WAIT_ACC = 3
    ARRAY_WAIT_WEIGHTS = 4  # not there yet, or being loaded
    MACS_LOW = 5
    MACS_HIGH = 6
    LOAD_BYTES = 7
    LOAD_BEATS = 8
    LOAD_WAIT_RING = 9
    LOAD_WAIT_EVENT = 10
    LOAD_WAIT_BUS = 11
    LOAD_WAIT_DATA = 12
    LOAD_WAIT_ACT = 13
    VECTOR_BUSY = 14
    VECTOR_OPS = 15
    VECTOR_WAIT_SOURCE = 16
    VECTOR_WAIT_SINK = 17
    VECTOR_WAIT_PARAMS = 18
    VECTOR_WAIT_ACT = 19
    VECTOR_WAIT_RESULT = 20
    STORE_BYTES = 21
    STORE_BEATS = 22
    STORE_WAIT_EVENT = 23
    STORE_WAIT_BUS = 24
    STORE_WAIT_ACT = 25
    STORE_WAIT_WRITE = 26
    ERRORS = 27  # why the job ended, as the register `error` (hw/registers.json)
    ACT_READS = 28  # accesses of the on-chip memories: a line or a part of one; an unaligned one
    ACT_WRITES = 29  # of the activation memory counts once
    WBUF_READS = 30
    WBUF_WRITES = 31
    ACC_READS = 32
    ACC_WRITES = 33
    PARAM_READS = 34
    PARAM_WRITES = 35  # whole lines


class Op(IntEnum):
    """Vector micro-operations on (a, b, c)."""

    FMA = 0  # a * b + c, binary32, one rounding
    IADD = 1  # a + b, int32
    IMAX = 2
    IMIN = 3
    FMAX = 4  # binary32 maximum of a, b
    FMIN = 5
    LOOKUP = 6  # table[a & 255]
    MOVE = 7  # a


class Operand(IntEnum):
    """Operand selectors of a micro-operation."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    S0 = 4  # first source stream
    S1 = 5  # second source stream
    P0 = 6  # per-channel parameter lines of the current channel block
    P1 = 7
    K0 = 8  # K0..K7 scalar constants of the instruction
    ZERO = 16
    ONE = 17  # 1.0f
    MINUS_ZERO = 18  # -0.0f


@dataclass(frozen=True)
class Field:
    """A field: `count` elements of `bits` each, element 0 lowest.

    Attributes:
        least, most: smallest (0: any) and largest legal value; `most` may name a number of the
            machine (`LIMITS`). The machine refuses an instruction beyond them (`violations`).
        level: a level of the loop nest, or 7 for none.
        given: a flag beside it; where that is 1, this is not 0.
        strides: of the tile loops by level. An instruction holds for each level what its step adds
            (`machine.steps`).
    """

    name: str
    bits: int
    count: int = 1
    signed: bool = False
    least: int = 0
    most: int | str | None = None
    level: bool = False
    given: str = ""
    strides: bool = False

    def limit(self, machine: Machine) -> int | None:
        """The largest legal value on a machine, or None."""
        return LIMITS[self.most](machine) if isinstance(self.most, str) else self.most


@dataclass(frozen=True)
class Struct:
    """A named, ordered group of fields; a nested struct is a field whose type is another Struct.

    Attributes:
        waits: the events that a wait may name, by its path; ``Event.NONE`` besides. What an engine
            cannot wait for is no choice in its hardware.
    """

    name: str
    members: tuple[Field | tuple[str, Struct], ...]
    waits: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """Width of the packed group, bits."""
        return sum(m.bits * m.count if isinstance(m, Field) else m[1].bits for m in self.members)


def _f(
    name: str,
    bits: int,
    count: int = 1,
    signed: bool = False,
    *,
    least: int = 0,
    most: int | str | None = None,
    given: str = "",
) -> Field:
    return Field(name, bits, count, signed, least, most, given=given)


def _level(name: str) -> Field:
    return Field(name, 3, level=True)


def _strides(name: str, bits: int, *, signed: bool = False) -> Field:
    return Field(name, bits, LEVELS, signed, strides=True)


HEADER = Struct(
    "header_t",
    (
        _f("version", 8),
        _f("unit", 4),
        _f("flags", 4, most=0),  # reserved
        _f("beats", 16),  # length of the whole instruction in beats, header and payload included
        _f("layer", 16),  # END: lower half of the checksum
        _f("reserved", 16, most=0),  # END: upper half
    ),
)

WAIT = Struct(  # reached when counter[event] >= min(cap, base + (t * step) >> 8), t = fires so far
    "wait_t",
    (_f("event", 4), _f("base", 24, 1, True), _f("step", 24), _f("cap", 24)),
)

RETIRED = Struct(  # instructions that each engine must have retired
    "retired_t", (_f("load", 16), _f("array", 16), _f("vector", 16), _f("store", 16))
)

TILE = Struct(  # a tile in the activation memory, byte addresses
    "tile_t",
    (
        _f("enable", 1),
        _f(
            "depth", 3, most=LEVELS
        ),  # fires when all levels >= depth stand at their first iteration
        _f("base", 24),
        _strides("strides", 24),  # by the index of a level, modulo 2^24
        _f("slots", 4),  # 0: no slots; else slot = t mod slots
        _f("slot_bytes", 24),
        ("ready", WAIT),
    ),
)

RING = Struct(  # sequential stream into a ring buffer
    "ring_t",
    (
        _f("enable", 1),
        _f("depth", 3, most=LEVELS),
        _f("base", 32),  # DRAM byte offset, line aligned
        _strides("strides", 32),
        _f(
            "lines", 20, 4
        ),  # lines of a block: [n full k full, n last k full, n full k last, both last]
    ),
)

BLOCK = Struct(  # what the load engine needs for a tile of a tensor in DRAM
    "block_t",
    (
        ("tile", TILE),
        ("retired", RETIRED),
        _f("dram", 32),
        _strides("dram_strides", 32),
        _f("y", 32, 1, True),  # row coordinate of the tile's first row
        _strides("y_strides", 32, signed=True),
        _f("x", 32, 1, True),  # column coordinate of its first column
        _strides("x_strides", 32, signed=True),
        _f("z", 32, 1, True),  # byte coordinate inside a segment
        _strides("z_strides", 32, signed=True),
        _f("y_size", 32),  # rows of the tensor: rows outside [0, y_size) are not loaded
        _f("x_size", 32),  # columns likewise
        _f("z_size", 32),  # bytes likewise
        _f("y_count", 16, RAGGED),
        _f("x_count", 16, RAGGED),
        _f("z_count", 32, RAGGED),  # bytes of a segment
        _level("y_level"),
        _level("x_level"),
        _level("z_level"),
        _f("y_dram", 32),  # DRAM bytes from row to row
        _f("x_dram", 32),
        _f("y_local", 24),  # activation-memory bytes from row to row
        _f("x_local", 24),
    ),
)

LOAD = Struct(
    "load_t",
    (
        ("header", HEADER),
        _f("trips", 16, LEVELS, least=1),
        _level("n_level"),  # 7: none
        _level("k_level"),
        ("weights", RING),
        ("params", RING),
        ("source", BLOCK),
        ("second", BLOCK),
    ),
    waits={"source.tile.ready": FREED_FIRST, "second.tile.ready": FREED_SECOND},
)

STEP = (
    Struct(  # what one step of a feed loop adds: address bytes, row coordinate, column coordinate
        "step_t",
        (_f("addr", 24), _f("y", 24, 1, True), _f("x", 24, 1, True)),
    )
)

ARRAY = Struct(
    "array_t",
    (
        ("header", HEADER),
        ("retired", RETIRED),
        _f("trips", 16, LEVELS, least=1),
        _level("p_level"),
        _level("q_level"),
        _level("n_level"),
        _level("k_level"),
        _f("p_count", 16, RAGGED, least=1),  # outer feed loop, output points of a tile
        _f("q_count", 16, RAGGED, least=1),  # inner feed loop
        _f("blocks", 16, RAGGED, least=1),  # column blocks of a tile
        _f("columns", 8, least=1, most="Cols"),  # columns of a block
        _f("columns_last", 8, RAGGED, least=1, most="Cols"),  # columns of a tile's last block
        _f(
            "mac_columns", 8, most="Cols"
        ),  # 0: columns; else MACs per row and point (block-diagonal groups)
        _f("taps_a", 16, least=1),  # outer kernel loop (the ports' axis)
        _f("taps_b", 16, least=1),  # inner kernel loop (the axis of FIR taps)
        _f("segment", 24, RAGGED, least=1),  # contiguous reduction bytes of a tap, by k
        _f("ports", 2, least=1, most="FeedPorts"),  # 1..3 taps fed at once
        _f("fir", 1),  # depthwise: taps on rows, channels on columns
        _f("fir_taps", 8, most="Rows", given="fir"),  # taps_b taken in one pass
        _f("fir_stride", 8, given="fir"),  # feed steps per output point
        ("tile", TILE),
        _f("y", 24, 1, True),
        _strides("y_strides", 24, signed=True),
        _f("x", 32, 1, True),  # byte coordinate in the row
        _strides("x_strides", 32, signed=True),
        _f("y_size", 24),
        _f("x_size", 32),  # valid bytes of a row
        ("p_step", STEP),
        ("q_step", STEP),
        ("a_step", STEP),
        ("b_step", STEP),  # FIR: fir_taps feed steps, from pass to pass
        _f("block_step", 24),  # feed bytes from column block to column block
        _f("x_zero", 10, 1, True),
        _f("x_signed", 1),
        _f("w_zero", 10, 1, True),
        _f("w_signed", 1),
        _f("w_zero_lines", 1),  # a line of zero points stands before the lines of each pass
        _f("w_source", 2, most=2),  # 0 ring, 1 activation rows, 2 activation columns (transposed)
        _f("w_depth", 3, most=LEVELS),  # scope over which a block of the weight ring is held
        _f("w_irrelevant", LEVELS),  # levels over which the same weights are read again
        ("second", TILE),  # stationary activations
        _f("second_k", 24),  # bytes from row to row of the reduction
        _f("second_n", 24),  # bytes from column to column
        _f("second_block", 24),  # bytes from column block to column block: columns * second_n
        _f("acc_base", 24),  # accumulator blocks of all earlier instructions
    ),
    waits={"tile.ready": FILLED, "second.ready": FILLED},
)

SOURCE = Struct(
    "source_t",
    (
        ("tile", TILE),
        ("p_step", STEP),
        ("q_step", STEP),
        _f("block_step", 24),
        _f("zero", 10, 1, True),
        _f("signed", 1),
        _f("mode", 2, most=2),  # 0 bytes, 1 one byte to all lanes, 2 one 32-bit word to all lanes
    ),
)

VECTOR = Struct(
    "vector_t",
    (
        ("header", HEADER),
        ("retired", RETIRED),
        _f("trips", 16, LEVELS, least=1),
        _level("p_level"),
        _level("q_level"),
        _level("n_level"),
        _f("p_count", 16, RAGGED, least=1),
        _f("q_count", 16, RAGGED, least=1),
        _f("blocks", 16, RAGGED, least=1),
        _f("lanes", 8, least=1, most="Cols"),  # lanes of a block
        _f("lanes_last", 8, RAGGED, least=1, most="Cols"),
        _f("from_acc", 1),  # S0 is the accumulators
        _f("bias", 1),  # S0 from the accumulators has P0 added
        _f("acc_base", 24),
        ("first", SOURCE),  # S0 when not from the accumulators
        _f("y", 24, 1, True),
        _strides("y_strides", 24, signed=True),
        _f("x", 24, 1, True),  # in points
        _strides("x_strides", 24, signed=True),
        _f("y_size", 24),
        _f("x_size", 24),
        _f("pad_value", 32, 1, True),  # value of S0 outside the tensor, after the zero point
        _f("window_r", 16, least=1),  # body repetitions = window_r * window_s
        _f("window_s", 16, least=1),
        ("r_step", STEP),
        ("s_step", STEP),
        ("second", SOURCE),
        _f("second_use", 24),  # S1 bytes from use to use in a strip; repetitions of the body alike
        _f("params", 2, most=2),  # parameter lines per column block, 0..2
        _f("params_depth", 3, most=LEVELS),
        _f("params_irrelevant", LEVELS),
        ("sink", TILE),
        _f("sink_p", 24),
        _f("sink_q", 24),
        _f("sink_block", 24),
        _f("limit_enable", 1),
        _f("limit_step", 16),  # bytes per inner point, compared with `limit`
        _f("limit", 24, RAGGED),  # bytes of a row that exist, by q
        _f("ops_init", 6),
        _f("ops_body", 6),
        _f("ops_final", 6),
        _f("table", 1),  # a 256-byte table follows the micro-operations
        _f("constants", 32, 8),
    ),
    waits={"first.tile.ready": FILLED, "second.tile.ready": FILLED, "sink.ready": FREED_OUTPUT},
)

STORE = Struct(
    "store_t",
    (
        ("header", HEADER),
        ("retired", RETIRED),
        _f("trips", 16, LEVELS, least=1),
        ("tile", TILE),
        _f("dram", 32),
        _strides("dram_strides", 32),
        _f("y_count", 16, RAGGED),
        _f("x_count", 16, RAGGED),
        _f("z_count", 32, RAGGED),
        _level("y_level"),
        _level("x_level"),
        _level("z_level"),
        _f("y_dram", 32),
        _f("x_dram", 32),
        _f("y_local", 24),
        _f("x_local", 24),
    ),
    waits={"tile.ready": FILLED},
)

MICRO_OP = Struct(
    "micro_op_t",
    (
        _f("op", 4, most=max(Op)),
        _f("a", 5, most=max(Operand)),
        _f("b", 5, most=max(Operand)),
        _f("c", 5, most=max(Operand)),
        _f("a_float", 1),  # convert the int32 operand to binary32
        _f("b_float", 1),  # both only when a and b are the same operand
        _f("a_negate", 1),  # flip the float sign
        _f("b_negate", 1),
        _f("c_negate", 1),
        _f("to_int", 1),  # result := clamp(rint(result) + zero, lo, hi)
        _f("zero", 10, 1, True),
        _f("lo", 10, 1, True),
        _f("hi", 10, 1, True),
        _f("dst", 2),
        _f("write", 1),  # write register dst
        _f("sink", 1),  # result byte goes to the sink (in the body: only in the last repetition)
        _f("first_b", 1),  # in the body's first repetition the result is operand b
        _f("depends", 1),  # reads a register written since the last such mark
        _f(
            "function", 3, most="Functions"
        ),  # FMA only, not first_b: f(a * b + c); EXP2: f(a * b) with c's low ten bits as its scale
    ),
)

STRUCTS = (
    HEADER,
    WAIT,
    RETIRED,
    TILE,
    RING,
    BLOCK,
    LOAD,
    STEP,
    ARRAY,
    SOURCE,
    VECTOR,
    STORE,
    MICRO_OP,
)

LIMITS: Mapping[str, Callable[[Machine], int]] = {
    "Rows": lambda machine: machine.rows,
    "Cols": lambda machine: machine.cols,
    "FeedPorts": lambda machine: machine.feed_ports,
    "Functions": lambda machine: max(Function) if machine.functions else 0,
}
"""Numbers of the machine that bound a field, by their names in the package."""

Value = int | Sequence[int] | Mapping[str, "Value"]


def violations(
    struct: Struct, values: Mapping[str, Any], machine: Machine, where: str = ""
) -> Iterator[str]:
    """Paths of the fields of decoded `values` that the machine refuses."""
    for member in struct.members:
        if not isinstance(member, Field):
            name, inner = member
            yield from violations(inner, values[name], machine, f"{where}{name}.")
            continue
        value = values[member.name]
        most = member.limit(machine)
        asked = bool(member.given and values[member.given])
        for one in [value] if isinstance(value, int) else value:
            wrong = (member.least > 0 and one < member.least) or (most is not None and one > most)
            if wrong or (member.level and one == LEVELS) or (asked and one == 0):
                yield f"{where}{member.name}"
                break
    for path, events in struct.waits.items():
        wait = values
        for name in path.split("."):
            wait = wait[name]
        if wait["event"] not in (Event.NONE, *events):
            yield f"{where}{path}.event"


def pack(struct: Struct, values: Mapping[str, Value], where: str = "") -> int:
    """Packs nested `values` (missing fields are 0) into an integer of `struct.bits` bits.

    Raises `ValueError` for an unknown field, a wrong element count or a value out of range: those
    are bugs of the program builder, not of its input.
    """
    names = {m.name if isinstance(m, Field) else m[0] for m in struct.members}
    unknown = set(values) - names
    if unknown:
        raise ValueError(f"{where}{struct.name}: no field {sorted(unknown)}")
    word, shift = 0, 0
    for member in struct.members:
        if isinstance(member, Field):
            word |= _pack_field(member, values.get(member.name), f"{where}{struct.name}.") << shift
            shift += member.bits * member.count
        else:
            name, inner = member
            nested = values.get(name, {})
            if not isinstance(nested, Mapping):
                raise ValueError(f"{where}{struct.name}.{name}: a mapping is needed")
            word |= pack(inner, nested, f"{where}{struct.name}.{name}.") << shift
            shift += inner.bits
    return word


def _pack_field(field: Field, value: Value | None, where: str) -> int:
    if value is None:
        return 0
    if isinstance(value, Mapping):
        raise ValueError(f"{where}{field.name}: not a group")
    items = [value] if isinstance(value, int) else [int(v) for v in value]
    if len(items) != field.count:
        raise ValueError(f"{where}{field.name}: {len(items)} values, not {field.count}")
    low = -(1 << (field.bits - 1)) if field.signed else 0
    high = (1 << (field.bits - (1 if field.signed else 0))) - 1
    word = 0
    for i, item in enumerate(items):
        if not low <= item <= high:
            raise ValueError(f"{where}{field.name}[{i}]: {item} is not in [{low}, {high}]")
        word |= (item & ((1 << field.bits) - 1)) << (i * field.bits)
    return word
