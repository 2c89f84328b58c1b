"""The report on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataflow.report import rows as r
from dataflow.report.results import Csim, Simulation, Summary


def _cell(text: str, style: str = "") -> Text:
    # Text, not markup: a layer called "[red]" or one with an escape sequence is shown as it is.
    return Text(r.printable(text), style=style)


def _table(title: str, *columns: tuple[str, bool]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, numeric in columns:
        # The widest text column gives way first, numbers never.
        table.add_column(
            name,
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
        )
    return table


def layer_table(rows: tuple[r.LayerRow, ...]) -> Table:
    """Per-layer table: cycles predicted and simulated with their ratio, utilisation, bytes."""
    table = _table(
        "Layers",
        ("layer", False),
        ("MACs", True),
        ("predicted", True),
        ("simulated", True),
        ("ratio", True),
        ("util.", True),
        ("read", True),
        ("written", True),
        ("largest stall", False),
    )
    for row in rows:
        worst = max(row.stalls, key=lambda stall: stall[1], default=None)
        table.add_row(
            _cell(row.name),
            r.count_text(row.macs),
            r.count_text(row.predicted),
            r.count_text(row.simulated),
            r.ratio_text(row.ratio),
            r.percent_text(row.mac_utilization),
            r.bytes_text(row.read_bytes),
            r.bytes_text(row.write_bytes),
            _cell(f"{worst[0]} {r.count_text(worst[1])}" if worst else r.NOTHING),
        )
    return table


def print_report(
    console: Console, summary: Summary, simulation: Simulation | None, csim: Csim | None
) -> None:
    """Prints all tables: layers, totals, outputs against the references, verdict."""
    head = f"{summary.model} on {summary.arch}: {r.count_text(summary.macs)} MACs"
    console.print(_cell(head, "bold"))
    console.print(layer_table(r.layer_rows(summary, simulation)))
    totals = _table(
        "Whole network", ("", False), ("predicted", True), ("simulated", True), ("ratio", True)
    )
    for item in r.comparisons(summary, simulation):
        totals.add_row(item.quantity, item.predicted, item.simulated, item.ratio)
    if totals.row_count:
        console.print(totals)
    else:
        console.print(_cell(r.NO_CYCLES))
    causes = r.cause_rows(simulation)
    if causes:
        table = _table(
            "Cycles of the array by cause", ("", False), ("cycles", True), ("share", True)
        )
        for cause, cycles, share in causes:
            table.add_row(_cell(cause), cycles, share)
        console.print(table)
    outputs = r.output_rows(simulation, csim)
    if outputs:
        table = _table(
            "Outputs: largest absolute error, signal-to-noise ratio",
            ("run", False),
            ("output", False),
            ("vs evaluate", True),
            ("vs onnxruntime", True),
            ("SNR onnxruntime", True),
            ("SNR torch", True),
        )
        for row in outputs:
            table.add_row(
                row.run,
                _cell(row.name),
                row.evaluate,
                row.onnxruntime,
                row.snr_onnxruntime,
                row.snr_torch,
            )
        console.print(table)
    if simulation is not None and simulation.host:
        console.print(_cell(f"On the host: {', '.join(simulation.host_names())}"))
    for text, style in verdicts(simulation, csim):
        console.print(_cell(text, style))


def verdicts(simulation: Simulation | None, csim: Csim | None) -> list[tuple[str, str]]:
    """One sentence with a style for each run that was made."""
    found = []
    for run, result in (("RTL simulation", simulation), ("C simulation", csim)):
        if result is None:
            continue
        count = result.mismatches
        plural = "" if count == 1 else "es"
        text = f"{run}: {r.count_text(count)} mismatch{plural} with evaluate()"
        found.append((text, "green" if count == 0 else "bold red"))
    return found
