"""What a design takes of a device, counted from the cells of a synthesised netlist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

Family = Literal["ecp5", "gowin", "xilinx"]


@dataclass(frozen=True)
class Resources:
    """Counts in the units of a device's data sheet.

    Attributes:
        lut: look-up tables: 4 inputs (ECP5 and Gowin) or 6 (Xilinx); carries and memories made of
            them included. The COMB of nextpnr-ecp5 are more: it puts cells at the ends of each
            carry chain.
        ff: flip-flops.
        dsp: multipliers of 18 x 18 (ECP5, Gowin) or DSP48 blocks (Xilinx).
        bram: blocks of 18 Kibit (ECP5, Gowin) or of 36 Kibit, a half one counting as half and the
            sum rounded up (Xilinx).
    """

    lut: int
    ff: int
    dsp: int
    bram: int

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def within(self, limit: Resources) -> bool:
        """No count is above that of ``limit``."""
        return all(count <= getattr(limit, name) for name, count in self.as_dict().items())


# Weights of the cells, in halves. A cell that stands in none of these takes nothing of what is
# counted: multiplexers, buffers and constants that come with the look-up tables.
_ECP5: Mapping[str, tuple[str, int]] = {
    "LUT4": ("lut", 2),
    "CCU2C": ("lut", 4),  # a carry over two look-up tables
    "TRELLIS_DPR16X4": ("lut", 8),
    "TRELLIS_FF": ("ff", 2),
    "MULT18X18D": ("dsp", 2),
    "DP16KD": ("bram", 2),
    "PDPW16KD": ("bram", 2),
}
_GOWIN: Mapping[str, tuple[str, int]] = {
    **{f"LUT{inputs}": ("lut", 2) for inputs in range(1, 5)},
    "ALU": ("lut", 2),
    "RAM16SDP1": ("lut", 2),
    "RAM16SDP2": ("lut", 4),
    "RAM16SDP4": ("lut", 8),
    **{f"DFF{kind}": ("ff", 2) for kind in ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE")},
    "MULT9X9": ("dsp", 1),
    "MULT18X18": ("dsp", 2),
    "MULTALU18X18": ("dsp", 2),
    "MULT36X36": ("dsp", 8),
    "MULTALU36X18": ("dsp", 4),
    **dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B", "pROM"), ("bram", 2)),
}
_XILINX: Mapping[str, tuple[str, int]] = {
    **{f"LUT{inputs}": ("lut", 2) for inputs in range(1, 7)},
    "INV": ("lut", 2),
    "RAM32X1D": ("lut", 4),
    "RAM64X1D": ("lut", 4),
    "RAM128X1D": ("lut", 8),
    "RAM32M": ("lut", 8),
    "RAM64M": ("lut", 8),
    "RAM32M16": ("lut", 16),
    "RAM64M8": ("lut", 16),
    "SRL16E": ("lut", 2),
    "SRLC32E": ("lut", 2),
    "SRLC16E": ("lut", 2),
    **{f"FD{kind}{edge}": ("ff", 2) for kind in ("RE", "SE", "CE", "PE") for edge in ("", "_1")},
    "DSP48E1": ("dsp", 2),
    "DSP48E2": ("dsp", 2),
    "RAMB18E1": ("bram", 1),
    "RAMB36E1": ("bram", 2),
    "RAMB18E2": ("bram", 1),
    "RAMB36E2": ("bram", 2),
}
_CELLS: Mapping[Family, Mapping[str, tuple[str, int]]] = {
    "ecp5": _ECP5,
    "gowin": _GOWIN,
    "xilinx": _XILINX,
}


def count(cells: Mapping[str, int], family: Family) -> Resources:
    """Resources of a netlist, from its number of cells by type."""
    halves = dict.fromkeys((field.name for field in fields(Resources)), 0)
    for name, number in cells.items():
        if name in _CELLS[family]:
            kind, weight = _CELLS[family][name]
            halves[kind] += weight * number
    return Resources(**{kind: -(-total // 2) for kind, total in halves.items()})
