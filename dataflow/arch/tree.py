"""An Architecture: a tree of memories, fan-outs and compute units.

Sizes, widths and counts are integers; energies, bandwidths and clocks are exact fractions of the
decimals in the file, so that the cost model never rounds (cost_model reference, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

from dataflow.arch.sets import NOTHING, TensorSet

ANY = "any"
"""An operator that stands for all others."""

ROLES = ("input", "weight", "output", "intermediate", "partial", "parameter", "program")
"""What a memory may hold. ``partial`` are unfinished sums, ``parameter`` biases and multipliers."""

TENSOR_ROLES = ("input", "weight", "output", "intermediate")
"""The roles that ``all`` stands for in a file."""


@dataclass(frozen=True)
class Port:
    """A port of a memory.

    ``count`` equal ports move at most ``bits_per_cycle`` each; a transfer shorter than ``min_bits``
    is charged as ``min_bits``. ``carries`` restricts the roles (empty: all that the memory holds).
    ``bits_per_cycle`` is None when unbounded. ``sides`` restricts the neighbour that it serves:
    ``low`` towards the units, ``high`` towards the root (empty: both).
    """

    name: str
    does: tuple[str, ...]
    bits_per_cycle: Fraction | None
    min_bits: int
    count: int
    carries: tuple[str, ...]
    sides: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccessEnergy:
    """Picojoules of one access of ``bits`` bits."""

    read_pj: Fraction
    write_pj: Fraction
    bits: int


@dataclass(frozen=True)
class Device:
    """A DRAM: ``banks`` with one open row each, neighbouring rows in different banks.

    Times in ns. ``bytes_per_us`` are moved at most, ``burst_bytes`` at least, aligned to as much.
    """

    bytes_per_us: Fraction
    burst_bytes: int
    banks: int
    row_bytes: int
    activate: Fraction
    precharge: Fraction
    write_recovery: Fraction
    write_to_read: Fraction
    read_to_write: Fraction
    refresh: Fraction
    refresh_interval: Fraction


@dataclass(frozen=True)
class Bus:
    """How the memory answers over AXI4: latencies in cycles, bursts in beats of the port width.

    The latencies are those of controller and interconnect, and of a column of an open row, where
    a ``device`` is given; without one the memory has no rows and no refresh.
    """

    max_burst_beats: int
    outstanding_reads: int
    read_latency_cycles: int
    write_latency_cycles: int
    device: Device | None = None


@dataclass(frozen=True)
class Memory:
    """A level that stores tensors.

    ``size_bits`` (None: unbounded) is that of one instance, all ``copies`` together; ``copies`` are
    equal parts used in turn (double buffering in hardware). ``line_bits`` is the width of one
    address. ``leakage_mw`` is that of all instances. A tensor must be held when its role is in
    ``must_hold`` or ``keep`` matches it, and may be when its role is in ``may_hold`` and ``bypass``
    does not match it. With ``reads_padding`` an access below it that falls
    into padding is made, and masked behind it.
    """

    name: str
    under: str | None
    size_bits: int | None
    line_bits: int
    banks: int
    copies: int
    must_hold: tuple[str, ...]
    may_hold: tuple[str, ...]
    ports: tuple[Port, ...]
    energy: AccessEnergy
    leakage_mw: Fraction
    bus: Bus | None
    keep: TensorSet = NOTHING
    bypass: TensorSet = NOTHING
    reads_padding: bool = False

    @property
    def lines(self) -> int | None:
        """Addresses of one copy in one instance; None when unbounded."""
        return None if self.size_bits is None else self.size_bits // (self.line_bits * self.copies)

    def port(self, name: str) -> Port | None:
        """The port called ``name``, or None."""
        return next((port for port in self.ports if port.name == name), None)


@dataclass(frozen=True)
class FanOut:
    """``size`` instances of all that is below.

    ``shares``: roles that the network multicasts (or reduces, for outputs) over the instances.
    ``only_irrelevant_to``: only loops that do not index these roles may be placed here.
    ``least_use``: instances that a mapping has to use; None: the most that any mapping reaches.
    ``shifts``: roles whose words pass on from instance to instance from step to step, so that a
    mapping may hold them here: what one has had reaches the others without another read.
    """

    name: str
    under: str | None
    size: int
    shares: tuple[str, ...]
    only_irrelevant_to: tuple[str, ...]
    systolic: bool
    least_use: int | None = 1
    shifts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """Operators that a unit executes on operands of ``inputs`` (dtypes), giving ``output``.

    One takes ``cycles`` of an instance (beside ``Compute.per_cycle``) and ``energy_pj`` (None: that
    of the unit). The operator ``any`` stands for all that no other operation names.
    """

    operators: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    cycles: Fraction = Fraction(1)
    energy_pj: Fraction | None = None


@dataclass(frozen=True)
class Compute:
    """A unit that starts ``per_cycle`` operations a cycle, each ready ``latency_cycles`` later.

    ``strip_positions``: positions that a micro-programmed unit handles between two
    instructions (1 where it does not apply). ``functions``: stages for exp2, reciprocal, 1/sqrt,
    log2 and erf that stand behind its multiply-add (0: none). Energy is per operation; leakage of
    all instances.
    ``keeps``: roles that a mapping may hold in the unit's own registers.
    """

    name: str
    under: str | None
    executes: tuple[Operation, ...]
    per_cycle: Fraction
    latency_cycles: int
    strip_positions: int
    energy_pj: Fraction
    leakage_mw: Fraction
    keeps: tuple[str, ...] = ()
    functions: int = 0

    def can(self, operator: str) -> bool:
        """Whether the unit executes ``operator`` on any operands."""
        return any(operator in operation.operators for operation in self.executes)

    def operation(self, operator: str) -> Operation | None:
        """The operation that executes ``operator``: one that names it, else one with ``any``."""
        for name in (operator, ANY):
            for found in self.executes:
                if name in found.operators:
                    return found
        return None


Node = Memory | FanOut | Compute


@dataclass(frozen=True)
class Architecture:
    """The hardware, outermost node first; a node stands after the one it is ``under``.

    ``source`` names the file (its last component), for messages.
    """

    name: str
    source: str
    clock_mhz: Fraction
    nodes: tuple[Node, ...]

    def find(self, name: str) -> Node | None:
        """The node called ``name``, or None."""
        return next((node for node in self.nodes if node.name == name), None)

    def path(self, name: str) -> tuple[Node, ...]:
        """Nodes from the root to ``name``, both included. Raises KeyError for an unknown name."""
        node = self.find(name)
        if node is None:
            raise KeyError(name)
        above = () if node.under is None else self.path(node.under)
        return (*above, node)

    def instances(self, name: str) -> int:
        """How many instances of ``name`` there are: the product of the fan-outs above it."""
        return prod(node.size for node in self.path(name)[:-1] if isinstance(node, FanOut))

    @property
    def memories(self) -> tuple[Memory, ...]:
        """All memories, outermost first."""
        return tuple(node for node in self.nodes if isinstance(node, Memory))

    @property
    def computes(self) -> tuple[Compute, ...]:
        """All compute units, in file order."""
        return tuple(node for node in self.nodes if isinstance(node, Compute))

    def on_chip_bytes(self) -> int:
        """Bytes of all bounded memories below the root, all instances (rounded up once)."""
        bits = sum(
            memory.size_bits * self.instances(memory.name)
            for memory in self.memories
            if memory.under is not None and memory.size_bits is not None
        )
        return -(-bits // 8)
