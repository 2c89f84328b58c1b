"""A float model is judged by the int8 form that `compile --calibrate` would make of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from dataflow import frontend, quantise
from dataflow.decide.decide import causes, decide, not_imported
from dataflow.decide.host import HostMode
from dataflow.decide.rows import NodeDecision, node_rows
from dataflow.decide.units import UNITS, Placed
from dataflow.decide.verdict import Refusal, Verdict
from dataflow.errors import DataflowError
from dataflow.evaluate.limits import require_bounded
from dataflow.frontend import Imported, UnsupportedModelError
from dataflow.frontend.onnx.graph import Node
from dataflow.ir.macs import total_macs
from dataflow.machine import Machine
from dataflow.quantise.choice import FORMS
from dataflow.quantise.tool import Form

Array = np.ndarray
Quantiser = Callable[[onnx.ModelProto, Mapping[str, Array] | None, Form], onnx.ModelProto]
"""An int8 form of a float model, given a sample of each input unless a run would take long."""

MOST_BYTES, MOST_MACS = 1 << 28, 1 << 31
"""Tensors and products of the largest network that is run once when it is judged."""


def judge(
    model: str | Path | onnx.ModelProto,
    machine: Machine,
    dims: Mapping[str, int] | None = None,
    host: HostMode = "auto",
    quantiser: Quantiser = quantise.structural,
    *,
    literal: bool = False,
) -> Verdict:
    """What ``compile`` does with a model; of a float one, what ``compile --calibrate`` does with
    it when nothing is kept in float. Arguments and errors as `decide`."""
    proto = frontend.load_proto(model)
    if not is_float(proto):
        return decide(model, machine, dims, host, literal=literal)
    try:
        imported = frontend.import_model(model, dims)
    except UnsupportedModelError as error:
        return not_imported(error)
    try:
        require_bounded(imported.cascade, keep=True)  # as calibration would
        sample = _sample(imported)
        made = [
            decide(quantiser(_named(proto), sample, FORMS[0]), machine, dims, host, literal=literal)
        ]
        if not made[0].compiles:
            made += [
                decide(quantiser(_named(proto), sample, form), machine, dims, host, literal=literal)
                for form in FORMS[1:]
            ]
    except DataflowError as error:
        return _not_quantised(imported, error)
    verdict = next((v for v in made if v.compiles), made[0])
    rows = _float_rows(imported, verdict)
    refusals = causes(rows)
    own = {row.name for row in rows if row.reason}
    left = [r for r in verdict.refusals if r.name.removesuffix("_quant") not in own]
    return replace(
        verdict,
        name=imported.cascade.name,
        nodes=rows,
        refusals=(*refusals, *left),
        evaluates=True,
        imported=imported.cascade,
    )


def is_float(proto: onnx.ModelProto) -> bool:
    """Whether a model must be quantised before it is compiled."""
    if frontend.is_quantised(proto):
        return False
    weights = {tensor.name for tensor in proto.graph.initializer}
    kinds = {v.type.tensor_type.elem_type for v in proto.graph.input if v.name not in weights}
    return not kinds or not kinds <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def _sample(imported: Imported) -> dict[str, Array] | None:
    """A sample of each input; None when running the network is too much work."""
    cascade = imported.cascade
    moved = sum(tensor.bytes for tensor in cascade.tensors.values())
    if moved > MOST_BYTES or total_macs(cascade) > MOST_MACS:
        return None
    return {p.name: np.zeros(p.shape, p.dtype) for p in imported.graph.inputs}


def _named(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose nodes all have names of their own, by which the quantised ones are found."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node, name in zip(copy.graph.node, _names(copy.graph.node), strict=True):
        node.name = name
    return copy


def _names(nodes: Iterable[onnx.NodeProto | Node]) -> list[str]:
    """The nodes' names; that of the first result where there is none, or several have it."""
    listed = list(nodes)
    count = Counter(node.name for node in listed)
    results = [n.outputs if isinstance(n, Node) else n.output for n in listed]
    return [
        node.name if node.name and count[node.name] == 1 else next(iter(made), node.name)
        for node, made in zip(listed, results, strict=True)
    ]


def _not_quantised(imported: Imported, error: DataflowError) -> Verdict:
    name = imported.cascade.name
    refusal = Refusal(f"network {name}", "", "", error.what, error.fix)
    return Verdict(name, (), (refusal,), evaluates=True, imported=imported.cascade)


def _float_rows(imported: Imported, verdict: Verdict) -> tuple[NodeDecision, ...]:
    """The rows of the float nodes, each running where the int8 node in its place does."""
    by_name: dict[str, list[NodeDecision]] = {}
    for row in verdict.nodes:
        by_name.setdefault(row.name.removesuffix("_quant"), []).append(row)
    rows = node_rows(imported, Placed({}, {}))
    names = _names(imported.graph.nodes)
    names += [""] * (len(rows) - len(names))  # of those that no output needs
    return tuple(
        row if row.how in ("unused", "constant") else _placed(row, by_name.get(name, []))
        for row, name in zip(rows, names, strict=True)
    )


def _placed(row: NodeDecision, found: list[NodeDecision]) -> NodeDecision:
    if not found:
        return replace(row, runs=("none",), note="taken into the scales around it")
    found.sort(key=lambda r: r.follows)  # a cause before what follows from others
    refused = next((r for r in found if r.reason), None)
    if refused is not None:
        return replace(
            row,
            runs=(),
            where=refused.where,
            reason=refused.reason,
            fix=refused.fix,
            follows=refused.follows,
        )
    runs = tuple(u for u in UNITS if any(u in r.runs for r in found))
    busy = tuple(u for u in runs if u != "none")
    return replace(row, runs=busy or ("none",), where=next((r.where for r in found if r.where), ""))
