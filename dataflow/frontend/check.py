"""The list of a model's operators: how each is lowered, where it runs, what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from dataflow.frontend.graph import Graph, Node
from dataflow.frontend.importer import Imported, UnsupportedModelError, import_model
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32
from dataflow.ir.macs import contraction_operands, nominal_macs


@dataclass(frozen=True)
class CheckRow:
    """One ONNX node.

    Attributes:
        name: the node's name.
        operator: its type, with the domain unless that is the standard one.
        shape: shape of its first output, where known.
        runs: ``array``, ``vector``, ``array+vector``, ``host``, ``alias`` (no work of its own) or
            ``unsupported``.
        lowered: names of the Einsums or kinds of host operations that do its work.
        macs: nominal multiply-accumulates.
        arithmetic: ``int`` or ``float32``, where the work is done in.
        note: what the import changed, such as a float bias that became int32.
        reason, fix: why it is unsupported and the nearest fix; empty otherwise.
    """

    name: str
    operator: str
    shape: str
    runs: str
    lowered: str
    macs: int
    arithmetic: str = ""
    note: str = ""
    reason: str = ""
    fix: str = ""


def check(
    source: str | Path | onnx.ModelProto, dims: Mapping[str, int] | None = None
) -> tuple[CheckRow, ...]:
    """One row per node in graph order; unsupported nodes are rows, not errors.

    Raises:
        DataflowError: when the file itself is bad.
    """
    try:
        imported = import_model(source, dims)
    except UnsupportedModelError as error:
        return _refused(error)
    return tuple(
        [_row(imported, node) for node in imported.graph.nodes]
        + [_plain(node, "alias", "not needed by any output") for node in imported.graph.dead]
    )


def _row(imported: Imported, node: Node) -> CheckRow:
    cascade = imported.cascade
    names = dict.fromkeys(imported.emitted.get(node.index, ()))
    einsums = [e for e in cascade.einsums if e.name in names]
    host = list(dict.fromkeys(imported.emitted_host.get(node.index, ())))
    own = [e for e in einsums if e.source == node.name and e.operator == node.op]
    places = sorted({_unit(e) for e in own})
    runs = "+".join(places) if places else ("host" if host else "alias")
    lowered = ", ".join([e.name for e in einsums] + host)
    return CheckRow(
        name=node.name,
        operator=_qualified(node),
        shape=_shape(cascade, imported.graph, node),
        runs=runs,
        lowered=lowered,
        macs=sum(nominal_macs(cascade, e) for e in own),
        arithmetic=_arithmetic(cascade, own),
        note=imported.notes.get(node.index, ""),
    )


def _unit(einsum: Einsum) -> str:
    return "array" if contraction_operands(einsum) is not None else "vector"


def _arithmetic(cascade: Cascade, einsums: list[Einsum]) -> str:
    if not einsums:
        return ""
    stays = any(cascade.tensors[e.output.tensor].dtype == F32 for e in einsums)
    return "float32" if stays else "int"


def _shape(cascade: Cascade, graph: Graph, node: Node) -> str:
    labels = {t.label: t for t in cascade.tensors.values()}
    for name in node.outputs:
        if name in labels:
            return str(list(labels[name].shape))
    return ""


def _plain(node: Node, runs: str, lowered: str) -> CheckRow:
    return CheckRow(node.name, _qualified(node), "", runs, lowered, 0)


def _refused(error: UnsupportedModelError) -> tuple[CheckRow, ...]:
    refused = {r.node.index: r for r in error.refusals}
    rows = []
    for node in error.graph.nodes:
        refusal = refused.get(node.index)
        if refusal is None:
            rows.append(_plain(node, "", ""))
            continue
        rows.append(
            CheckRow(
                node.name,
                _qualified(node),
                refusal.shape,
                "unsupported",
                "",
                0,
                reason=refusal.reason,
                fix=refusal.fix,
            )
        )
    return tuple(rows)


def _qualified(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain not in ("", "ai.onnx") else node.op
