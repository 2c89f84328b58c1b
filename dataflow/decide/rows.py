"""One row for each ONNX node, from what its Einsums became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataflow.decide import fault
from dataflow.decide.units import Placed, Unit
from dataflow.frontend import Imported, works_on_codes
from dataflow.frontend.coded import QUANTS
from dataflow.frontend.onnx.graph import Node
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access
from dataflow.ir.macs import counted_macs
from dataflow.ir.printing import format_einsum
from dataflow.lower.refusal import Refused

QUANTISERS = ("QuantizeLinear", "DequantizeLinear", "BipolarQuant", "Trunc", *QUANTS)


@dataclass(frozen=True)
class NodeDecision:
    """One ONNX node, or one Einsum of a text cascade.

    Attributes:
        name: the node's name.
        operator: its type, with the domain unless that is the standard one; the Einsum's text.
        shape: shape of its first output; of its inputs where the import refused it.
        how: ``einsums`` of its own; through the ``function`` body of the operator; ``fused`` into
            the Einsums of other nodes; ``view``: an index map of the Einsums that read it;
            ``constant``: computed at import; on the ``host``; ``unused``; ``unsupported``.
        runs: of ``array``, ``vector``, ``dma``, ``host``, ``none``; empty when refused.
        where: ``head`` or ``tail`` for what the host does before and behind the machine.
        lowered: names of the Einsums or kinds of host operations that do its work.
        macs: nominal multiply-accumulates.
        arithmetic: ``int``, the float type in which the work is done, or both with ``+``.
        note: what the import changed, such as a float bias that became int32.
        reason, fix: why it is refused and the nearest fix; empty otherwise.
        follows: the node that is refused itself, and because of which this one is.
    """

    name: str
    operator: str
    shape: str
    how: str
    runs: tuple[Unit, ...]
    where: str = ""
    lowered: str = ""
    macs: int = 0
    arithmetic: str = ""
    note: str = ""
    reason: str = ""
    fix: str = ""
    follows: str = ""


def node_rows(imported: Imported, placed: Placed) -> tuple[NodeDecision, ...]:
    """All nodes in graph order, those that no output needs last."""
    named: dict[str, Einsum] = {e.name: e for e in imported.cascade.einsums}
    known = {(n.name, n.op) for n in imported.graph.nodes}
    stages: dict[str, str] = {}
    stages |= {op.op: "head" if op.stage == "before" else "tail" for op in imported.cascade.host}
    rows = [_row(imported, n, named, known, placed, stages) for n in imported.graph.nodes]
    dead = [
        NodeDecision(
            n.name, qualified(n), "", "unused", ("none",), lowered="not needed by any output"
        )
        for n in imported.graph.dead
    ]
    return tuple(rows + dead)


def cascade_rows(cascade: Cascade, placed: Placed) -> tuple[NodeDecision, ...]:
    """One row per Einsum of a text cascade, with its text as the operator."""
    rows = []
    for einsum in cascade.einsums:
        refused = placed.refused.get(einsum.name)
        rows.append(
            NodeDecision(
                name=einsum.name,
                operator=format_einsum(einsum),
                shape=str(list(cascade.tensors[einsum.output.tensor].shape)),
                how="einsums",
                runs=() if refused else placed.runs([einsum.name]) or ("none",),
                lowered=einsum.name,
                macs=counted_macs(cascade, einsum),
                arithmetic=_arithmetic(cascade, [einsum]),
                reason=refused.reason if refused else "",
                fix=refused.fix if refused else "",
            )
        )
    return tuple(rows)


def stayed_float(rows: Sequence[NodeDecision]) -> tuple[NodeDecision, ...]:
    """The nodes of a quantised model that compute in floats; none for a float model.

    Left out are nodes that are fused into others, such as a QuantizeLinear's division, and the
    quantisers themselves: their other side is float by definition, on the host too.
    """
    if not any(_quantises(row) for row in rows):
        return ()
    own = ("einsums", "function", "host")
    return tuple(
        r for r in rows if r.how in own and r.arithmetic.startswith("float") and not _quantises(r)
    )


def _quantises(row: NodeDecision) -> bool:
    return works_on_codes(row.operator.rpartition(".")[2])


def qualified(node: Node) -> str:
    """The operator, with its domain unless that is the standard one."""
    return f"{node.domain}.{node.op}" if node.domain not in ("", "ai.onnx") else node.op


def _row(
    imported: Imported,
    node: Node,
    named: Mapping[str, Einsum],
    known: set[tuple[str, str]],
    placed: Placed,
    stages: Mapping[str, str],
) -> NodeDecision:
    cascade = imported.cascade
    names = dict.fromkeys(imported.emitted.get(node.index, ()))
    einsums = [named[name] for name in names if name in named]
    host = list(dict.fromkeys(imported.emitted_host.get(node.index, ())))
    others = known - {(node.name, node.op)}
    own = [e for e in einsums if (e.source, e.operator) not in others]
    how = _how(imported, node, bool(own), bool(einsums), bool(host))
    done = [] if how in ("view", "constant") else [e.name for e in own or einsums]
    refused = _refusal(imported, node, done, bool(own), placed)
    runs: tuple[Unit, ...] = placed.runs(done)
    where = ""
    if not runs and host and how == "host":
        # A step that is no longer in the Cascade reads sums that the tail takes over.
        runs, where = ("host",), stages.get(host[-1], "tail")
    return NodeDecision(
        name=node.name,
        operator=qualified(node),
        shape=_shape(imported, node),
        how=how,
        runs=() if refused else runs or ("none",),
        where=where,
        lowered=", ".join([e.name for e in einsums] + host),
        macs=sum(counted_macs(cascade, e) for e in own),
        arithmetic=_arithmetic(cascade, own),
        note=imported.notes.get(node.index, ""),
        reason=refused[0] if refused else "",
        fix=refused[1] if refused else "",
        follows=refused[2] if refused else "",
    )


def _refusal(
    imported: Imported, node: Node, done: list[str], own: bool, placed: Placed
) -> tuple[str, str, str] | None:
    """(reason, fix, follows) when the node's work is refused, by its own fault or another's."""
    found = [placed.refused[name] for name in done if name in placed.refused]
    if not found or (not own and len(found) < len(done)):
        return None
    found.sort(key=lambda r: (not r.beyond, r.after in placed.refused))
    at_fault = {id(r): fault.node_at(imported, r) for r in found}
    mine = next((r for r in found if at_fault[id(r)] == node.index), None)
    if mine is None:
        found = [r for r in found if at_fault[id(r)] is None] or found
        mine = next(
            (r for r in found if at_fault[id(r)] is None and _owns(node, r, done, own)), None
        )
    if mine is not None:
        before = placed.refused.get(mine.after)
        same = before is None or (before.source, before.operator) == (node.name, node.op)
        return mine.reason, mine.fix, "" if same or before is None else named_node(before)
    at = at_fault[id(found[0])]
    other = named_node(found[0])
    if at is not None:
        maker = next(n for n in imported.graph.nodes if n.index == at)
        other = f"{maker.op} {maker.name!r}"
    reason = f"is computed in one layer with {other}, which is refused"
    return reason, f"mend {other}", other


def _owns(node: Node, refused: Refused, done: list[str], own: bool) -> bool:
    """Whether a refusal without a known place is this node's."""
    return (refused.source, refused.operator) == (node.name, node.op) or (
        own and refused.einsums[0] in done
    )


def named_node(refused: Refused) -> str:
    """Operator and node of a refusal."""
    return f"{refused.operator or 'Einsum'} {refused.source or refused.einsums[0]!r}"


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


def _arithmetic(cascade: Cascade, einsums: list[Einsum]) -> str:
    types = {cascade.tensors[e.output.tensor].dtype for e in einsums}
    kinds = {str(t) if t.is_float else "int" for t in types}
    return "+".join(sorted(kinds, reverse=True))


def _shape(imported: Imported, node: Node) -> str:
    for name in node.outputs:
        if name in imported.values:
            return str(list(imported.values[name].shape))
    return ""
