"""decide: the one function that says where each operator runs. `check` and `compile` ask it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import onnx

from dataflow.decide.host import HostMode, ends, forbidden, host_work
from dataflow.decide.rows import NodeDecision, cascade_rows, node_rows, qualified
from dataflow.decide.size import size_refusals
from dataflow.decide.units import placed
from dataflow.decide.verdict import Refusal, Verdict
from dataflow.frontend import Imported, UnsupportedModelError, import_model
from dataflow.ir.cascade import Cascade
from dataflow.ir.macs import contraction_operands
from dataflow.lower.lower import Lowered, layers_of
from dataflow.lower.pipeline import MACHINE
from dataflow.lower.refusal import Refused
from dataflow.machine import Machine
from dataflow.rewrite.legal import inexact_operators, legalisation
from dataflow.rewrite.passes import Stage, run_passes

NOT_BUILT = {
    "head": (
        "the host would run it before the machine (head), which no project does yet",
        "begin the model behind it, and compute it on the host",
    ),
    "tail": (
        "the host would run it behind the machine (tail), which no project does yet",
        "end the model before it, and compute it on the host",
    ),
}


def decide(
    model: str | Path | onnx.ModelProto,
    machine: Machine,
    dims: Mapping[str, int] | None = None,
    host: HostMode = "auto",
    *,
    literal: bool = False,
) -> Verdict:
    """What ``compile`` does with a quantised model: each node's place, or all that is refused.

    Args:
        model: as for ``frontend.import_model``.
        machine: sizes are judged for it.
        dims: sizes of symbolic dimensions.
        host: what the host may run: ``auto``, ``none`` (quantising, dequantising and packing
            alone) or ``contractions`` too.
        literal: without the rewrites that change rounding.

    Raises:
        DataflowError: the file itself is bad.
    """
    try:
        imported = import_model(model, dims)
    except UnsupportedModelError as error:
        return not_imported(error)
    stages, lowered = lowered_of(imported.cascade, literal=literal)
    cascades = [imported.cascade, *(s.cascade for s in stages)]
    found = placed(cascades, lowered.graph.layers, lowered.refused)
    rows = _hosted(imported, node_rows(imported, found), host)
    general: list[Refusal] = []
    if not lowered.refused:
        rows, general = _sized(imported, rows, lowered, machine)
    refusals = [*causes(rows), *_without_node(imported, lowered), *general]
    return Verdict(
        name=imported.cascade.name,
        nodes=rows,
        refusals=tuple(refusals),
        evaluates=True,
        host=host_work(imported.cascade),
        stages=stages,
        imported=imported.cascade,
        graph=None if refusals else lowered.graph,
    )


def decide_cascade(cascade: Cascade, machine: Machine) -> Verdict:
    """The same for a text cascade: a row for each Einsum."""
    stages, lowered = lowered_of(cascade)
    found = placed([cascade, *(s.cascade for s in stages)], lowered.graph.layers, lowered.refused)
    rows = cascade_rows(cascade, found)
    refusals = [Refusal(r.name, "Einsum", r.shape, r.reason, r.fix) for r in rows if r.reason]
    if not refusals:
        large = size_refusals(lowered.graph, machine)
        refusals = [Refusal(cascade.name, "", "", t.reason, t.fix) for t in large]
    return Verdict(
        name=cascade.name,
        nodes=rows,
        refusals=tuple(refusals),
        evaluates=True,
        host=host_work(cascade),
        stages=stages,
        imported=cascade,
        graph=None if refusals else lowered.graph,
    )


def causes(rows: Iterable[NodeDecision]) -> tuple[Refusal, ...]:
    """The refusals of nodes that are at fault themselves; of all, when each follows another."""
    refused = [r for r in rows if r.reason]
    own = [r for r in refused if not r.follows] or refused
    return tuple(Refusal(r.name, r.operator, r.shape, r.reason, r.fix) for r in own)


def lowered_of(cascade: Cascade, *, literal: bool = False) -> tuple[tuple[Stage, ...], Lowered]:
    """The Cascade after each pass of the pipeline, and its layers."""
    first = legalisation(literal=literal)
    stages = run_passes(cascade, (*first, *MACHINE))
    legal = stages[len(first) - 1].cascade
    lowered = layers_of(legal, stages[-1].cascade)
    known = {name for r in lowered.refused for name in r.einsums}
    inexact = [
        Refused(
            (e.name,),
            e.source,
            e.operator,
            f"uses {', '.join(names)} in float32, which has no exact algorithm",
            "quantise the model so that it becomes a table, or leave it at the end",
        )
        for e in legal.einsums
        if e.name not in known and (names := inexact_operators(e))
    ]
    return stages, replace(lowered, refused=(*lowered.refused, *inexact))


def not_imported(error: UnsupportedModelError) -> Verdict:
    """The verdict on a model that the import refused."""
    rows = tuple(
        NodeDecision(
            r.node.name,
            qualified(r.node),
            r.shape,
            "unsupported",
            (),
            reason=r.reason,
            fix=r.fix,
        )
        for r in error.refusals
    )
    refusals = tuple(Refusal(r.name, r.operator, r.shape, r.reason, r.fix) for r in rows)
    return Verdict(error.graph.name, rows, refusals, evaluates=False)


def _hosted(
    imported: Imported, rows: tuple[NodeDecision, ...], mode: HostMode
) -> tuple[NodeDecision, ...]:
    """The rows with what belongs on the host, and what must not stand there."""
    nodes = imported.graph.nodes
    machine = {n.index for n, r in zip(nodes, rows, strict=False) if _on_machine(r)}
    products = _products(imported)
    movable = {
        n.index
        for n, r in zip(nodes, rows, strict=False)
        if r.reason and (mode == "contractions" or n.index not in products)
    }
    fixed = {n.index for n, r in zip(nodes, rows, strict=False) if r.reason} - movable
    places = ends(nodes, machine | fixed, movable) if machine and mode != "none" else {}
    result = list(rows)
    for place, (node, row) in enumerate(zip(nodes, rows, strict=False)):
        if node.index in places:
            where = places[node.index]
            why, fix = NOT_BUILT[where]
            result[place] = replace(row, where=where, reason=f"{row.reason}; {why}", fix=fix)
        elif row.runs == ("host",) and forbidden(mode, dict.fromkeys(row.lowered.split(", "), "")):
            result[place] = replace(
                row,
                runs=(),
                reason=f"stands on the host ({row.lowered}), where --host none allows only "
                "quantising, dequantising and packing",
                fix="use --host auto, or end the model before it",
            )
    return tuple(result)


def _on_machine(row: NodeDecision) -> bool:
    return bool({"array", "vector", "dma"} & set(row.runs))


def _products(imported: Imported) -> set[int]:
    """Nodes that own a contraction."""
    named = {e.name: e for e in imported.cascade.einsums if contraction_operands(e) is not None}
    nodes = {n.index: n for n in imported.graph.nodes}
    return {
        index
        for index, names in imported.emitted.items()
        for name in names
        if name in named and index in nodes and named[name].source == nodes[index].name
    }


def _sized(
    imported: Imported, rows: tuple[NodeDecision, ...], lowered: Lowered, machine: Machine
) -> tuple[tuple[NodeDecision, ...], list[Refusal]]:
    """Rows and refusals of the network with what is too large."""
    general: list[Refusal] = []
    owner = {e.name: (e.source, e.operator) for e in imported.cascade.einsums}
    result = list(rows)
    places = {(r.name, r.operator.rpartition(".")[2]): k for k, r in enumerate(rows)}
    for large in size_refusals(lowered.graph, machine):
        at = next((places[owner[n]] for n in large.einsums if owner.get(n) in places), None)
        if at is None:
            where = f"network {imported.cascade.name}"
            general.append(Refusal(where, "", "", large.reason, large.fix))
        else:
            result[at] = replace(result[at], runs=(), reason=large.reason, fix=large.fix)
    return tuple(result), general


def _without_node(imported: Imported, lowered: Lowered) -> list[Refusal]:
    """Refused Einsums that belong to no node of the graph, such as those that make an output."""
    nodes = {(n.name, n.op) for n in imported.graph.nodes}
    owned = {name for names in imported.emitted.values() for name in names}
    return [
        Refusal(r.source or r.einsums[0], r.operator or "Einsum", "", r.reason, r.fix)
        for r in lowered.refused
        if (r.source, r.operator) not in nodes and not owned & set(r.einsums)
    ]
