"""The architecture file as pydantic models: what may stand in it, checked strictly.

Every field says in its description what it must be and gives an example; messages are built from
these (:mod:`dataflow.arch.messages`). Resolution into :mod:`dataflow.arch.tree` follows in
:mod:`dataflow.arch.loader`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1
_MAX = 2**62  # keeps products of two sizes far from any fixed-width overflow elsewhere

Role = Literal[
    "all", "input", "weight", "output", "intermediate", "partial", "parameter", "program"
]
Roles = list[Role]
Count = Annotated[int, Field(ge=1, le=_MAX)]
Cycles = Annotated[int, Field(ge=0, le=_MAX)]
Quantity = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1e18, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
DtypeName = Annotated[
    str, Field(pattern=r"^(u?int([1-9]|[1-5][0-9]|6[0-4])|float(16|32|64)|bool)$")
]

_ROLES = "a list of roles (input, weight, output, intermediate, partial, parameter, program, all)"
_NAME = "a name of letters, digits and _ that starts with a letter"
_SET = "a set of roles and tensor names with ~, &, |, - and parentheses"
_PJ = "an energy in pJ, 0 or more"
_MW = "a power in mW, 0 or more"
_NS = "a time in ns, 0 or more"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class PortSpec(_Strict):
    """One kind of port of a memory."""

    does: list[Literal["read", "write"]] = Field(
        min_length=1, description="a list of read, write or both", examples=["[read]"]
    )
    bits_per_cycle: Rate | Literal["unbounded"] = Field(
        description="a number of bits above 0, or unbounded", examples=["64"]
    )
    min_bits: Count = Field(default=1, description="a whole number of bits above 0", examples=["8"])
    count: Count = Field(default=1, description="a whole number above 0", examples=["1"])
    carries: Roles = Field(default=[], description=_ROLES, examples=["[weight]"])
    sides: list[Literal["low", "high"]] = Field(
        default=[],
        description="a list of low (towards the units), high (towards the root); empty: both",
        examples=["[low]"],
    )


class EnergySpec(_Strict):
    """Energy of one access of ``bits`` bits (default: one line)."""

    read: Quantity = Field(description=_PJ, examples=["10.0"])
    write: Quantity = Field(description=_PJ, examples=["10.0"])
    bits: Count | None = Field(
        default=None, description="a whole number of bits above 0", examples=["64"]
    )


class DeviceSpec(_Strict):
    """Timing of the DRAM behind the bus; a name of hw/dram in its place takes that device."""

    mega_transfers: Rate = Field(
        description="a number of million transfers a second above 0", examples=["1600"]
    )
    width_bits: Count = Field(description="a whole number of bits above 0", examples=["16"])
    burst_length: Count = Field(
        description="a whole number of transfers above 0: the least that is moved", examples=["8"]
    )
    banks: Annotated[int, Field(ge=1, le=64)] = Field(
        description="a whole number from 1 to 64", examples=["8"]
    )
    row_bytes: Count = Field(
        description="a whole number of bytes above 0: neighbouring rows lie in different banks",
        examples=["2048"],
    )
    activate_ns: Quantity = Field(description=f"{_NS} (tRCD)", examples=["13.75"])
    precharge_ns: Quantity = Field(description=f"{_NS} (tRP)", examples=["13.75"])
    write_recovery_ns: Quantity = Field(description=f"{_NS} (tWR)", examples=["15"])
    write_to_read_ns: Quantity = Field(description=f"{_NS} without data", examples=["11.25"])
    read_to_write_ns: Quantity = Field(description=f"{_NS} without data", examples=["6.25"])
    refresh_ns: Quantity = Field(description=f"{_NS} (tRFC)", examples=["260"])
    refresh_interval_ns: Rate = Field(
        description="a time in ns above refresh_ns (tREFI)", examples=["7800"]
    )


class BusSpec(_Strict):
    """AXI4 behaviour of an external memory."""

    max_burst_beats: Annotated[int, Field(ge=1, le=256)] = Field(
        description="a whole number of beats from 1 to 256", examples=["16"]
    )
    outstanding_reads: Annotated[int, Field(ge=1, le=256)] = Field(
        description="a whole number of bursts from 1 to 256", examples=["16"]
    )
    read_latency_cycles: Cycles = Field(
        description="a whole number of cycles, 0 or more", examples=["64"]
    )
    write_latency_cycles: Cycles = Field(
        description="a whole number of cycles, 0 or more", examples=["8"]
    )
    device: DeviceSpec | None = Field(
        default=None,
        description="the name of a DRAM device or a mapping; none: no rows, no refresh",
        examples=["ddr3_1600_x16"],
    )


class MemorySpec(_Strict):
    """A memory. One of ``size_bytes`` and ``size_bits``."""

    kind: Literal["memory"]
    under: Name | None = Field(default=None, description=_NAME, examples=["dram"])
    size_bytes: Count | Literal["unbounded"] | None = Field(
        default=None,
        description="a whole number of bytes above 0, or unbounded",
        examples=["65536"],
    )
    size_bits: Count | None = Field(
        default=None, description="a whole number of bits above 0", examples=["4608"]
    )
    line_bits: Count = Field(description="a whole number of bits above 0", examples=["64"])
    banks: Count = Field(default=1, description="a whole number above 0", examples=["8"])
    copies: Count = Field(default=1, description="a whole number above 0", examples=["2"])
    must_hold: Roles = Field(default=[], description=_ROLES, examples=["[weight]"])
    may_hold: Roles = Field(description=_ROLES, examples=["[weight]"])
    keep: str | None = Field(default=None, description=_SET, examples=["input & ~intermediate"])
    bypass: str | None = Field(default=None, description=_SET, examples=["weight | X"])
    ports: dict[Name, PortSpec] = Field(
        description="a mapping from port names to ports",
        examples=["{any: {does: [read, write], bits_per_cycle: 64}}"],
    )
    energy_pj: EnergySpec = Field(
        description="a mapping with read and write", examples=["{read: 10.0, write: 10.0}"]
    )
    leakage_mw: Quantity = Field(default=0.0, description=_MW, examples=["0.0"])
    reads_padding: bool = Field(
        default=False,
        description="true or false; true: padding is read and masked behind it",
        examples=["true"],
    )
    bus: BusSpec | None = Field(
        default=None, description="a mapping with the AXI4 timing", examples=["see edge16.yaml"]
    )


class FanOutSpec(_Strict):
    """A dimension of an array."""

    kind: Literal["fanout"]
    under: Name | None = Field(default=None, description=_NAME, examples=["activations"])
    size: Count = Field(description="a whole number of instances above 0", examples=["16"])
    shares: Roles = Field(default=[], description=_ROLES, examples=["[input]"])
    only_irrelevant_to: Roles = Field(default=[], description=_ROLES, examples=["[output]"])
    systolic: bool = Field(default=False, description="true or false", examples=["true"])
    shifts: Roles = Field(default=[], description=_ROLES, examples=["[input]"])
    least_use: Count | Literal["largest"] = Field(
        default=1,
        description="a whole number of instances above 0, or largest (the most that any mapping "
        "of the Einsum reaches)",
        examples=["8"],
    )


class OperationSpec(_Strict):
    """Operators with the dtypes they take and give."""

    operators: list[Name] = Field(
        min_length=1, description="a list of operator names", examples=["[mac]"]
    )
    inputs: list[DtypeName] = Field(
        description="a list of dtypes (int1 to int64, uint1 to uint64, float16, float32, "
        "float64, bool)",
        examples=["[int9, int9]"],
    )
    output: DtypeName = Field(
        description="a dtype (int1 to int64, uint1 to uint64, float16, float32, float64, bool)",
        examples=["int32"],
    )
    cycles: Rate = Field(
        default=1.0, description="a number of cycles of one instance above 0", examples=["7"]
    )
    energy_pj: Quantity | None = Field(default=None, description=_PJ, examples=["0.3"])


class ComputeSpec(_Strict):
    """A unit that computes."""

    kind: Literal["compute"]
    under: Name | None = Field(default=None, description=_NAME, examples=["columns"])
    executes: list[OperationSpec] = Field(
        min_length=1,
        description="a list of operations",
        examples=["[{operators: [mac], inputs: [int9, int9], output: int32}]"],
    )
    per_cycle: Rate = Field(
        default=1.0, description="a number of operations above 0", examples=["1"]
    )
    latency_cycles: Cycles = Field(
        default=1, description="a whole number of cycles, 0 or more", examples=["1"]
    )
    strip_positions: Count = Field(default=1, description="a whole number above 0", examples=["16"])
    functions: Cycles = Field(
        default=0, description="a whole number of function stages, 0 or more", examples=["4"]
    )
    keeps: Roles = Field(default=[], description=_ROLES, examples=["[output]"])
    energy_pj: Quantity = Field(description=_PJ, examples=["0.3"])
    leakage_mw: Quantity = Field(default=0.0, description=_MW, examples=["0.0"])


NodeSpec = MemorySpec | FanOutSpec | ComputeSpec
NODE_SPECS: dict[str, type[MemorySpec | FanOutSpec | ComputeSpec]] = {
    "memory": MemorySpec,
    "fanout": FanOutSpec,
    "compute": ComputeSpec,
}


class FileSpec(_Strict):
    """The whole file. The nodes are checked one by one, so that messages name them."""

    version: Literal[1] = Field(description=f"the format version {FORMAT_VERSION}", examples=["1"])
    name: Name = Field(description=_NAME, examples=["edge16"])
    clock_mhz: Rate = Field(description="a frequency in MHz above 0", examples=["200"])
    nodes: dict[Name, object] = Field(
        min_length=1,
        description="a mapping from node names to nodes, outermost first",
        examples=["see edge16.yaml"],
    )
