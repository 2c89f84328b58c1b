"""The result files of an output folder as typed values: summary, simulation, csim.

The keys are those of the contract; what a file has beyond them is kept out. A file that lacks one
is an error that names it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataflow.errors import DataflowError
from dataflow.units import format_bytes


class Result(BaseModel):
    """Values of a file that this package wrote; other keys are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Predicted(Result):
    """What the cycle model says of the whole program. ``seconds`` at the modelled clock.

    It is a model of the RTL: None when only the HLS project was made.
    """

    cycles: int | None
    seconds: float | None
    mac_utilization: float | None
    dram_read_bytes: int | None
    dram_write_bytes: int | None
    energy_pj: float | None


class Bound(Result):
    """What no mapping can beat on the RTL; None when only the HLS project was made."""

    cycles: int | None


class LayerPrediction(Result):
    """One layer (fusion group) of the program, in execution order."""

    name: str
    operator: str = ""
    cycles: int | None = Field(default=None, alias="predicted_cycles")
    macs: int = 0
    mac_utilization: float | None = None
    bound_cycles: int | None = None
    dram_read_bytes: int | None = None
    dram_write_bytes: int | None = None
    mapping: str = ""


class RewriteResult(Result):
    """A pass that changed so many Einsums."""

    name: str
    exact: bool
    einsums: int


class Summary(Result):
    """``report/summary.json``, written by compile."""

    model: str
    arch: str
    macs: int
    predicted: Predicted
    bound: Bound
    layers: tuple[LayerPrediction, ...]
    rewrites: tuple[RewriteResult, ...] = ()
    snr_db_vs_imported: dict[str, float | None] = {}
    compile_seconds: float

    def changed_rounding(self) -> str:
        """What the rewrites that change rounding did, in a line; empty where none did."""
        # The order of float sums is no change: the model leaves it open.
        inexact = [r for r in self.rewrites if not r.exact and r.name != "reduction-order"]
        if not inexact:
            return ""
        what = ", ".join(f"{one.name} ({one.einsums})" for one in inexact)
        ratios = [ratio for ratio in self.snr_db_vs_imported.values() if ratio is not None]
        worst = f"{min(ratios):.1f} dB" if ratios else "no output differs"
        return f"rounding changed by {what}: {worst} against the model as written, stored input"


class OutputError(Result):
    """How far an output is from a reference, in output units; None: not compared."""

    max_abs_error_vs_evaluate: float | None = None
    max_abs_error_vs_onnxruntime: float | None = None
    snr_db_vs_onnxruntime: float | None = None
    snr_db_vs_torch: float | None = None


class SimulatedLayer(Result):
    """Counted cycles of a layer; ``stalls`` are those of the array, by cause."""

    name: str
    cycles: int
    predicted_cycles: int | None = None
    mac_utilization: float | None = None
    stalls: dict[str, int] = {}


class SelfTestResult(Result):
    """``self_test`` of ``report/simulation.json``: the micro-networks on the same simulator."""

    cases: int
    values: int
    mismatches: int
    cycle_errors: int
    wrong: tuple[str, ...] = ()


class HostPart(Result):
    """What the host does for an operator; ``where``: in front of the machine or behind it."""

    name: str
    operator: str
    where: str
    operations: int
    bytes: int

    def __str__(self) -> str:
        work = f"{self.operations} operations, " if self.operations else ""
        return f"{self.operator} {self.name} ({work}{format_bytes(self.bytes)})"


class Simulation(Result):
    """``report/simulation.json``, written by simulate."""

    cycles: int
    predicted_cycles: int
    cycle_error: float
    mac_utilization: float
    mismatches: int
    outputs: dict[str, OutputError]
    dram_read_bytes: int
    dram_write_bytes: int
    predicted_dram_read_bytes: int
    predicted_dram_write_bytes: int
    layers: tuple[SimulatedLayer, ...]
    cycles_by_cause: dict[str, int] = {}
    self_test: SelfTestResult | None = None
    program_bytes: int
    host: tuple[HostPart | str | dict[str, object], ...]
    build_seconds: float
    simulation_seconds: float

    def host_names(self) -> tuple[str, ...]:
        """One readable text for each operation that the host does."""
        return tuple(
            " ".join(str(value) for value in item.values()) if isinstance(item, dict) else str(item)
            for item in self.host
        )


class Csim(Result):
    """``report/csim.json``, written by csim."""

    mismatches: int
    outputs: dict[str, OutputError]
    build_seconds: float
    run_seconds: float


class Counts(Result):
    """What a design or a module takes of a device."""

    lut: int
    ff: int
    dsp: int
    bram: int


class Implementation(Counts):
    """``report/implementation.json``, written by implement.

    Attributes:
        fmax_mhz, bitstream: None where the device has no open place and route, or does not hold
            the design; the bitstream is a path in the output folder.
        modules: each module without those that it instantiates.
        estimate: the compiler's, before synthesis.
        capacity: of the device.
    """

    device: str
    tool_versions: dict[str, str]
    fmax_mhz: float | None
    fits: bool
    bitstream: str | None
    modules: dict[str, Counts]
    estimate: Counts
    capacity: Counts
    top: str
    speed_grade: int | None
    seconds: float


_ResultT = TypeVar("_ResultT", bound=Result)


def load_result(path: Path, model: type[_ResultT], command: str) -> _ResultT:
    """A result file as values. Raises DataflowError: it is missing or wrong."""
    fix = f"run dataflow {command} again"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataflowError(str(path), "cannot be read as JSON", fix) from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataflowError(f"{path}: {key}", first["msg"].lower(), fix) from error


def report_dir(out: Path) -> Path:
    """The folder of the result files of an output folder."""
    return out / "report"


def load_summary(out: Path) -> Summary:
    """The summary of ``out``. Raises DataflowError when it is missing or wrong."""
    return load_result(report_dir(out) / "summary.json", Summary, "compile")


def load_simulation(out: Path) -> Simulation | None:
    """The simulation of ``out``, None when it has not been run. Raises DataflowError."""
    path = report_dir(out) / "simulation.json"
    return load_result(path, Simulation, "simulate") if path.exists() else None


def load_csim(out: Path) -> Csim | None:
    """The C simulation of ``out``, None when it has not been run. Raises DataflowError."""
    path = report_dir(out) / "csim.json"
    return load_result(path, Csim, "csim") if path.exists() else None


def load_implementation(out: Path) -> Implementation | None:
    """The implementation of ``out``, None when there is none. Raises DataflowError."""
    path = report_dir(out) / "implementation.json"
    return load_result(path, Implementation, "implement") if path.exists() else None
