"""Place and route by nextpnr, bitstreams by the packers of Project Trellis and Apicula."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dataflow.errors import DataflowError
from dataflow.implement.devices import Device
from dataflow.implement.tools import (
    ECPPACK,
    GOWIN_PACK,
    NEXTPNR_ECP5,
    NEXTPNR_GOWIN,
    Tool,
    run,
)

TARGET_MHZ = 100  # what the router works towards; it reports what it reached
SPEED_GRADE = 6  # of the ECP5, the slowest


@dataclass(frozen=True)
class Route:
    """A placed and routed design: Fmax of its slowest clock and what the packer reads."""

    fmax_mhz: float
    routed: Path


def tools_of(device: Device) -> tuple[Tool, ...]:
    """The tools that route a device and pack its bitstream."""
    return {"ecp5": (NEXTPNR_ECP5, ECPPACK), "gowin": (NEXTPNR_GOWIN, GOWIN_PACK), None: ()}[
        device.router
    ]


def route(
    netlist: Path, device: Device, seed: int, folder: Path, constraints: Path | None
) -> Route:
    """Places and routes a netlist that lies in ``folder``.

    Args:
        constraints: file of pins in ``folder``; None leaves the choice to the router.

    Raises:
        DataflowError: a tool is missing, or the design was not routed (it may not fit).
    """
    if device.router == "gowin":
        return route_gowin(netlist, device, seed, folder, constraints)
    return route_ecp5(netlist, device, seed, folder, constraints)


def route_ecp5(
    netlist: Path, device: Device, seed: int, folder: Path, constraints: Path | None
) -> Route:
    """``route`` for Lattice ECP5."""
    routed, report = f"routed_{seed}.config", f"timing_{seed}.json"
    arguments = [f"--{device.part}", "--package", device.package, "--speed", str(SPEED_GRADE)]
    arguments += ["--json", netlist.name, "--textcfg", routed, "--report", report]
    # Spread by its electrostatic placer the wires of edge8 are a third shorter than by the default.
    arguments += ["--lpf-allow-unconstrained", "--placer", "static"]
    if constraints is not None:
        arguments += ["--lpf", constraints.name]
    arguments += ["--seed", str(seed), "--freq", str(TARGET_MHZ), "--timing-allow-fail"]
    run(NEXTPNR_ECP5, arguments, folder, folder / f"route_{seed}.log")
    return Route(_fmax(folder / report), folder / routed)


def route_gowin(
    netlist: Path, device: Device, seed: int, folder: Path, constraints: Path | None
) -> Route:
    """``route`` for Gowin."""
    routed, report = f"routed_{seed}.json", f"timing_{seed}.json"
    arguments = ["--device", device.part, "--vopt", f"family={device.package}"]
    arguments += ["--json", netlist.name, "--write", routed, "--report", report]
    if constraints is not None:
        arguments += ["--vopt", f"cst={constraints.name}"]
    arguments += ["--seed", str(seed), "--freq", str(TARGET_MHZ), "--timing-allow-fail"]
    run(NEXTPNR_GOWIN, arguments, folder, folder / f"route_{seed}.log")
    return Route(_fmax(folder / report), folder / routed)


def bitstream(made: Route, device: Device, target: Path) -> None:
    """Writes the bitstream of a routed design to ``target``, in the folder of the design."""
    folder = made.routed.parent
    if device.router == "gowin":
        arguments = ["-d", device.package, "-o", target.name, made.routed.name]
        run(GOWIN_PACK, arguments, folder, folder / "pack.log")
    else:
        run(ECPPACK, [made.routed.name, target.name], folder, folder / "pack.log")


def _fmax(report: Path) -> float:
    """Of the slowest clock, MHz."""
    try:
        clocks = json.loads(report.read_text(encoding="utf-8"))["fmax"]
        return min(float(clock["achieved"]) for clock in clocks.values())
    except (OSError, ValueError, KeyError) as error:
        raise DataflowError(
            str(report), "holds no clock frequency", "read the log of the router beside it"
        ) from error
