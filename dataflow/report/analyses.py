"""The analyses of a fibre on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from dataflow.analysis import FibreSummary


def print_summary(console: Console, summary: FibreSummary) -> None:
    """Pass count with its chain, live tensors, traffic."""
    counted = summary.passes
    fibre = f"{','.join(counted.ranks)} fibres of {counted.tensor}"
    chain = " -> ".join(counted.chain)
    plural = "" if counted.passes == 1 else "es"
    console.print(f"{counted.passes} pass{plural} over the {fibre}: {chain}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("tensor", "live", "elements", ""):
        table.add_column(title, justify="right" if title == "elements" else "left")
    for live in summary.footprint.tensors:
        table.add_row(live.tensor, live.kind, str(live.elements), live.symbolic)
    console.print(table)
    ranks = counted.ranks[0] if len(counted.ranks) == 1 else ",".join(counted.ranks)
    grows = "grows with" if summary.footprint.grows else "does not grow with"
    console.print(f"footprint {summary.footprint.elements} elements; it {grows} {ranks}")
    nest = summary.nest
    console.print(f"DRAM {nest.read_bytes} bytes read, {nest.write_bytes} written ({nest.nest})")
    console.print(
        f"{summary.operations} operations, {summary.intensity:.1f} operations a byte; "
        f"compulsory traffic {summary.compulsory.bytes} bytes"
    )
    if summary.attention_bound is not None:
        console.print(
            f"exact attention moves at least of the order of {summary.attention_bound:.0f} elements"
        )
