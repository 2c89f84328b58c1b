"""The cost of a mapping on the terminal and as JSON values (the keys of `map` and `cost`)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rich import box
from rich.console import Console
from rich.table import Table

from dataflow.arch import Architecture
from dataflow.cost import Cost
from dataflow.cost.stalls import Stalled
from dataflow.mapping import Mapping, Workload, print_mapping
from dataflow.mapping.occupancy import variable_sizes
from dataflow.mapping.tree import Group


def number(value: Fraction | int) -> int | float:
    """An integer where it is one."""
    exact = Fraction(value)
    return exact.numerator if exact.denominator == 1 else float(exact)


def utilization(cost: Cost) -> float | None:
    """Multiply-accumulates / (cycles x multipliers); None without cycles or multipliers."""
    if not cost.cycles or not cost.mac_units:
        return None
    return float(Fraction(cost.macs) / (cost.cycles * cost.mac_units))


def cost_json(
    cost: Cost, mapping: Mapping, workload: Workload, objective: str = "latency"
) -> dict[str, object]:
    """The keys that `map` and `cost` share; a given mapping has no bound."""
    sizes = variable_sizes(workload)
    texts: dict[str, str] = {}
    for group in mapping.groups:
        text = print_mapping(Mapping((group,)), sizes)
        texts.update(dict.fromkeys(_einsums(group), text))
    cycles: dict[str, Fraction] = {}
    for block in cost.blocks:
        for name in block.einsums:
            cycles[name] = block.cycles
    return {
        "objective": objective,
        "latency_cycles": number(cost.cycles),
        "energy_pj": number(cost.energy_pj),
        "edp": number(cost.edp),
        "bound": None,
        "gap": None,
        "optimal": False,
        "search_seconds": 0.0,
        "mac_utilization": utilization(cost),
        "levels": {
            level: {t: {"reads": r, "writes": w} for t, (r, w) in rows.items()}
            for level, rows in cost.levels.items()
        },
        "accesses": {
            level: {t: {"reads": r, "writes": w} for t, (r, w) in rows.items()}
            for level, rows in cost.accesses.items()
        },
        "einsums": [
            {
                "name": c.einsum,
                "unit": c.unit,
                "cycles": number(cycles[c.einsum]),
                "macs": c.points if workload.work(c.einsum).contraction else 0,
                "energy_pj": number(cost.access_pj[c.einsum]),
                "mapping": texts[c.einsum],
            }
            for c in cost.counts
        ],
        "blocks": [
            {
                "einsums": list(b.einsums),
                "cycles": number(b.cycles),
                "bound_by": b.bound,
                "busy_cycles": {k: number(v) for k, v in b.busy.items()},
            }
            for b in cost.blocks
        ],
        "occupancy_bits": dict(cost.occupancy_bits),
    }


def stalls_json(found: Sequence[Stalled]) -> dict[str, object]:
    """The second face of the time: Einsums one after another, with stalls, fill and drain."""
    return {
        "latency_cycles": sum(s.cycles for s in found),
        "einsums": [
            {
                "name": s.einsum,
                "temporal_cycles": s.temporal,
                "stall_cycles": s.stall,
                "onload_cycles": s.onload,
                "offload_cycles": s.offload,
                "drain_cycles": s.drain,
                "ports": {f"{m}.{p}": n for (m, p), n in s.stalls.items()},
                "energy_pj": number(s.energy_pj),
            }
            for s in found
        ],
    }


def _einsums(group: Group) -> list[str]:
    from dataflow.mapping import group_paths

    return [path.compute.einsum for path in group_paths(group)]


def print_cost(
    console: Console, cost: Cost, arch: Architecture, estimate: Sequence[Stalled]
) -> None:
    """Totals, accesses by level and tensor, time and what bounds it."""
    seconds = float(cost.cycles / (arch.clock_mhz * 1_000_000))
    used = utilization(cost)
    console.print(
        f"{arch.name}: {_text(cost.cycles)} cycles ({seconds:.6g} s), "
        f"{_text(cost.energy_pj)} pJ, {cost.macs:,} multiply-accumulates"
        + ("" if used is None else f", utilisation {used:.1%}"),
        markup=False,
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("level", "tensor"):
        table.add_column(name)
    for name in ("reads", "writes"):
        table.add_column(name, justify="right")
    for level, rows in cost.levels.items():
        for tensor, (reads, writes) in rows.items():
            table.add_row(level, tensor, f"{reads:,}", f"{writes:,}")
    console.print(table)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Einsums beside each other", overflow="fold")
    table.add_column("cycles", justify="right")
    table.add_column("bound by")
    for block in cost.blocks:
        table.add_row(", ".join(block.einsums), _text(block.cycles), block.bound)
    console.print(table)
    total = sum(s.cycles for s in estimate)
    parts = {
        "stalls": sum(s.stall for s in estimate),
        "onload": sum(s.onload for s in estimate),
        "offload": sum(s.offload for s in estimate),
        "drain": sum(s.drain for s in estimate),
    }
    listed = ", ".join(f"{name} {cycles:,}" for name, cycles in parts.items())
    console.print(
        f"Einsum by Einsum, ports contended for: {total:,} cycles ({listed})", highlight=False
    )


def _text(value: Fraction) -> str:
    found = number(value)
    return f"{found:,}" if isinstance(found, int) else f"{found:,.6g}"
