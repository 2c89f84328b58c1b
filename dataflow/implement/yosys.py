"""Synthesis by Yosys: SystemVerilog in, netlist and counts out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataflow.errors import DataflowError
from dataflow.implement.resources import Family, Resources, count
from dataflow.implement.tools import YOSYS, run

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
    command: str,
    family: Family,
    folder: Path,
    *,
    parameters: Mapping[str, int] | None = None,
    keep_hierarchy: bool = False,
) -> Synthesis:
    """Synthesises a design.

    Args:
        sources: SystemVerilog files, packages first.
        top: top module.
        command: Yosys command that maps to a device, without ``-top``.
        family: how cells are counted.
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
    keep = "--keep-hierarchy" if keep_hierarchy else ""
    script = folder / "synthesis.ys"
    script.write_text(
        f"read_slang -j 1 -D SYNTHESIS --top {top} {keep} {values} {' '.join(names)}\n"
        f"{command} -top {top}{' -noflatten' if keep_hierarchy and family != 'xilinx' else ''}\n"
        "tee -q -o counts.json stat -json\n"
        f"write_json {NETLIST}\n",
        encoding="utf-8",
    )
    run(YOSYS, ["-q", "-s", script.name], folder, folder / "synthesis.log")
    try:
        counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
        total = count(counts["design"]["num_cells_by_type"], family)
        modules = {
            name.removeprefix("\\"): count(module["num_cells_by_type"], family)
            for name, module in counts["modules"].items()
        }
    except (OSError, ValueError, KeyError) as error:
        raise DataflowError(
            str(folder / "counts.json"), "is no count of cells", "read synthesis.log beside it"
        ) from error
    return Synthesis(total, modules, folder / NETLIST)
