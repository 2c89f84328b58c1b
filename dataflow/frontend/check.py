"""The list of a model's operators: how each is lowered, where it runs, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from dataflow.frontend.coded import QUANTS, works_on_codes
from dataflow.frontend.importer import Imported, UnsupportedModelError, import_model
from dataflow.frontend.onnx.graph import Node
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access
from dataflow.ir.macs import NOMINAL, contraction_operands, counted_macs
from dataflow.ir.printing import format_einsum


@dataclass(frozen=True)
class CheckRow:
    """One ONNX node, or one Einsum of a text cascade.

    Attributes:
        name: the node's name.
        operator: its type, with the domain unless that is the standard one; the Einsum's text.
        shape: shape of its first output, where known.
        how: ``einsums`` of its own; through the ``function`` body of the operator; ``fused`` into
            the Einsums of other nodes; ``view``: an index map of the Einsums that read it;
            ``constant``: computed at import; on the ``host``; ``unused``; ``unsupported``.
        runs: ``array`` (contractions), ``vector`` (other arithmetic), ``dma`` (copies, gathers,
            scatters), several with ``+``, ``host``, or ``none``.
        lowered: names of the Einsums or kinds of host operations that do its work.
        macs: nominal multiply-accumulates.
        arithmetic: ``int``, the float type in which the work is done, or both with ``+``.
        note: what the import changed, such as a float bias that became int32.
        reason, fix: why it is unsupported and the nearest fix; empty otherwise.
    """

    name: str
    operator: str
    shape: str
    how: str
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
    """One row per node in graph order; of a model with unsupported nodes a row for each of those.

    Raises:
        DataflowError: when the file itself is bad.
    """
    try:
        imported = import_model(source, dims)
    except UnsupportedModelError as error:
        return _refused(error)
    named: dict[str, Einsum] = {e.name: e for e in imported.cascade.einsums}
    known = {(n.name, n.op) for n in imported.graph.nodes}
    return tuple(
        [_row(imported, node, named, known) for node in imported.graph.nodes]
        + [_plain(node, "unused", "not needed by any output") for node in imported.graph.dead]
    )


def check_cascade(cascade: Cascade) -> tuple[CheckRow, ...]:
    """One row per Einsum of a text cascade, with its text as the operator."""
    return tuple(
        CheckRow(
            name=einsum.name,
            operator=format_einsum(einsum),
            shape=str(list(cascade.tensors[einsum.output.tensor].shape)),
            how="einsums",
            runs=_unit(einsum),
            lowered=einsum.name,
            macs=counted_macs(cascade, einsum),
            arithmetic=_arithmetic(cascade, [einsum]),
        )
        for einsum in cascade.einsums
    )


def stayed_float(rows: Sequence[CheckRow]) -> tuple[CheckRow, ...]:
    """The nodes of a quantised model that compute in floats; none for a float model.

    Left out are nodes that are fused into others, such as a QuantizeLinear's division.
    """
    if not any(works_on_codes(row.operator.rpartition(".")[2]) for row in rows):
        return ()
    own = ("einsums", "function")
    return tuple(r for r in rows if r.how in own and r.arithmetic.startswith("float"))


QUANTISERS = ("QuantizeLinear", "DequantizeLinear", "BipolarQuant", "Trunc", *QUANTS)


def _row(
    imported: Imported, node: Node, named: Mapping[str, Einsum], known: set[tuple[str, str]]
) -> CheckRow:
    cascade = imported.cascade
    names = dict.fromkeys(imported.emitted.get(node.index, ()))
    einsums = [named[name] for name in names if name in named]
    host = list(dict.fromkeys(imported.emitted_host.get(node.index, ())))
    others = known - {(node.name, node.op)}
    own = [e for e in einsums if (e.source, e.operator) not in others]
    how = _how(imported, node, bool(own), bool(einsums), bool(host))
    done = own or einsums
    places = set() if how in ("view", "constant") else {_unit(e) for e in done}
    runs = "+".join(sorted(places)) or ("host" if host else "none")
    return CheckRow(
        name=node.name,
        operator=_qualified(node),
        shape=_shape(imported, node),
        how=how,
        runs=runs,
        lowered=", ".join([e.name for e in einsums] + host),
        macs=sum(counted_macs(cascade, e) for e in own),
        arithmetic=_arithmetic(cascade, own),
        note=imported.notes.get(node.index, ""),
    )


def _how(imported: Imported, node: Node, own: bool, emitted: bool, host: bool) -> str:
    if own:
        return "function" if node.index in imported.expanded else "einsums"
    if host:
        return "host"
    values = [imported.values[n] for n in node.outputs if n in imported.values]
    if values and all(v.constant is not None for v in values):
        return "constant"
    viewed = values and all(isinstance(v.expr, Access) and not v.chain for v in values)
    if emitted and not (viewed and node.op not in QUANTISERS):
        return "fused"
    return "view"


def _unit(einsum: Einsum) -> str:
    if contraction_operands(einsum) is not None:
        return "array" if not einsum.operator or einsum.operator in NOMINAL else "vector"
    moved = einsum.reduction is None or einsum.reduction.op == "last"
    return "dma" if moved and isinstance(einsum.expr, Access) else "vector"


def _arithmetic(cascade: Cascade, einsums: list[Einsum]) -> str:
    types = {cascade.tensors[e.output.tensor].dtype for e in einsums}
    kinds = {str(t) if t.is_float else "int" for t in types}
    return "+".join(sorted(kinds, reverse=True))


def _shape(imported: Imported, node: Node) -> str:
    for name in node.outputs:
        if name in imported.values:
            return str(list(imported.values[name].shape))
    return ""


def _plain(node: Node, how: str, lowered: str) -> CheckRow:
    return CheckRow(node.name, _qualified(node), "", how, "none", lowered, 0)


def _refused(error: UnsupportedModelError) -> tuple[CheckRow, ...]:
    return tuple(
        CheckRow(
            refusal.node.name,
            _qualified(refusal.node),
            refusal.shape,
            "unsupported",
            "unsupported",
            "",
            0,
            reason=refusal.reason,
            fix=refusal.fix,
        )
        for refusal in error.refusals
    )


def _qualified(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain not in ("", "ai.onnx") else node.op
