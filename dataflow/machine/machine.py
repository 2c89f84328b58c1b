"""The Machine: the numbers that the RTL, the mapper's hardware rules and the cycle model read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction

from dataflow.machine.latencies import FUNCTION_LATENCY

OPERAND_BITS = 9
"""Width of an array operand: a difference of two 8-bit codes, signed."""


@dataclass(frozen=True)
class Energies:
    """Picojoules of one access or operation of each kind.

    A line is ``line_bytes`` for activations and weights, ``cols`` x 32 bit for accumulators and
    parameters; ``vector_op`` is one operation in one lane.
    """

    dram_byte: float
    act_line_read: float
    act_line_write: float
    wbuf_line_read: float
    wbuf_line_write: float
    acc_line_read: float
    acc_line_write: float
    param_line_read: float
    param_line_write: float
    program_beat_read: float
    program_beat_write: float
    mac: float
    vector_op: float

    def as_dict(self) -> dict[str, float]:
        """The same numbers by field name."""
        return asdict(self)


@dataclass(frozen=True)
class DramTiming:
    """The DRAM behind the port in cycles of the machine, rounded up (``dram_timing.sv``).

    Attributes:
        banks, row_bytes: row n of the memory is row n / banks of bank n mod banks.
        burst_bytes: what is moved at least, aligned to as much.
        cycles, bytes_moved: so many cycles for so many bytes.
        activate, precharge, write_recovery: before data of another row of a bank.
        to_read, to_write: without data when the direction changes.
        refresh, refresh_interval: no data for so long, so often; all rows are closed.
    """

    banks: int
    row_bytes: int
    burst_bytes: int
    cycles: int
    bytes_moved: int
    activate: int
    precharge: int
    write_recovery: int
    to_read: int
    to_write: int
    refresh: int
    refresh_interval: int


IDEAL_DRAM = DramTiming(0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1)
"""No banks: neither rows nor refresh, and bursts do not wait for each other."""


@dataclass(frozen=True)
class Machine:
    """What the RTL library is built with. Lines are addresses of one memory; see each field.

    Inside, a line moves in one cycle; the AXI port, which may be narrower, takes
    ``beats_per_line`` beats for it.

    Attributes:
        rows, cols: the array's dimensions; rows reduce, columns are output channels.
        line_bytes: bytes of a line of activations or weights; a power of two, at least
            max(rows, cols).
        port_bytes: data bytes of the AXI port; a power of two, at least 4, at most a line.
        act_banks: banks of the activation scratchpad, interleaved by line.
        act_lines: all its lines.
        wbuf_lines: lines of the weight ring.
        acc_lines: accumulator lines (cols x 32 bit) of each of the two halves.
        param_lines: lines (cols x 32 bit) of the parameter ring.
        instr_fifo_beats: lines of the program FIFO.
        max_burst_beats: longest burst at the port, at most 256 beats and 4 KiB, at least a line.
        outstanding_reads: bursts the DRAM accepts before the first is answered.
        dram_read_latency: cycles from an AR handshake to the first R beat.
        dram_write_latency: cycles from WLAST to B.
        dram_bytes: size of the address space.
        vector_strip: positions the vector unit handles for each micro-instruction.
        vector_latency: pipeline stages of a vector lane, source to sink.
        functions: function stages of the vector unit, each for two lanes or more; 0: none.
        feed_ports: row reads a cycle from the activation scratchpad into the array.
        clock_mhz: modelled clock.
        energies: energy of each kind of access.
        dram: rows, refresh and turnaround of the DRAM; None: it has none.
    """

    name: str
    rows: int
    cols: int
    line_bytes: int
    port_bytes: int
    act_banks: int
    act_lines: int
    wbuf_lines: int
    acc_lines: int
    param_lines: int
    instr_fifo_beats: int
    max_burst_beats: int
    outstanding_reads: int
    dram_read_latency: int
    dram_write_latency: int
    dram_bytes: int
    vector_strip: int
    vector_latency: int
    functions: int
    feed_ports: int
    clock_mhz: Fraction
    energies: Energies
    dram: DramTiming | None = None

    @property
    def mac_units(self) -> int:
        """Multipliers that a nominal MAC can use: the denominator of utilisation."""
        return self.rows * self.cols

    @property
    def function_lanes(self) -> int:
        """Lanes that a function stage serves, one a cycle: a line with a function takes so many
        cycles."""
        return -(-self.cols // self.functions) if self.functions else 2

    @property
    def function_extra(self) -> int:
        """Cycles that a vector line with a function comes later than one without: those of the
        stage and one for each lane that it serves (`vector_pkg.sv`)."""
        return FUNCTION_LATENCY + self.function_lanes

    @property
    def beats_per_line(self) -> int:
        """Beats of the AXI port that carry a line: its cycles on the bus."""
        return self.line_bytes // self.port_bytes

    @property
    def max_burst_lines(self) -> int:
        """Lines of the longest burst."""
        return self.max_burst_beats // self.beats_per_line

    @property
    def acc_line_bytes(self) -> int:
        """Bytes of an accumulator or parameter line: one int32 for each column."""
        return self.cols * 4

    @property
    def act_bytes(self) -> int:
        """Bytes of the activation scratchpad."""
        return self.act_lines * self.line_bytes

    @property
    def wbuf_bytes(self) -> int:
        """Bytes of the weight ring."""
        return self.wbuf_lines * self.line_bytes

    @property
    def acc_bytes(self) -> int:
        """Bytes of both accumulator halves."""
        return 2 * self.acc_lines * self.acc_line_bytes

    @property
    def param_bytes(self) -> int:
        """Bytes of the parameter ring."""
        return self.param_lines * self.acc_line_bytes

    @property
    def instr_fifo_bytes(self) -> int:
        """Bytes of the program FIFO."""
        return self.instr_fifo_beats * self.line_bytes

    @property
    def weight_register_bytes(self) -> int:
        """Bytes of the array's weight registers, active and shadow (9 bit each), rounded up."""
        return -(-self.rows * self.cols * 2 * OPERAND_BITS // 8)

    @property
    def on_chip_bytes(self) -> int:
        """All memories of the machine together."""
        return (
            self.act_bytes
            + self.wbuf_bytes
            + self.acc_bytes
            + self.param_bytes
            + self.instr_fifo_bytes
            + self.weight_register_bytes
        )
