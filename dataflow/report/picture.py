"""The layers of a run as one picture, an SVG file that stands alone (README, slides)."""

from __future__ import annotations

from dataflow.report import rows as r
from dataflow.report.figure import LABEL, WIDTH, figure
from dataflow.report.html import render_html
from dataflow.report.results import Simulation, Summary

PICTURE_NAME = "layers.svg"
TOP = 52
BOTTOM = 30


def picture_text(summary: Summary, simulation: Simulation | None) -> str:
    """The SVG: of each layer the simulated cycles by cause, above the predicted ones.

    Args:
        summary: of compile.
        simulation: of simulate; None: the predicted cycles alone.
    """
    drawn = figure(r.layer_rows(summary, simulation))
    if simulation is None:
        cycles, busy, verdict = summary.predicted.cycles, summary.predicted.mac_utilization, ""
    else:
        cycles, busy = simulation.cycles, simulation.mac_utilization
        verdict = (
            f"; predicted {r.count_text(simulation.predicted_cycles)}; "
            f"{r.count_text(simulation.mismatches)} mismatches with evaluate()"
        )
    kind = "predicted" if simulation is None else "simulated"
    counted = r.NO_CYCLES if cycles is None else f"{r.count_text(cycles)} cycles {kind}"
    share = "" if cycles is None else f"; {r.percent_text(busy)} of the multipliers busy"
    return render_html(
        "report/layers.svg.j2",
        title=f"{r.printable(summary.model)} on {r.printable(summary.arch)}",
        subtitle=f"{counted}{verdict}{share}",
        width=WIDTH,
        height=TOP + drawn.height + BOTTOM,
        top=TOP,
        left=LABEL,
        bars=drawn.bars,
        legend=[(90 + LABEL + 150 * place, item) for place, item in enumerate(drawn.legend)],
        key_y=TOP + drawn.height + 18,
        simulated=simulation is not None,
    )
