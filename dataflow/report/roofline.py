"""The roofline of a mapping: operations a cycle over operations for each byte, a point an Einsum.

Drawn by matplotlib (the extra ``plot``) as SVG; the same input gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from dataflow.arch import Architecture
from dataflow.cost.evaluate import mac_units
from dataflow.errors import DataflowError
from dataflow.report.maps import roofline
from dataflow.search.network import Found


def roofline_svg(found: Found, arch: Architecture) -> bytes:
    """The plot.

    The roof is the bandwidth of the outermost memory's ports and the multipliers' operations a
    cycle. Einsums that move nothing off chip have no place on the axis; the title counts them.
    Raises DataflowError without matplotlib.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise DataflowError(
            "--roofline", "needs matplotlib", "install the extra: pip install 'dataflow[plot]'"
        ) from error
    matplotlib.use("svg")
    from matplotlib import pyplot

    rows = roofline(found, arch)
    placed = [row for row in rows if row["intensity"] and row["per_cycle"]]
    bounds = list(dict.fromkeys(str(row["bound_by"]) for row in placed))
    with pyplot.rc_context({"svg.hashsalt": "dataflow", "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
        for bound in bounds:
            mine = [row for row in placed if row["bound_by"] == bound]
            x = [float(str(row["intensity"])) for row in mine]
            y = [float(str(row["per_cycle"])) for row in mine]
            axes.scatter(x, y, s=18, label=f"{bound} ({len(mine)})")
        _roof(axes, [float(str(row["intensity"])) for row in placed], arch)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"operations / byte of {arch.memories[0].name}")
        axes.set_ylabel("operations / cycle")
        hidden = len(rows) - len(placed)
        rest = f"; {hidden} Einsums move nothing off chip" if hidden else ""
        axes.set_title(f"{arch.name}: what bounds each Einsum{rest}", parse_math=False)
        if bounds:
            axes.legend(title="bound by", fontsize="small")
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return out.getvalue()


def _roof(axes: Any, intensities: Sequence[float], arch: Architecture) -> None:
    """The bandwidth's slope up to the multipliers' level; without a bandwidth only the level."""
    peak = float(mac_units(arch))
    rates = [port.bits_per_cycle for port in arch.memories[0].ports]
    if not intensities or not peak:
        return
    low, high = min(intensities) / 2, max(intensities) * 2
    axes.axhline(peak, color="black", linewidth=1)
    if all(rate is not None for rate in rates):
        each = sum(p.count * float(p.bits_per_cycle or 0) for p in arch.memories[0].ports) / 8
        ridge = peak / each
        high = max(high, 2 * ridge)
        axes.plot([low, ridge], [each * low, peak], color="black", linewidth=1)
    axes.set_xlim(low, high)
