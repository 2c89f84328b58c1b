"""The pipeline from a model to everything that is known of its hardware, as one list of steps."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import onnx

from dataflow import frontend, quantise
from dataflow.decide import HostMode, NodeDecision, decide
from dataflow.decide.decide import not_imported
from dataflow.decide.floats import is_float
from dataflow.errors import DataflowError
from dataflow.flow.bands import First, Patches, best_bands
from dataflow.frontend.onnx.cut import Parts
from dataflow.ir import Cascade
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import Machine
from dataflow.machine.program import Program
from dataflow.mapper import bound_in_parts, busy_cycles, map_network, tie_columns
from dataflow.program import build
from dataflow.progress import Progress, silent
from dataflow.rewrite.passes import Stage
from dataflow.timing.cycles import Prediction, predict

Bands = Literal["auto", "none"] | First | Patches
BANDS: tuple[Bands, ...] = ("auto", "none")

STEPS = ("import", "decide", "map", "schedule", "emit", "write")


@dataclass(frozen=True)
class Compiled:
    """Everything that compile makes, before it is written.

    Attributes:
        stages: the Cascade after each pass; the last one is what the hardware computes.
        parts: the models of the head, the machine's part and the tail, where the host has some.
    """

    model: onnx.ModelProto
    imported: Cascade
    stages: tuple[Stage, ...]
    graph: LayerGraph
    machine: Machine
    mapping: NetworkMapping
    program: Program
    prediction: Prediction
    parts: Parts | None = None

    @property
    def cascade(self) -> Cascade:
        """The last Cascade: results are compared with its ``evaluate()``."""
        return self.stages[-1].cascade


@dataclass
class Trials:
    """What the mappings that the mapper tries cost; the fastest are kept."""

    graph: LayerGraph
    machine: Machine
    kept: list[tuple[NetworkMapping, bytes, Prediction]] = field(default_factory=list)

    def judge(self, mapping: NetworkMapping) -> tuple[int, ...]:
        """Cycles of each layer as the cycle model of the machine predicts them."""
        program = build(self.graph, mapping, self.machine, blank=True)
        prediction = predict(program, self.machine)
        least = min((one.cycles for _, _, one in self.kept), default=prediction.cycles)
        if prediction.cycles < least:
            self.kept.clear()
        if prediction.cycles <= least:
            self.kept.append((mapping, program.code, prediction))
        return prediction.layers

    def of(self, mapping: NetworkMapping) -> tuple[Program, Prediction]:
        """Program and prediction of the mapping that the mapper chose: one of the fastest."""
        program = build(self.graph, mapping, self.machine)
        for tried, code, prediction in self.kept:
            if tried.tilings == mapping.tilings and tried.memory == mapping.memory:
                assert program.code == code, "what was judged is what was built"
                return program, prediction
        return program, predict(program, self.machine)


def run(
    model: Path,
    machine: Machine,
    objective: Sequence[str] = ("latency",),
    calibrate: Path | None = None,
    dims: Mapping[str, int] | None = None,
    progress: Progress = silent,
    *,
    host: HostMode = "auto",
    keep_float: quantise.KeepFloat = "auto",
    literal: bool = False,
    bands: Bands = "none",
) -> Compiled:
    """The pipeline without files.

    ``bands``: whether layers may run on bands of rows, or which do so or patch by patch
    (`dataflow.flow.bands`).

    Raises:
        DataflowError: `decide` refuses the model; all causes are listed, each with a fix. Or the
            layers that `bands` names cannot run so.
    """

    def step(name: str) -> None:
        progress(name, STEPS.index(name), len(STEPS))

    step("import")
    tie_columns(objective)  # refused before any work
    judge = judge_for(machine, host=host, literal=literal)
    proto = quantised(model, calibrate, dims or {}, keep_float, judge)
    step("decide")
    verdict = decide(proto, machine, dims or {}, host, literal=literal)
    graph = verdict.require()
    assert verdict.imported is not None
    step("map")
    stages = verdict.stages
    if isinstance(bands, First | Patches):
        floor = bound_in_parts(graph, machine)
        given = bands.made(stages, graph)
        stages, graph = given.stages, given.graph
        found = _mapped(graph, machine, objective).bounded(floor)
    else:
        found = _mapped(graph, machine, objective)
    if bands == "auto":
        others: dict[int, Mapped] = {}

        def mapped(other: LayerGraph) -> int:
            one = others[id(other)] = _mapped(other, machine, objective)
            return one.cycles

        banded = best_bands(stages, graph, found.mapping, machine, found.cycles, mapped)
        if banded is not None:
            floor = min(found.mapping.bound, bound_in_parts(graph, machine))
            stages, graph, found = banded.stages, banded.graph, others[id(banded.graph)]
            found = found.bounded(floor)
    step("schedule")
    program, prediction = found.trials.of(found.mapping)
    return Compiled(
        proto,
        verdict.imported,
        stages,
        graph,
        machine,
        found.mapping,
        program,
        prediction,
        verdict.parts,
    )


@dataclass(frozen=True, eq=False)
class Mapped:
    """A network's mapping, and what was tried for it."""

    trials: Trials
    mapping: NetworkMapping

    @property
    def cycles(self) -> int:
        """Predicted cycles of its program."""
        return self.trials.kept[0][2].cycles

    def bounded(self, floor: int) -> Mapped:
        """With the bound of the network that is not in bands: that of all its programs."""
        return replace(self, mapping=replace(self.mapping, bound=floor))


def _mapped(graph: LayerGraph, machine: Machine, objective: Sequence[str]) -> Mapped:
    trials = Trials(graph, machine)
    mapping = map_network(graph, machine, objective=tuple(objective), judge=trials.judge)
    return Mapped(trials, mapping)


def quantised(
    model: Path,
    calibrate: Path | None,
    dims: Mapping[str, int],
    keep_float: quantise.KeepFloat = "auto",
    judge: quantise.Judge | None = None,
) -> onnx.ModelProto:
    """The quantised model: as it is, or made from a float one with calibration data.

    ``judge`` is what `quantise.quantize_report` is told of the compiler.

    Raises:
        DataflowError: a float model without calibration data, or with unsupported operators, all
            of which are listed.
    """
    proto = frontend.load_proto(model)
    if not is_float(proto):
        if calibrate is not None:
            raise DataflowError(str(model), "is quantised already", "leave out --calibrate")
        return proto
    refused_at_import(proto, dims)
    if calibrate is None:
        raise DataflowError(
            str(model),
            "is a float model: the machine computes on int8 codes",
            "give calibration data, --calibrate X.npz (arrays by input name, samples along the "
            "first axis), or quantise it first: dataflow quantize MODEL --calibrate X.npz -o "
            "Q.onnx",
        )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "quantised.onnx"
        quantise.quantize_report(model, calibrate, path, keep_float=keep_float, judge=judge)
        return frontend.load_proto(path)


def judge_for(
    machine: Machine,
    dims: Mapping[str, int] | None = None,
    host: HostMode = "auto",
    *,
    literal: bool = False,
) -> quantise.Judge:
    """What `quantize` is told of the compiler: why it refuses a model, and what stays float."""

    def judge(model: onnx.ModelProto) -> quantise.Judgement:
        try:
            verdict = decide(model, machine, dims, host, literal=literal)
        except DataflowError as error:
            return quantise.Judgement(str(error))
        floats = tuple(
            quantise.FloatNode(row.name, row.operator, row.where)
            for row in verdict.nodes
            if computes_float(row)
        )
        refusal = "" if verdict.compiles else str(verdict.error())
        cycles = 0 if verdict.graph is None else busy_cycles(verdict.graph, machine)
        return quantise.Judgement(refusal, floats, cycles)

    return judge


def computes_float(row: NodeDecision) -> bool:
    """Whether a node of an int8 model has no int8 form: the host's, and what is refused for it."""
    if row.where:
        return row.arithmetic.startswith("float") or "softmax" in row.lowered.split(", ")
    own = row.how in ("einsums", "function")
    return bool(row.reason) and own and row.arithmetic.startswith("float")


def refused_at_import(proto: onnx.ModelProto, dims: Mapping[str, int]) -> None:
    """Raises DataflowError with the operators that no form of the model makes supported."""
    try:
        frontend.load_model(proto, dims)
    except frontend.UnsupportedModelError as error:
        raise not_imported(error).error() from error
