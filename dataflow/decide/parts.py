"""The head and the tail of a model: found by law, cut off, and what is left judged again.

The host runs what the machine cannot, before its first node and behind its last. Cutting may show
more of it (what read a value of the head is an input now), so it is repeated until nothing moves.
Last come results that are no codes: their accumulators leave the machine (`dataflow.decide.wide`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from dataflow.decide.carried import left_to_host, with_carried
from dataflow.decide.host import HostMode, Where, ends
from dataflow.decide.judged import Judged
from dataflow.decide.rows import NodeDecision
from dataflow.decide.twice import inner_name, left_and_read, with_nodes_twice
from dataflow.decide.wide import split_wide
from dataflow.decide.wide_onnx import with_accumulators
from dataflow.frontend import Imported, import_model, load_proto
from dataflow.frontend.onnx.cut import Parts, ValueType, cut
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.onnx.unroll import without_sequences
from dataflow.frontend.value import Value
from dataflow.ir.cascade import Cascade
from dataflow.ir.dtype import F32
from dataflow.ir.macs import NOMINAL, contraction_operands
from dataflow.machine import Machine

CODES = (np.dtype(np.int8), np.dtype(np.uint8))


@dataclass(frozen=True, eq=False)
class Ends:
    """A model whose head and tail the host runs.

    Attributes:
        nodes: of the whole model.
        places: ``head`` or ``tail`` of the nodes that moved, by index.
        parts: the models of the parts.
        body: what the machine runs, judged.
        head, tail: their networks.
        delivers: names of what leaves the whole.
    """

    nodes: tuple[Node, ...]
    first: tuple[NodeDecision, ...]
    places: Mapping[int, Where]
    parts: Parts
    body: Judged
    head: Cascade | None
    tail: Cascade | None
    delivers: tuple[str, ...]

    def whole(self, cascade: Cascade) -> Cascade:
        """A Cascade of the body with the parts around it."""
        return replace(cascade, head=self.head, tail=self.tail, delivers=self.delivers)

    def rows(self, body: tuple[NodeDecision, ...]) -> tuple[NodeDecision, ...]:
        """The rows of the whole model, from those of its body."""
        graph = self.body.imported.graph
        inner = {_key(n): row for n, row in zip(graph.nodes, body, strict=False)}
        found = []
        for node, row in zip(self.nodes, self.first, strict=False):
            if node.index in self.places:
                own = inner.get(inner_name(_key(node)))
                row = _on_host(row, self.places[node.index])
                if own is not None:
                    row = replace(row, runs=(*own.runs, "host"), macs=own.macs)
            else:
                row = inner.get(_key(node), row)
            found.append(row)
        return (*found, *self.first[len(self.nodes) :])


def with_ends(
    model: str | Path | onnx.ModelProto,
    machine: Machine,
    first: Judged,
    mode: HostMode,
    *,
    literal: bool = False,
) -> Ends | None:
    """The model with what belongs on the host cut off; None when nothing does."""
    nodes = first.imported.graph.nodes
    places: dict[int, Where] = {}
    current, parts = first, None
    types = _types(first.imported)
    by_key = {_key(n): n for n in nodes}
    source, idle = load_proto(model), _idle(first, mode)
    tail = {_key(n) for n in nodes if n.index in idle}
    known = first.imported.values
    codes = {n for n, t in types.items() if t.dtype in CODES and known[n].constant is None}
    source, copies = with_carried(source, tail, codes)
    types |= {copy: types[name] for name, copy in copies.items()}
    values = left_and_read(
        source, nodes, {n.index: r for n, r in zip(nodes, first.rows, strict=False)}
    )
    if values and not copies:
        source = with_nodes_twice(source, values)
        types |= {inner_name(value): types[value] for value in values}
        current = Judged.of(import_model(source), machine, literal=literal)
    if copies:
        places |= dict.fromkeys(idle, "tail")
        parts = cut(source, set(), tail, types)
        current = Judged.of(import_model(parts.body), machine, literal=literal)
    while True:
        found = _moved(current, mode)
        new = {by_key[k].index: w for k, w in found.items() if k in by_key}
        if not new or new.keys() <= places.keys():
            break
        places |= new
        makers = {n.index: _key(n) for n in nodes}
        parts = cut(
            source,
            {makers[k] for k, w in places.items() if w == "head"},
            {makers[k] for k, w in places.items() if w == "tail"},
            types,
        )
        current = Judged.of(import_model(parts.body), machine, literal=literal)
    body, wide = split_wide(current.imported.cascade)
    if wide:
        proto = without_sequences(source)
        parts = parts or Parts(None, proto, None)
        behind = with_accumulators(parts.tail, wide, proto, current.imported.cascade)
        parts = replace(parts, tail=behind)
        current = Judged.of(replace(current.imported, cascade=body), machine, literal=literal)
    if parts is None:
        return None
    return Ends(
        nodes,
        first.rows,
        places,
        parts,
        current,
        None if parts.head is None else import_model(parts.head).cascade,
        None if parts.tail is None else import_model(parts.tail).cascade,
        first.imported.graph.outputs,
    )


def _key(node: Node) -> str:
    """The first result: unique in a model, and the same in its parts."""
    return next(filter(None, node.outputs), node.name)


def _moved(judged: Judged, mode: HostMode) -> dict[str, Where]:
    """The nodes that belong in the head or the tail, by key, with those before and behind them."""
    nodes = judged.imported.graph.nodes
    rows = dict(zip((n.index for n in nodes), judged.rows, strict=False))
    machine = {k for k, row in rows.items() if {"array", "vector", "dma"} & set(row.runs)}
    products = _products(judged.imported)
    refused = {k for k, row in rows.items() if row.reason}
    # What is refused because of another waits for that one to move.
    own = {k for k in refused if not rows[k].follows} or refused
    fixed = set() if mode == "contractions" else refused & products
    fixed |= (refused - own) & products
    separating, movable = machine | fixed, own - fixed
    if not separating:
        return {}
    places = ends(nodes, separating, movable)
    keys = {n.index: _key(n) for n in nodes}
    return {keys[k]: where for k, where in _closed(nodes, places).items()}


def _idle(first: Judged, mode: HostMode) -> set[int]:
    """The nodes of a model of which the machine runs none; a product among them stays its own."""
    nodes = first.imported.graph.nodes
    found = left_to_host({n.index: r for n, r in zip(nodes, first.rows, strict=False)}, nodes)
    return set() if mode != "contractions" and found & _products(first.imported) else found


def _closed(nodes: tuple[Node, ...], places: Mapping[int, Where]) -> dict[int, Where]:
    """With all that a node of the head reads, and all that reads a node of the tail."""
    makers = {name: n for n in nodes for name in n.outputs if name}
    found = dict(places)
    for node in reversed(nodes):
        if found.get(node.index) == "head":
            found |= {makers[r].index: "head" for r in node.reads if r in makers}
    for node in nodes:
        above = {found.get(makers[r].index) for r in node.reads if r in makers}
        if "tail" in above:
            found[node.index] = "tail"
    return found


def _products(imported: Imported) -> set[int]:
    """Nodes that own a contraction which counts as one: a sum of squares of a norm does not."""
    named = {
        e.name: e
        for e in imported.cascade.einsums
        if contraction_operands(e) is not None and (not e.operator or e.operator in NOMINAL)
    }
    nodes = {n.index: n for n in imported.graph.nodes}
    return {
        index
        for index, names in imported.emitted.items()
        for name in names
        if name in named and index in nodes and named[name].source == nodes[index].name
    }


def _types(imported: Imported) -> dict[str, ValueType]:
    found = {}
    for name, value in imported.values.items():
        dtype = value.dtype if value.quant is None else value.quant.real
        found[name] = ValueType(dtype.interface, value.shape, _codes(value))
    return found


def _codes(value: Value) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and zero point of a float32 value that stands for 8-bit codes, one pair for all."""
    quant = value.quant
    if quant is None or value.chain or quant.axis is not None or quant.real != F32:
        return None
    if not quant.dtype.is_int or quant.dtype.bits != 8:
        return None
    zero = np.array(quant.z, quant.dtype.numpy)
    return np.array(quant.s, np.float32), zero


def _on_host(row: NodeDecision, where: Where) -> NodeDecision:
    return replace(
        row, how="host", runs=("host",), where=where, reason="", fix="", follows="", macs=0
    )
