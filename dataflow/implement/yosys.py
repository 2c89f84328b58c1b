"""Synthesis by Yosys: SystemVerilog in, netlist and counts out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflow.errors import DataflowError
from dataflow.implement.carries import small_carries
from dataflow.implement.devices import OPTIONS, Device
from dataflow.implement.resources import Resources, count
from dataflow.implement.tools import YOSYS, run
from dataflow.resources import hw_dir

NETLIST = "netlist.json"


@dataclass(frozen=True)
class Synthesis:
    """What a synthesis gave.

    Attributes:
        total: the whole design.
        modules: each module of a design whose hierarchy was kept, without what it instantiates.
        netlist: the netlist in Yosys' JSON.
    """

    total: Resources
    modules: Mapping[str, Resources]
    netlist: Path


def synthesise(
    sources: Sequence[Path],
    top: str,
    target: Device,
    folder: Path,
    *,
    parameters: Mapping[str, int] | None = None,
    keep_hierarchy: bool = False,
) -> Synthesis:
    """Synthesises a design.

    Args:
        sources: SystemVerilog files, packages first.
        top: top module.
        target: device that it is mapped to.
        folder: existing folder that takes links to the sources, the script, its log and the
            netlist. The tool runs in a sandbox that sees relative paths only.
        parameters: of the top module.
        keep_hierarchy: modules are not merged, so that each one's share is counted.

    Raises:
        DataflowError: Yosys is missing or refused the design.
    """
    names = []
    for path in sources:
        (folder / path.name).write_bytes(path.read_bytes())
        names.append(path.name)
    values = " ".join(f"-G {name}={value}" for name, value in (parameters or {}).items())
    if target.cells:
        (folder / target.cells).write_bytes((hw_dir() / "synth" / target.cells).read_bytes())
    keep = "--keep-hierarchy" if keep_hierarchy else ""
    parts = keep_hierarchy and target.family != "xilinx"
    commands = target.synthesis.replace(OPTIONS, f"-top {top}{' -noflatten' if parts else ''}")
    script = folder / "synthesis.ys"
    script.write_text(
        f"read_slang -j 1 -D SYNTHESIS --top {top} {keep} {values} {' '.join(names)}\n"
        f"{commands}\n"
        f"write_json {NETLIST}\n",
        encoding="utf-8",
    )
    run(YOSYS, ["-q", "-s", script.name], folder, folder / "synthesis.log")
    made = folder / NETLIST
    try:
        netlist = json.loads(made.read_text(encoding="utf-8"))
        if target.family == "ecp5":
            small_carries(netlist)
            made.write_text(json.dumps(netlist), encoding="utf-8")
        # The library's cells stand in the netlist too, as black boxes.
        made_of = [
            (name, module)
            for name, module in netlist["modules"].items()
            if "blackbox" not in module["attributes"]
        ]
        cells = {name: _cells(module) for name, module in made_of}
    except (OSError, ValueError, KeyError) as error:
        raise DataflowError(str(made), "is no netlist", "read synthesis.log beside it") from error
    modules = {name: count(types, target.family) for name, types in cells.items()}
    return Synthesis(count(_all_cells(cells, top), target.family), modules, made)


def _cells(module: Mapping[str, Any]) -> Counter[str]:
    return Counter(cell["type"] for cell in module["cells"].values())


def _all_cells(cells: Mapping[str, Counter[str]], top: str) -> Counter[str]:
    """The cells below a module, those of the modules that it instantiates included."""
    total: Counter[str] = Counter()
    for name, number in cells[top].items():
        if name in cells:
            for inner, times in _all_cells(cells, name).items():
                total[inner] += number * times
        else:
            total[name] += number
    return total
