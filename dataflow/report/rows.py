"""The tables of a report as finished rows of text and numbers: predicted beside simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dataflow.report.results import Csim, OutputError, Simulation, Summary
from dataflow.units import format_bytes

NOTHING = "-"
NO_CYCLES = "no cycles are predicted: the HLS project has no model of its own"


@dataclass(frozen=True)
class LayerRow:
    """A layer; numbers are None where they were not predicted or not simulated.

    ``ratio`` = predicted / simulated cycles.
    """

    name: str
    operator: str
    macs: int
    predicted: int | None
    simulated: int | None
    ratio: float | None
    mac_utilization: float | None
    read_bytes: int | None
    write_bytes: int | None
    stalls: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Comparison:
    """A quantity that was predicted and then counted."""

    quantity: str
    predicted: str
    simulated: str
    ratio: str
    equal: bool


@dataclass(frozen=True)
class OutputRow:
    """An output against its references, as text."""

    run: str
    name: str
    evaluate: str
    onnxruntime: str
    snr_onnxruntime: str
    snr_torch: str


def layer_rows(summary: Summary, simulation: Simulation | None) -> tuple[LayerRow, ...]:
    """One row for each layer, in execution order; layers are matched by position and name."""
    if simulation is None:
        return tuple(
            LayerRow(
                name=layer.name,
                operator=layer.operator,
                macs=layer.macs,
                predicted=layer.cycles,
                simulated=None,
                ratio=None,
                mac_utilization=layer.mac_utilization,
                read_bytes=layer.dram_read_bytes,
                write_bytes=layer.dram_write_bytes,
                stalls=(),
            )
            for layer in summary.layers
        )
    by_name = {layer.name: layer for layer in summary.layers}
    rows = []
    for layer in simulation.layers:
        known = by_name.get(layer.name)
        predicted = layer.predicted_cycles
        if predicted is None and known is not None:
            predicted = known.cycles
        rows.append(
            LayerRow(
                name=layer.name,
                operator=known.operator if known else "",
                macs=known.macs if known else 0,
                predicted=predicted,
                simulated=layer.cycles,
                ratio=_ratio(predicted, layer.cycles),
                mac_utilization=layer.mac_utilization,
                read_bytes=known.dram_read_bytes if known else None,
                write_bytes=known.dram_write_bytes if known else None,
                stalls=tuple((cause, count) for cause, count in layer.stalls.items() if count),
            )
        )
    return tuple(rows)


CAUSES = {
    "full": "multipliers busy",
    "unfilled": "rows or columns without work",
    "tile": "waiting for an input tile",
    "accumulator": "waiting for an accumulator",
    "weights": "waiting for weights, or loading them",
    "idle": "no work for the array: start, drain, vector unit alone",
}
"""Texts of the causes in `simulation.json`; another cause is shown by its name."""


def cause_rows(simulation: Simulation | None) -> tuple[tuple[str, str, str], ...]:
    """(cause, cycles, share of all cycles) of the whole run, causes without a cycle left out."""
    if simulation is None:
        return ()
    return tuple(
        (CAUSES.get(name, name), count_text(count), percent_text(count / simulation.cycles))
        for name, count in simulation.cycles_by_cause.items()
        if count
    )


def _ratio(predicted: int | None, simulated: int | None) -> float | None:
    if predicted is None or not simulated:
        return None
    return predicted / simulated


def comparisons(summary: Summary, simulation: Simulation | None) -> tuple[Comparison, ...]:
    """Cycles, utilisation and DRAM bytes: predicted, counted in simulation, and their ratio.

    Nothing when neither was done: only the HLS project was made.
    """
    predicted = summary.predicted
    if simulation is None:
        pairs: list[tuple[str, float | None, float | None]] = [
            ("cycles", predicted.cycles, None),
            ("array utilisation", predicted.mac_utilization, None),
            ("DRAM bytes read", predicted.dram_read_bytes, None),
            ("DRAM bytes written", predicted.dram_write_bytes, None),
        ]
    else:
        pairs = [
            ("cycles", simulation.predicted_cycles, simulation.cycles),
            ("array utilisation", predicted.mac_utilization, simulation.mac_utilization),
            (
                "DRAM bytes read",
                simulation.predicted_dram_read_bytes,
                simulation.dram_read_bytes,
            ),
            (
                "DRAM bytes written",
                simulation.predicted_dram_write_bytes,
                simulation.dram_write_bytes,
            ),
        ]
    return tuple(
        Comparison(
            quantity=quantity,
            predicted=_number(quantity, expected),
            simulated=_number(quantity, counted),
            ratio=ratio_text(expected / counted if counted and expected is not None else None),
            equal=counted is None or _number(quantity, expected) == _number(quantity, counted),
        )
        for quantity, expected, counted in pairs
        if expected is not None or counted is not None
    )


def _number(quantity: str, value: float | None) -> str:
    return percent_text(value) if "utilisation" in quantity else count_text(value)


def output_rows(simulation: Simulation | None, csim: Csim | None) -> tuple[OutputRow, ...]:
    """Every output of the RTL simulation, then of the C simulation."""
    runs: list[tuple[str, dict[str, OutputError]]] = []
    if simulation is not None:
        runs.append(("RTL", simulation.outputs))
    if csim is not None:
        runs.append(("HLS", csim.outputs))
    return tuple(
        OutputRow(
            run=run,
            name=name,
            evaluate=error_text(item.max_abs_error_vs_evaluate),
            onnxruntime=error_text(item.max_abs_error_vs_onnxruntime),
            snr_onnxruntime=_snr(item.snr_db_vs_onnxruntime, item.max_abs_error_vs_onnxruntime),
            snr_torch=snr_text(item.snr_db_vs_torch),
        )
        for run, outputs in runs
        for name, item in outputs.items()
    )


def _snr(value: float | None, error: float | None) -> str:
    """The ratio of equal outputs is infinite, for which JSON has no number: the error says it."""
    return snr_text(math.inf if error == 0 else value)


def count_text(value: float | None) -> str:
    """``12501632`` as ``12,501,632``."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent_text(value: float | None) -> str:
    """A fraction as a percentage with one decimal."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def ratio_text(value: float | None) -> str:
    """A ratio with three decimals, ``1`` only when it is exactly one."""
    if value is None:
        return NOTHING
    return "1" if value == 1 else f"{value:.4f}"


def bytes_text(value: int | None) -> str:
    """Bytes with a binary unit."""
    return NOTHING if value is None else format_bytes(value)


def error_text(value: float | None) -> str:
    """A maximum absolute error; exact equality is a plain 0."""
    if value is None:
        return NOTHING
    return "0" if value == 0 else f"{value:.3g}"


def snr_text(value: float | None) -> str:
    """A signal-to-noise ratio in dB; infinite when the values are equal."""
    if value is None:
        return NOTHING
    return "equal" if math.isinf(value) and value > 0 else f"{value:.1f} dB"


def printable(text: str) -> str:
    """``text`` with control characters shown as escapes: names in a model are not trusted."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
