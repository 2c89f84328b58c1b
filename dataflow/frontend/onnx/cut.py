"""Cuts a model in three: what the host computes first, what the machine does, what follows.

The parts are models of their own, which meet in values of equal names. Nodes that depend on
constants alone are copied into each part that reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dataflow.errors import DataflowError
from dataflow.frontend.onnx.load import load_proto
from dataflow.frontend.onnx.unroll import without_sequences


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a model; None where there is nothing to do."""

    head: onnx.ModelProto | None
    body: onnx.ModelProto
    tail: onnx.ModelProto | None


@dataclass(frozen=True)
class ValueType:
    """Type and shape of a value.

    Attributes:
        codes: of a value that stands for 8-bit codes, one scale for all: scale and zero point.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    codes: tuple[np.ndarray, np.ndarray] | None = None


def cut(
    model: onnx.ModelProto,
    head: Collection[str],
    tail: Collection[str],
    types: Mapping[str, ValueType],
) -> Parts:
    """The parts of a model.

    Args:
        model: as ``import_model`` takes it.
        head, tail: the first results of the nodes that belong there; all others are the body's.
        types: of the values, by name; constants need none.

    Raises:
        DataflowError: a head reads what is made later.
    """
    proto = without_sequences(load_proto(model))
    places = [_place(node, head, tail) for node in proto.graph.node]
    work = _Cutter(proto, places, types)
    parts = [work.part(place) for place in range(3)]
    body = parts[1]
    assert body is not None
    return Parts(parts[0], body, parts[2])


def reads_of(node: onnx.NodeProto) -> list[str]:
    """The values that a node reads, those of the graphs inside it included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {t.name for t in graph.initializer} | {v.name for v in graph.input}
            for inner in graph.node:
                names += [name for name in reads_of(inner) if name not in own]
                own |= set(inner.output)
            names += [o.name for o in graph.output if o.name not in own]
    return list(dict.fromkeys(names))


def _place(node: onnx.NodeProto, head: Collection[str], tail: Collection[str]) -> int:
    made = {name for name in node.output if name}
    return 0 if made & set(head) else 2 if made & set(tail) else 1


class _Cutter:
    def __init__(
        self, proto: onnx.ModelProto, places: list[int], types: Mapping[str, ValueType]
    ) -> None:
        self.proto = proto
        self.types = types
        self.weights = {t.name: t for t in proto.graph.initializer}
        self.ports: dict[str, onnx.ValueInfoProto] = {
            v.name: v for v in proto.graph.input if v.name not in self.weights
        }
        self.leave: dict[str, onnx.ValueInfoProto] = {v.name: v for v in proto.graph.output}
        self.nodes = list(proto.graph.node)
        self.reads = [reads_of(node) for node in self.nodes]
        self.makers = {n: k for k, node in enumerate(self.nodes) for n in node.output if n}
        self.static = self._static()
        live = self._needed(self.leave)
        self.place = {
            k: place for k, place in enumerate(places) if k in live and k not in self.static
        }
        for k, own in self.place.items():
            late = [n for n in self.reads[k] if self.place.get(self.makers.get(n, -1), 0) > own]
            if late:
                raise DataflowError(
                    f"{self.nodes[k].op_type} {self.nodes[k].name!r}",
                    f"reads {late[0]!r}, which is made behind it",
                    "this is a fault of the cut",
                )

    def part(self, place: int) -> onnx.ModelProto | None:
        """The model of the nodes of one place."""
        own = [k for k, where in self.place.items() if where == place]
        if not own and place != 1:
            return None
        made = {name for k in own for name in self.nodes[k].output if name}
        later = {n for k, where in self.place.items() if where > place for n in self.reads[k]}
        outputs = [name for name in self.leave if name in made]
        if place == 1:  # what no node of a place makes leaves through the body
            outputs = [n for n in self.leave if n in made or not self._placed(n)]
        outputs += [n for n in self.makers if n in made & later and n not in outputs]
        reads = dict.fromkeys([n for k in own for n in self.reads[k]] + outputs)
        inputs = [n for n in reads if n in self.ports or self._made_elsewhere(n, made)]
        static = self._needed(n for n in reads if self.makers.get(n) in self.static)
        chosen = sorted({*own, *static})
        used = {n for k in chosen for n in self.reads[k]} | set(outputs)
        nodes, constants = self._decoded(chosen, inputs if place == 1 else [])
        graph = helper.make_graph(
            nodes,
            self.proto.graph.name,
            [self._port(n) for n in inputs],
            [self._leaving(n) for n in outputs],
            [*constants, *(t for name, t in self.weights.items() if name in used)],
        )
        model = helper.make_model(
            graph, opset_imports=self.proto.opset_import, functions=self.proto.functions
        )
        model.ir_version = self.proto.ir_version
        return model

    def _decoded(
        self, chosen: list[int], inputs: list[str]
    ) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes, which read inputs that stand for codes through a quantiser of that scale.

        Exact: such a number divided by its scale is the code to within one rounding.
        """
        nodes: list[onnx.NodeProto] = []
        constants: list[onnx.TensorProto] = []
        renamed: dict[str, str] = {}
        for name in inputs:
            codes = self.types[name].codes if name in self.types else None
            inner = any(name in self.reads[k] and name not in self.nodes[k].input for k in chosen)
            if codes is None or inner or not self._placed(name):
                continue
            scale, zero, stored = (f"{name} {word}" for word in ("scale", "zero point", "codes"))
            renamed[name] = f"{name} decoded"
            constants += [
                numpy_helper.from_array(a, n) for a, n in zip(codes, (scale, zero), strict=True)
            ]
            nodes += [
                helper.make_node("QuantizeLinear", [name, scale, zero], [stored], stored),
                helper.make_node(
                    "DequantizeLinear", [stored, scale, zero], [renamed[name]], renamed[name]
                ),
            ]
        for k in chosen:
            node = self.nodes[k]
            if renamed.keys() & set(node.input):
                node = onnx.NodeProto.FromString(node.SerializeToString())
                names = [renamed.get(n, n) for n in node.input]
                del node.input[:]
                node.input.extend(names)
            nodes.append(node)
        return nodes, constants

    def _static(self) -> set[int]:
        """Nodes that depend on constants alone."""
        found: set[int] = set()
        for k, names in enumerate(self.reads):
            if all(n in self.weights or self.makers.get(n) in found for n in names):
                found.add(k)
        return found

    def _needed(self, names: Iterable[str]) -> set[int]:
        """Nodes on which values depend."""
        found: set[int] = set()
        left = [self.makers[n] for n in names if n in self.makers]
        while left:
            k = left.pop()
            if k not in found:
                found.add(k)
                left += [self.makers[n] for n in self.reads[k] if n in self.makers]
        return found

    def _placed(self, name: str) -> bool:
        return self.makers.get(name) in self.place

    def _made_elsewhere(self, name: str, made: Collection[str]) -> bool:
        return self._placed(name) and name not in made

    def _leaving(self, name: str) -> onnx.ValueInfoProto:
        return self._port(name) if name in self.types else self.leave[name]

    def _port(self, name: str) -> onnx.ValueInfoProto:
        if name not in self.types and name in self.ports:
            return self.ports[name]
        if name not in self.types:
            raise DataflowError(f"value {name!r}", "has no known type", "name the values in order")
        kind = self.types[name]
        code = helper.np_dtype_to_tensor_dtype(kind.dtype)
        port: onnx.ValueInfoProto = helper.make_tensor_value_info(name, code, list(kind.shape))
        return port
