"""The report page: one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataflow.files import write_atomic
from dataflow.report import rows as r
from dataflow.report.figure import figure
from dataflow.report.html import render_html
from dataflow.report.memory import MemoryFile, load_memory, memory_figure
from dataflow.report.picture import PICTURE_NAME, picture_text
from dataflow.report.results import (
    Csim,
    Simulation,
    Summary,
    load_csim,
    load_simulation,
    load_summary,
    report_dir,
)
from dataflow.report.table import verdicts

PAGE_NAME = "index.html"


@dataclass(frozen=True)
class LayerView:
    """A row of the layer table, as text."""

    name: str
    operator: str
    macs: str
    predicted: str
    simulated: str
    ratio: str
    off: bool
    utilization: str
    read: str
    written: str
    stalls: str


@dataclass(frozen=True)
class Card:
    """A number at the top of the page."""

    label: str
    value: str
    note: str
    style: str


@dataclass(frozen=True)
class Report:
    """A written page and what it shows."""

    page: Path
    summary: Summary
    simulation: Simulation | None
    csim: Csim | None


def _layer_view(row: r.LayerRow) -> LayerView:
    return LayerView(
        name=r.printable(row.name),
        operator=r.printable(row.operator),
        macs=r.count_text(row.macs),
        predicted=r.count_text(row.predicted),
        simulated=r.count_text(row.simulated),
        ratio=r.ratio_text(row.ratio),
        # 3 % is what the cycle model promises for a network
        off=row.ratio is not None and abs(row.ratio - 1) > 0.03,
        utilization=r.percent_text(row.mac_utilization),
        read=r.bytes_text(row.read_bytes),
        written=r.bytes_text(row.write_bytes),
        stalls=", ".join(f"{r.printable(cause)} {r.count_text(n)}" for cause, n in row.stalls)
        or r.NOTHING,
    )


def _cards(summary: Summary, simulation: Simulation | None, csim: Csim | None) -> list[Card]:
    predicted, cards = summary.predicted, []
    if simulation is not None:
        error = f"predicted {r.count_text(simulation.predicted_cycles)}"
        cards.append(Card("cycles, simulated", r.count_text(simulation.cycles), error, ""))
        cards.append(
            Card("cycle error", f"{100 * simulation.cycle_error:+.2f} %", "predicted vs RTL", "")
        )
        cards.append(
            Card("array utilisation", r.percent_text(simulation.mac_utilization), "simulated", "")
        )
    elif predicted.cycles is not None:
        gap = predicted.cycles / summary.bound.cycles - 1 if summary.bound.cycles else 0.0
        note = f"{100 * gap:.1f} % above the bound"
        cards.append(Card("cycles, predicted", r.count_text(predicted.cycles), note, ""))
        cards.append(
            Card("array utilisation", r.percent_text(predicted.mac_utilization), "predicted", "")
        )
    for label, result in (("RTL mismatches", simulation), ("HLS mismatches", csim)):
        if result is not None:
            style = "good" if result.mismatches == 0 else "bad"
            cards.append(Card(label, r.count_text(result.mismatches), "vs evaluate()", style))
    if predicted.seconds is not None and predicted.energy_pj is not None:
        milliseconds, energy = f"{1e3 * predicted.seconds:.3f} ms", predicted.energy_pj / 1e6
        cards.append(Card("latency, modelled", milliseconds, "predicted cycles / clock", ""))
        cards.append(Card("energy, modelled", f"{energy:.1f} µJ", "predicted", ""))
    return cards


def _figure_text(summary: Summary, simulation: Simulation | None) -> str:
    if simulation is not None:
        return "Simulated cycles of each layer by cause; the bar's mark is the prediction."
    return (
        f"{r.NO_CYCLES}." if summary.predicted.cycles is None else "Predicted cycles of each layer."
    )


def _limits(summary: Summary, simulation: Simulation | None) -> str:
    """What is known beside the counts of the model."""
    if summary.predicted.cycles is None:
        return r.NO_CYCLES
    program = r.NOTHING if simulation is None else r.bytes_text(simulation.program_bytes)
    bound = r.count_text(summary.bound.cycles)
    return f"no mapping can need fewer than {bound} cycles; program {program}"


def page_text(
    summary: Summary,
    simulation: Simulation | None,
    csim: Csim | None,
    memory: MemoryFile | None = None,
) -> str:
    """The HTML of the page."""
    rows = r.layer_rows(summary, simulation)
    seconds = [("compile", summary.compile_seconds)]
    if simulation is not None:
        seconds += [
            ("Verilator build", simulation.build_seconds),
            ("RTL simulation", simulation.simulation_seconds),
        ]
    if csim is not None:
        seconds += [("g++ build", csim.build_seconds), ("C simulation", csim.run_seconds)]
    return render_html(
        "report/index.html.j2",
        model=r.printable(summary.model),
        arch=r.printable(summary.arch),
        macs=r.count_text(summary.macs),
        limits=_limits(summary, simulation),
        cards=_cards(summary, simulation, csim),
        comparisons=r.comparisons(summary, simulation),
        layers=[_layer_view(row) for row in rows],
        causes=r.cause_rows(simulation),
        figure=figure(rows),
        figure_text=_figure_text(summary, simulation),
        memory=None if memory is None else memory_figure(memory),
        simulated=simulation is not None,
        outputs=r.output_rows(simulation, csim),
        host=[] if simulation is None else [r.printable(n) for n in simulation.host_names()],
        verdicts=verdicts(simulation, csim),
        seconds=[(what, f"{value:.1f} s") for what, value in seconds],
    )


def write_report(out: Path) -> Report:
    """Writes ``OUT/report/index.html`` and ``layers.svg`` from the result files.

    Raises:
        DataflowError: a result file is missing, or a file cannot be written.
    """
    summary, simulation, csim = load_summary(out), load_simulation(out), load_csim(out)
    page = report_dir(out) / PAGE_NAME
    write_atomic(page, page_text(summary, simulation, csim, load_memory(out)).encode())
    picture = picture_text(summary, simulation)
    write_atomic(report_dir(out) / PICTURE_NAME, picture.encode())
    return Report(page, summary, simulation, csim)
