"""What `map` found, on the terminal and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from dataflow.arch import Architecture
from dataflow.mapping import Workload
from dataflow.report.costs import cost_json, number
from dataflow.search.network import Found
from dataflow.search.windows.layers import OBJECTIVES, Stalls

KEYS = {"latency": "latency_cycles", "energy": "energy_pj", "edp": "edp"}


def map_json(
    found: Found, workload: Workload, arch: Architecture, objectives: Sequence[str], seconds: float
) -> dict[str, object]:
    """The keys of ``map``: those of ``cost`` with bounds."""
    values = cost_json(found.cost, found.mapping, workload, ",".join(objectives))
    return {
        **values,
        "bound": {KEYS[name]: found.bound[name] for name in KEYS},
        "gap": found.gap,
        "optimal": found.optimal,
        "search_seconds": seconds,
        "layers": [
            {
                "name": layer.einsum,
                "bound": {KEYS[name]: layer.bounds[name] for name in KEYS},
                "proven": layer.proven,
                "factors": layer.factors,
            }
            for layer in found.layers
        ],
        "mapspace": mapspace(found),
        "roofline": roofline(found, arch),
    }


def roofline(found: Found, arch: Architecture) -> list[dict[str, object]]:
    """For each Einsum: operations for each byte of the outermost memory, operations a cycle, and
    the memory or unit that sets its time."""
    rows: list[dict[str, object]] = []
    root = arch.memories[0].name
    bound = {name: b.bound for b in found.cost.blocks for name in b.einsums}
    cycles = {name: b.cycles for b in found.cost.blocks for name in b.einsums}
    for counts in found.cost.counts:
        bits = sum(m.words * m.bits for m in counts.moved if m.level == root)
        rows.append(
            {
                "name": counts.einsum,
                "operations": counts.points,
                "bytes": bits / 8,
                "intensity": counts.points * 8 / bits if bits else None,
                "per_cycle": float(counts.points / cycles[counts.einsum])
                if cycles[counts.einsum]
                else None,
                "bound_by": bound[counts.einsum],
            }
        )
    return rows


def print_map(
    console: Console, found: Found, arch: Architecture, objectives: Sequence[str]
) -> None:
    """Each Einsum with what bounds it, the totals, how far from optimal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Einsum", overflow="fold")
    for name in ("cycles", "pJ", "operations/byte", "operations/cycle"):
        table.add_column(name, justify="right")
    table.add_column("bound by")
    cycles = {name: b.cycles for b in found.cost.blocks for name in b.einsums}
    for row in roofline(found, arch):
        name = str(row["name"])
        table.add_row(
            name,
            f"{float(cycles[name]):,.6g}",
            f"{float(found.cost.access_pj[name]):,.6g}",
            _short(row["intensity"]),
            _short(row["per_cycle"]),
            str(row["bound_by"]),
        )
    console.print(table)
    first = objectives[0]
    state = "optimal" if found.optimal else f"within {found.gap:.2%} of the bound"
    reached = found.value(first)
    console.print(
        f"{arch.name}: {number(found.cost.cycles):,} cycles, "
        f"{float(found.cost.energy_pj):,.6g} pJ; {first} {reached:,.6g}, "
        f"bound {found.bound[first]:,.6g}: {state}",
        markup=False,
        highlight=False,
    )
    console.print(f"mapspace: {mapspace(found)}", markup=False, highlight=False)


def print_stalls(console: Console, found: Stalls, arch: Architecture, objective: str) -> None:
    """Cycles with stalls and energy of each Einsum, in each objective, and the totals."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Einsum", overflow="fold")
    for name in OBJECTIVES:
        table.add_column(f"{name}: cycles", justify="right")
        table.add_column("pJ", justify="right")
    for layer in found.layers:
        cells = [
            (f"{b.cycles:,}", f"{b.energy_pj:,.6g}") for b in map(layer.best.get, OBJECTIVES) if b
        ]
        table.add_row(layer.einsum, *(cell for pair in cells for cell in pair))
    console.print(table)
    cycles, energy = found.cycles(objective), found.energy_pj(objective)
    console.print(
        f"{arch.name}: best {objective}: {cycles:,} cycles with stalls, {energy:,.6g} pJ; "
        "an estimate, the best of the orders that were tried",
        markup=False,
        highlight=False,
    )


def mapspace(found: Found) -> str:
    """What was searched."""
    kinds = {layer.factors for layer in found.layers}
    factors = " and ".join(sorted(kinds - {"none"})) or "no"
    alone = ""
    if len(found.layers) > 1:
        alone = "one Einsum a group, "
        if found.fused:
            alone = (
                "groups of consecutive Einsums with common loops (tiles that divide), tensors "
                "whole in the first buffer; of Einsums that are alone: "
            )
    plain = "; some Einsums mapped plainly" if "none" in kinds and len(kinds) > 1 else ""
    return f"{alone}all orders and holds, {factors} factors{plain}"


def _short(value: object) -> str:
    return "-" if value is None else f"{value:,.4g}"
