"""``df_pkg``: the machine's sizes and the instruction formats as a SystemVerilog package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum

from dataflow.emit.environment import render
from dataflow.machine import isa
from dataflow.machine.machine import IDEAL_DRAM, Machine
from dataflow.machine.registers import register_map

AXI_ADDRESS_BITS = 32
EVENT_BITS = 24
NUM_EVENTS = 16  # codes of an event selector, counters that exist or not

# Keywords of IEEE 1800-2017 that a field of the instruction tables is likely to be named after.
_KEYWORDS = frozenset(
    (
        *("bit", "bind", "break", "buf", "byte", "case", "cell", "class", "config", "const"),
        *("context", "cover", "cross", "default", "design", "disable", "do", "edge", "else", "end"),
        *("enum", "event", "expect", "export", "final", "for", "force", "fork", "function"),
        *("global", "if", "import", "inout", "input", "inside", "instance", "int", "integer"),
        *("interface", "join", "large", "let", "library", "local", "logic", "longint", "medium"),
        *("module", "new", "null", "or", "output", "package", "parameter", "primitive", "priority"),
        *("process", "program", "property", "pure", "rand", "real", "ref", "reg", "release"),
        *("repeat", "restrict", "return", "sequence", "shortint", "signed", "small", "soft"),
        *("solve", "static", "string", "strong", "struct", "super", "table", "tagged", "task"),
        *("this", "time", "type", "union", "unique", "unsigned", "until", "use", "var"),
        *("vectored", "virtual", "void", "wait", "weak", "while", "wire", "with", "within"),
    )
)


@dataclass(frozen=True)
class Constant:
    """A localparam of type `int unsigned`; `remark` is a whole comment, or empty."""

    name: str
    value: int
    remark: str


@dataclass(frozen=True)
class Enumeration:
    """An enumerated type; `members` are complete lines, in order of value."""

    name: str
    high_bit: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """A packed structure; `members` are complete lines, most significant first, `rules` what its
    fields must fulfil, as expressions of the structure ``v``."""

    name: str
    bits: int
    members: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class PackageView:
    """All that the template prints."""

    machine: str
    version: int
    constants: tuple[Constant, ...]
    enumerations: tuple[Enumeration, ...]
    structures: tuple[Structure, ...]


def field_name(name: str) -> str:
    """The SystemVerilog name of an instruction field: keywords get the suffix ``_f``."""
    return f"{name}_f" if name in _KEYWORDS else name


def sv_package(machine: Machine) -> str:
    """Text of ``df_pkg.sv`` for ``machine``."""
    return render("sv", "df_pkg.sv", _view(machine))


def _view(machine: Machine) -> PackageView:
    return PackageView(
        # The name comes from a file; the package prints it in a comment.
        machine=re.sub(r"[^A-Za-z0-9_.-]", "_", machine.name),
        version=isa.VERSION,
        constants=_constants(machine),
        enumerations=(
            _enumeration("unit_e", "Unit", 4, isa.Unit),
            _enumeration("event_e", "Event", 4, isa.Event),
            _enumeration("counter_e", "Counter", 6, isa.Counter),
            _errors(),
            _enumeration("op_e", "Op", 4, isa.Op),
            _enumeration("operand_e", "Operand", 5, isa.Operand),
        ),
        structures=tuple(_structure(struct, machine) for struct in isa.STRUCTS),
    )


def _constants(machine: Machine) -> tuple[Constant, ...]:
    line_bytes = machine.line_bytes
    return tuple(
        Constant(name, value, f"  // {remark}" if remark else "")
        for name, value, remark in (
            ("IsaVersion", isa.VERSION, "header.version of every instruction"),
            ("Rows", machine.rows, "array rows (reduction)"),
            ("Cols", machine.cols, "array columns = vector lanes"),
            ("LineBytes", line_bytes, "line of every on-chip memory"),
            ("LineBits", 8 * line_bytes, ""),
            ("LineIdxW", line_bytes.bit_length() - 1, "bits of a byte offset in a line"),
            ("PortBytes", machine.port_bytes, "beat of the AXI port"),
            ("PortBits", 8 * machine.port_bytes, ""),
            ("PortIdxW", machine.port_bytes.bit_length() - 1, "bits of a byte offset in a beat"),
            ("BeatsPerLine", machine.beats_per_line, ""),
            ("ActBanks", machine.act_banks, "bank = line mod ActBanks"),
            ("ActLines", machine.act_lines, "all banks together"),
            ("WbufLines", machine.wbuf_lines, "weight ring"),
            ("AccLines", machine.acc_lines, "each of two halves, Cols x 32 bit"),
            ("ParamLines", machine.param_lines, "parameter ring, Cols x 32 bit"),
            ("FifoBeats", machine.instr_fifo_beats, "depth of an engine's instruction queue"),
            ("MaxBurst", machine.max_burst_lines, "longest AXI burst, lines"),
            ("OutstandingReads", machine.outstanding_reads, "bursts that the DRAM accepts"),
            *_dram(machine),
            ("VectorStrip", machine.vector_strip, "lines that one micro-operation runs over"),
            ("VectorLatency", machine.vector_latency, "issue to result readable, cycles"),
            ("VectorFunctions", machine.functions, "function stages: each for two lanes or more"),
            ("FeedPorts", machine.feed_ports, "row reads a cycle"),
            ("Levels", isa.LEVELS, "tile loops of an engine"),
            ("Ragged", isa.RAGGED, "sizes of a tile: [full, last]"),
            ("AxiAddrW", AXI_ADDRESS_BITS, ""),
            ("EventW", EVENT_BITS, "bits of an event counter"),
            ("NumEvents", NUM_EVENTS, "codes of an event selector"),
            *(
                (f"Events{name}", sum(1 << event for event in events), "what a tile may wait for")
                for name, events in (
                    ("Filled", isa.FILLED),
                    ("FreedFirst", isa.FREED_FIRST),
                    ("FreedSecond", isa.FREED_SECOND),
                    ("FreedOutput", isa.FREED_OUTPUT),
                )
            ),
            ("NumCounters", len(isa.Counter), "performance counters"),
            ("CounterW", (len(isa.Counter) - 1).bit_length(), "bits of the number of one"),
            *(
                (f"Reg{_camel(one.name)}", one.offset, "byte offset of a control register")
                for one in register_map().registers
            ),
        )
    )


def _dram(machine: Machine) -> tuple[tuple[str, int, str], ...]:
    """What the DRAM of the simulation is; the hardware does not ask."""
    remark = "of the simulated DRAM" if machine.dram else "none: no rows, no refresh"
    dram = machine.dram or IDEAL_DRAM
    return tuple((f"Dram{_camel(name)}", value, remark) for name, value in asdict(dram).items())


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _enumeration(name: str, prefix: str, bits: int, members: type[IntEnum]) -> Enumeration:
    lines = [f"{prefix}{_camel(m.name)} = {bits}'d{int(m)}" for m in members]
    return Enumeration(name, bits - 1, (*(f"{line}," for line in lines[:-1]), lines[-1]))


def _errors() -> Enumeration:
    lines = [f"Error{_camel(e.name)} = 8'd{e.code}" for e in register_map().errors]
    return Enumeration("job_error_e", 7, (*(f"{line}," for line in lines[:-1]), lines[-1]))


def _structure(struct: isa.Struct, machine: Machine) -> Structure:
    members = tuple(map(_member, reversed(struct.members)))
    return Structure(struct.name, struct.bits, members, tuple(_rules(struct, machine)))


def _rules(struct: isa.Struct, machine: Machine) -> Iterator[str]:
    """What `isa.violations` asks of a structure."""
    for member in struct.members:
        if not isinstance(member, isa.Field):
            name, inner = member
            if any(_rules(inner, machine)):
                yield f"legal_{inner.name}(v.{field_name(name)})"
            continue
        most = member.limit(machine)
        name, bits, counted = field_name(member.name), member.bits, member.count > 1
        for one in [f"v.{name}[{i}]" for i in range(member.count)] if counted else [f"v.{name}"]:
            if member.least:
                yield f"{one} != '0" if member.least == 1 else f"{one} >= {bits}'d{member.least}"
            # What no value exceeds is not asked.
            if most is not None and most < (1 << bits) - 1:
                yield f"{one} <= {bits}'d{most}" if most else f"{one} == '0"
            if member.level:
                yield f"{one} != {bits}'(Levels)"
            if member.given:
                yield f"(!v.{field_name(member.given)} || {one} != '0)"
    for path, events in struct.waits.items():
        event = f"v.{path}.{field_name('event')}"
        choices = (f"{event} == Event{_camel(one.name)}" for one in (isa.Event.NONE, *events))
        yield f"({' || '.join(choices)})"


def _member(member: isa.Field | tuple[str, isa.Struct]) -> str:
    if not isinstance(member, isa.Field):
        name, inner = member
        return f"{inner.name} {field_name(name)};"
    name, bits = field_name(member.name), f"[{member.bits - 1}:0]"
    if member.count > 1:
        # Elements selected from a packed array are unsigned whatever it was declared as.
        remark = "  // signed elements: cast" if member.signed else ""
        return f"logic [{member.count - 1}:0]{bits} {name};{remark}"
    if member.signed:
        return f"logic signed {bits} {name};"
    return f"logic {name};" if member.bits == 1 else f"logic {bits} {name};"
