"""decide: the one function that says where each operator runs. `check` and `compile` ask it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import onnx

from dataflow.decide.host import HostMode, forbidden, host_work
from dataflow.decide.judged import Judged, lowered_of
from dataflow.decide.named import with_named_causes
from dataflow.decide.parts import with_ends
from dataflow.decide.rows import NodeDecision, cascade_rows, qualified
from dataflow.decide.size import size_refusals
from dataflow.decide.units import placed
from dataflow.decide.verdict import Refusal, Verdict
from dataflow.frontend import Imported, UnsupportedModelError, import_model
from dataflow.ir.cascade import Cascade
from dataflow.lower.lower import Lowered
from dataflow.machine import Machine


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
    first = Judged.of(imported, machine, literal=literal)
    hosted = None if host == "none" else with_ends(model, machine, first, host, literal=literal)
    found = first if hosted is None else hosted.body
    rows = found.rows
    general: list[Refusal] = []
    if not found.lowered.refused:
        rows, general = _sized(found.imported, rows, found.lowered, machine)
    without = _without_node(found.imported, found.lowered)
    cascade = found.imported.cascade if hosted is None else hosted.whole(found.imported.cascade)
    stages = found.stages
    if hosted is not None:
        rows = hosted.rows(rows)
        stages = tuple(replace(s, cascade=hosted.whole(s.cascade)) for s in stages)
    if host == "none":
        rows = tuple(_allowed(row) for row in rows)
    rows = with_named_causes(imported, rows)
    refusals = [*causes(rows), *without, *general]
    if found.lowered.refused and not refusals:  # of what a rewrite has made, which no row is of
        refusals = [
            Refusal(r.source, r.operator, "", r.reason, r.fix) for r in found.lowered.refused
        ]
    return Verdict(
        name=imported.cascade.name,
        nodes=rows,
        refusals=tuple(refusals),
        evaluates=True,
        host=host_work(cascade),
        stages=stages,
        imported=cascade,
        graph=None if refusals else found.lowered.graph,
        parts=None if hosted is None else hosted.parts,
    )


def decide_cascade(cascade: Cascade, machine: Machine) -> Verdict:
    """The same for a text cascade: a row for each Einsum."""
    stages, lowered = lowered_of(cascade, machine)
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


def _allowed(row: NodeDecision) -> NodeDecision:
    """The row under ``--host none``."""
    if row.runs != ("host",) or not forbidden("none", dict.fromkeys(row.lowered.split(", "), "")):
        return row
    return replace(
        row,
        runs=(),
        reason=f"stands on the host ({row.lowered}), where --host none allows only "
        "quantising, dequantising and packing",
        fix="use --host auto, or end the model before it",
    )


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
