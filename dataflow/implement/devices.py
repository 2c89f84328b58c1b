"""Devices that `implement` knows: what they hold, how their netlists are made and routed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dataflow.errors import DataflowError
from dataflow.implement.resources import Family, Resources


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        name: as the command line takes it.
        family: counts of its cells.
        synthesis: Yosys commands that map to it, `OPTIONS` where a command takes the top.
        capacity: what it holds, from its data sheet.
        router: place and route that exists as open source, or None.
        part, package: as the router names them; empty without one.
        cells: file of ``hw/synth`` that the commands map with; empty without one.
    """

    name: str
    family: Family
    synthesis: str
    capacity: Resources
    router: Literal["ecp5", "gowin"] | None = None
    part: str = ""
    package: str = ""
    cells: str = ""


OPTIONS = "{options}"


# Small comes before fast, as far as a period allows. The first two rounds are for area alone:
# Yosys' own, and once more from what it gave, restructured; the smaller of the two is taken. There
# comparators become chains of multiplexers, so a third round maps it again to no more than 6 ns of
# gates, which is about 80 MHz with wires as long as gates take; with less time everything is made
# as fast as it can be, for a third more of some modules.
_ROUNDS = (
    "+&scorr; &sweep; &dc2; &dch -f -r; &ps; &if {W} {D} {R} -a -v; &mfs; &save; "
    "&st; &syn3; &syn3; &dch -f; &if {W} {D} {R} -a; &mfs; &save; &load; "
    "&st; &if {W} {D} {R} -v; &mfs"
)
#
# ABC knows no multiplexer that is made of LUTs and what joins them: it takes a half more of them
# for eight ways. So full trees of eight become such cells before it, a sixth less of the lanes;
# trees of four lose more by what ABC would have made of their surroundings.
_SMALL = f"""scratchpad -set abc9.D 6000
scratchpad -set abc9.script "{_ROUNDS}"
synth_ecp5 {OPTIONS} -run :map_luts
muxcover -mux8=400 -nopartial
techmap -map ecp5_muxes.v
synth_ecp5 {OPTIONS} -run map_luts:"""

DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        # Lattice FPGA-DS-02012, table 1.1
        Device(
            "ecp5-85k",
            "ecp5",
            _SMALL,
            Resources(83640, 83640, 156, 208),
            router="ecp5",
            part="85k",
            package="CABGA381",
            cells="ecp5_muxes.v",
        ),
        # Gowin DS102, table 1-1 (the speed grade and package of a common board)
        Device(
            "gw2a-18",
            "gowin",
            f"synth_gowin -family gw2a {OPTIONS}",
            Resources(20736, 15552, 48, 46),
            router="gowin",
            part="GW2A-LV18PG256C8/I7",
            package="GW2A-18",
        ),
        # AMD DS190 (xc7z020), DS180 (xc7a100t), DS891 (xczu7ev)
        Device(
            "xc7z020",
            "xilinx",
            f"synth_xilinx -family xc7 -noiopad {OPTIONS}",
            Resources(53200, 106400, 220, 140),
        ),
        Device(
            "xc7a100t",
            "xilinx",
            f"synth_xilinx -family xc7 -noiopad {OPTIONS}",
            Resources(63400, 126800, 240, 135),
        ),
        Device(
            "xczu7ev",
            "xilinx",
            f"synth_xilinx -family xcup -noiopad {OPTIONS}",
            Resources(230400, 460800, 1728, 312),
        ),
    )
}


def device(name: str) -> Device:
    """The device of a name.

    Raises:
        DataflowError: there is none; the message lists those that there are.
    """
    if name not in DEVICES:
        raise DataflowError(
            "--device", f"there is no device {name!r}", f"choose one of {', '.join(DEVICES)}"
        )
    return DEVICES[name]
