"""Sequences of tensors resolved before import: their lists, and the loops that fill them, are
known from constants, as in what torch exports for an embedding bag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

from dataflow.frontend.onnx.graph import to_array

Array = np.ndarray
MAX_NODES = 1 << 14
"""Most nodes that unrolling may make."""

SMALL_ELEMENTS = 1 << 12
"""Constants up to this size are followed: counters, conditions, offsets."""

SEQUENCES = frozenset(
    {
        "SequenceEmpty",
        "SequenceConstruct",
        "SequenceInsert",
        "SequenceErase",
        "SequenceAt",
        "SequenceLength",
        "SplitToSequence",
        "ConcatFromSequence",
    }
)


class _UnknownError(Exception):
    """Something that unrolling needs is no constant."""


def without_sequences(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every sequence replaced by its tensors, and the loops around them unrolled.

    A model without sequences, or whose sequences depend on the data, is returned as it is: the
    importer names its operators then. A loop is unrolled step by step while its condition, computed
    from constants, holds.
    """
    if not any(node.op_type in SEQUENCES for node in _all_nodes(model.graph)):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    work = _Unroller(made)
    try:
        for node in model.graph.node:
            work.node(node, {})
        if {o.name for o in model.graph.output} & work.lists.keys():
            return model
    except _UnknownError:
        return model
    del made.graph.node[:]
    made.graph.node.extend(work.nodes)
    del made.graph.value_info[:]
    made.graph.initializer.extend(work.initializers)
    return made


class _Unroller:
    """Nodes without sequences, made from those of a graph and of its loop bodies.

    Attributes:
        nodes: what was made so far.
        initializers: constants of loop bodies, under new names.
        known: small constants by name.
        lists: the tensors of each sequence, by name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.opsets = {o.domain: o.version for o in model.opset_import}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.known: dict[str, Array] = {}
        self.lists: dict[str, list[str]] = {}
        self.copies = 0
        for tensor in model.graph.initializer:
            self._learn(tensor)

    def _learn(self, tensor: onnx.TensorProto) -> None:
        if int(np.prod(tensor.dims)) <= SMALL_ELEMENTS:
            self.known[tensor.name] = to_array(tensor)

    def constant(self, name: str) -> Array:
        """The value, when it is known."""
        if name not in self.known:
            raise _UnknownError(name)
        return self.known[name]

    def node(self, node: onnx.NodeProto, scope: Mapping[str, str]) -> dict[str, str]:
        """Makes what ``node`` means, with names read through ``scope``; returns new names of its
        outputs."""
        inputs = [scope.get(name, name) for name in node.input]
        inside = bool(scope)
        names = {name: self._fresh(name) if inside else name for name in node.output if name}
        outputs = [names.get(name, "") for name in node.output]
        if node.op_type in SEQUENCES:
            self._sequence(node, inputs, outputs)
        elif node.op_type == "Loop" and self._unrolls(node, inputs):
            self._loop(node, inputs, outputs, scope)
        elif node.op_type == "If" and inputs[0] in self.known:
            chosen = "then_branch" if self.known[inputs[0]].reshape(()) else "else_branch"
            results = self._body(_graph(node, chosen), dict(scope))
            for result, output in zip(results, outputs, strict=True):
                self._alias(result, output)
        elif node.op_type == "Identity" and inputs[0] in self.lists:
            self.lists[outputs[0]] = self.lists[inputs[0]]
        else:
            if any(name in self.lists for name in inputs):
                raise _UnknownError(node.op_type)
            copy = _renamed(node, scope, inputs, outputs)
            if inside:
                copy.name = self._fresh(node.name)
            self._emit(copy)
        return names

    def _fresh(self, name: str) -> str:
        self.copies += 1
        return f"{name}/unrolled_{self.copies}"

    def _emit(self, node: onnx.NodeProto) -> None:
        if len(self.nodes) >= MAX_NODES:
            raise _UnknownError("too many nodes")
        self.nodes.append(node)
        if not any(name not in self.known for name in node.input if name):
            self.known.update(_computed(node, self.known, self.opsets))

    def _alias(self, source: str, output: str) -> None:
        if source in self.lists:
            self.lists[output] = self.lists[source]
        elif output:
            self._emit(helper.make_node("Identity", [source], [output], output))

    def _body(self, graph: onnx.GraphProto, scope: dict[str, str]) -> list[str]:
        """Makes the nodes of a body; returns the names of its results."""
        for tensor in graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = scope[tensor.name] = self._fresh(tensor.name)
            self.initializers.append(copy)
            self._learn(copy)
        scope.setdefault("", "")  # a scope, even when it renames nothing
        for node in graph.node:
            scope.update(self.node(node, scope))
        return [scope.get(o.name, o.name) for o in graph.output]

    def _unrolls(self, node: onnx.NodeProto, inputs: Sequence[str]) -> bool:
        """Whether a loop needs unrolling: sequences in it, or a count that only stepping tells."""
        inner = any(n.op_type in SEQUENCES for n in _all_nodes(_graph(node, "body")))
        return inner or any(name in self.lists for name in inputs)

    def _loop(
        self,
        node: onnx.NodeProto,
        inputs: Sequence[str],
        outputs: Sequence[str],
        scope: Mapping[str, str],
    ) -> None:
        body = _graph(node, "body")
        limit = int(self.constant(inputs[0]).reshape(())) if inputs[0] else MAX_NODES
        going = bool(self.constant(inputs[1]).reshape(())) if inputs[1] else True
        states = list(inputs[2:])
        stacked: list[list[str]] = [[] for _ in outputs[len(states) :]]
        formal = [v.name for v in body.input]
        step = 0
        while going and step < limit:
            number, condition = self._fresh(formal[0]), self._fresh(formal[1])
            self._number(number, np.array(step, np.int64))
            self._number(condition, np.array(True))
            inner = dict(scope)
            inner.update(zip(formal, [number, condition, *states], strict=True))
            result = self._body(body, inner)
            going = bool(self.constant(result[0]).reshape(()))
            states = result[1 : 1 + len(states)]
            for rows, name in zip(stacked, result[1 + len(states) :], strict=True):
                rows.append(name)
            step += 1
        for name, output in zip(states, outputs, strict=False):
            self._alias(name, output)
        for rows, output in zip(stacked, outputs[len(states) :], strict=True):
            if output:
                self._joined(rows, output, 0, new_axis=True)

    def _number(self, name: str, value: Array) -> None:
        self.known[name] = value
        self.initializers.append(numpy_helper.from_array(value, name))

    def _sequence(
        self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        made = outputs[0]
        if node.op_type == "SequenceEmpty":
            self.lists[made] = []
            return
        if node.op_type == "SequenceConstruct":
            self.lists[made] = list(inputs)
            return
        if node.op_type == "SplitToSequence":
            raise _UnknownError(node.op_type)
        if inputs[0] not in self.lists:
            raise _UnknownError(node.op_type)
        items = self.lists[inputs[0]]
        place = 2 if node.op_type == "SequenceInsert" else 1
        position = len(items) if node.op_type == "SequenceInsert" else len(items) - 1
        if len(inputs) > place and inputs[place]:
            position = int(self.constant(inputs[place]).reshape(()))
            position += len(items) if position < 0 else 0
        match node.op_type:
            case "SequenceInsert":
                self.lists[made] = [*items[:position], inputs[1], *items[position:]]
            case "SequenceErase":
                self.lists[made] = [*items[:position], *items[position + 1 :]]
            case "SequenceAt":
                if not 0 <= position < len(items):
                    raise _UnknownError(node.op_type)
                self._alias(items[position], made)
            case "SequenceLength":
                self._number(made, np.array(len(items), np.int64))
            case _:
                self._joined(items, made, given["axis"], new_axis=bool(given.get("new_axis", 0)))

    def _joined(self, items: Sequence[str], output: str, axis: int, *, new_axis: bool) -> None:
        if not items:
            raise _UnknownError("an empty sequence is joined")
        parts = list(items)
        if new_axis:
            axes = self._fresh("axes")
            self._number(axes, np.array([axis], np.int64))
            for k, item in enumerate(items):
                parts[k] = self._fresh(item)
                self._emit(helper.make_node("Unsqueeze", [item, axes], [parts[k]], parts[k]))
        self._emit(helper.make_node("Concat", parts, [output], output, axis=axis))


def _graph(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    for attribute in node.attribute:
        if attribute.name == name:
            graph: onnx.GraphProto = attribute.g
            return graph
    raise _UnknownError(name)


def _all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                found += _all_nodes(attribute.g)
    return found


def _renamed(
    node: onnx.NodeProto, scope: Mapping[str, str], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.NodeProto:
    """A copy with other names; bodies read outer values by their new names too."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[:], copy.output[:]
    copy.input.extend(inputs)
    copy.output.extend(outputs)
    for attribute in copy.attribute:
        if attribute.type == AttributeProto.GRAPH:
            _rename_inside(attribute.g, scope)
    return copy


def _rename_inside(graph: onnx.GraphProto, scope: Mapping[str, str]) -> None:
    own = {v.name for v in [*graph.input, *graph.initializer]}
    own |= {name for node in graph.node for name in node.output}
    outer = {name: new for name, new in scope.items() if name not in own}
    for node in graph.node:
        names = [outer.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(names)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename_inside(attribute.g, outer)
    for output in graph.output:
        output.name = outer.get(output.name, output.name)


def _computed(
    node: onnx.NodeProto, known: Mapping[str, Array], opsets: Mapping[str, int]
) -> dict[str, Array]:
    """Outputs of a node of constants that are small; none when they cannot be computed."""
    from onnx.reference import ReferenceEvaluator

    if any(a.type == AttributeProto.GRAPH for a in node.attribute) or "Random" in node.op_type:
        return {}
    feed: dict[str, Any] = {name: known[name] for name in node.input if name}
    try:
        results = ReferenceEvaluator(node, opsets=dict(opsets)).run(None, feed)
    except Exception:  # what cannot be computed here is left to the importer
        return {}
    return {
        name: np.asarray(value)
        for name, value in zip(node.output, results, strict=False)
        if name and isinstance(value, np.ndarray | np.generic) and value.size <= SMALL_ELEMENTS
    }
