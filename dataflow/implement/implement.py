"""`dataflow implement`: the RTL of an output folder on a device, by open tools."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.files import write_atomic
from dataflow.implement.devices import Device, device
from dataflow.implement.estimate import estimate
from dataflow.implement.nextpnr import SPEED_GRADE, bitstream, route, tools_of
from dataflow.implement.resources import Resources
from dataflow.implement.tools import YOSYS, require
from dataflow.implement.yosys import Synthesis, synthesise
from dataflow.machine import machine_of
from dataflow.progress import Progress
from dataflow.resources import hw_dir

SEEDS = (1, 2, 3)  # of the router; the slowest result counts
ACCELERATOR, BOARD = "accelerator", "board_top"
_SUFFIX = {"ecp5": ".bit", "gowin": ".fs"}
_CONSTRAINTS = {"ecp5": ".lpf", "gowin": ".cst"}


def implement(out: Path, name: str, progress: Progress) -> dict[str, Any]:
    """Synthesises the machine of ``out`` for a device, and where open tools can, places, routes and
    packs it inside the board wrapper.

    Returns:
        The contents of ``OUT/report/implementation.json``. A design that does not fit is not
        routed: ``fits`` is false, ``fmax_mhz`` and ``bitstream`` are null.

    Raises:
        DataflowError: no such device, a tool is missing, the folder holds no RTL, or a tool
            failed. Nothing is written then.
    """
    chosen = device(name)
    versions = require([YOSYS, *tools_of(chosen)])
    sources = rtl_sources(out)
    architecture = out / "architecture.yaml"
    if not architecture.is_file():
        raise DataflowError(str(architecture), "is missing", "compile again")
    expected = estimate(machine_of(load_architecture(str(architecture))), chosen)
    start = time.monotonic()
    with _scratch() as work:
        progress(f"synthesise for {name}", 0, 2 + len(SEEDS))
        top = BOARD if chosen.router else ACCELERATOR
        if chosen.router:
            sources = [*sources, hw_dir() / "board" / f"{BOARD}.sv"]
        made = synthesise(sources, top, chosen, work)
        fits = made.total.within(chosen.capacity)
        shares = _shares(sources, top, chosen, work)
        fmax, image = None, None
        if fits and chosen.router:
            fmax, image = _routed(made, chosen, work, out, progress)
        progress("done", 2 + len(SEEDS), 2 + len(SEEDS))
    return {
        "device": name,
        "tool_versions": dict(versions),
        **made.total.as_dict(),
        "fmax_mhz": fmax,
        "fits": fits,
        "bitstream": image,
        "modules": {module: counts.as_dict() for module, counts in shares.items()},
        "estimate": expected.as_dict(),
        "capacity": chosen.capacity.as_dict(),
        "top": top,
        "speed_grade": SPEED_GRADE if chosen.router == "ecp5" else None,
        "seconds": time.monotonic() - start,
    }


def rtl_sources(out: Path) -> list[Path]:
    """The RTL files of an output folder in order.

    Raises:
        DataflowError: it has none, or one is missing.
    """
    rtl = out / "rtl"
    if not (rtl / "files.f").is_file():
        raise DataflowError(str(out), "holds no RTL", "compile with --target rtl")
    names = (rtl / "files.f").read_text(encoding="utf-8").split()
    missing = [name for name in names if Path(name).name != name or not (rtl / name).is_file()]
    if missing:
        raise DataflowError(str(rtl / missing[0]), "is missing", "compile again")
    return [rtl / name for name in names]


def _shares(sources: Sequence[Path], top: str, chosen: Device, work: Path) -> dict[str, Resources]:
    """Each module alone, from a run that keeps the hierarchy; it costs as much as the first."""
    folder = work / "modules"
    folder.mkdir()
    made = synthesise(sources, top, chosen, folder, keep_hierarchy=True)
    return dict(sorted(made.modules.items()))


def _routed(
    made: Synthesis, chosen: Device, work: Path, out: Path, progress: Progress
) -> tuple[float, str]:
    """Fmax of the slowest seed, and the bitstream of the fastest, written under ``out``."""
    assert chosen.router is not None
    pins = hw_dir() / "board" / f"{chosen.name}{_CONSTRAINTS[chosen.router]}"
    shutil.copyfile(pins, work / pins.name)
    routes = []
    for number, seed in enumerate(SEEDS):
        progress(f"place and route, seed {seed}", 1 + number, 2 + len(SEEDS))
        routes.append(route(made.netlist, chosen, seed, work, work / pins.name))
    progress("bitstream", 1 + len(SEEDS), 2 + len(SEEDS))
    image = work / f"{chosen.name}{_SUFFIX[chosen.router]}"
    bitstream(max(routes, key=lambda one: one.fmax_mhz), chosen, image)
    target = Path("implementation") / image.name
    (out / target.parent).mkdir(exist_ok=True)
    write_atomic(out / target, image.read_bytes())
    return min(one.fmax_mhz for one in routes), str(target)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dataflow-implement-") as folder:
        yield Path(folder)
