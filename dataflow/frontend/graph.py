"""A read-only view of an ONNX graph: nodes, constants, inputs, outputs, uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dataflow.errors import DataflowError

Array = np.ndarray

MAX_ELEMENTS = 1 << 32
"""Largest tensor that is considered at all, in elements."""


@dataclass(frozen=True)
class Node:
    """One ONNX node. ``name`` is never empty: it falls back to the first output's name."""

    index: int
    name: str
    domain: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(hash=False, compare=False)

    def get(self, name: str, default: Any) -> Any:
        """An attribute, or the default when it is absent."""
        return self.attributes.get(name, default)

    def input(self, position: int) -> str:
        """Name of an input, empty when it is absent."""
        return self.inputs[position] if position < len(self.inputs) else ""

    @property
    def where(self) -> str:
        return f"{self.op} {self.name!r}"


@dataclass(frozen=True)
class Port:
    """A graph input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class Graph:
    """The nodes that the outputs depend on, in topological order, and what surrounds them."""

    name: str
    opset: int
    nodes: tuple[Node, ...]
    dead: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    consumers: Mapping[str, tuple[Node, ...]]


def read_graph(model: onnx.ModelProto, dims: Mapping[str, int]) -> Graph:
    """The graph of a loaded model with its symbolic dimensions replaced.

    Raises:
        DataflowError: for a symbolic dimension without a value (all are named), an unknown name
            in ``dims``, nodes out of order, duplicate or undefined value names.
    """
    graph = model.graph
    constants = {t.name: to_array(t) for t in graph.initializer}
    inputs = _inputs(graph, constants, dims)
    nodes = tuple(_node(k, n) for k, n in enumerate(graph.node))
    _check_names(nodes, constants, inputs, graph)
    live = _live(nodes, [o.name for o in graph.output])
    kept = []
    for node in live:
        if node.op == "Constant" and node.domain in ("", "ai.onnx"):
            constants[node.outputs[0]] = _constant(node)
        else:
            kept.append(node)
    consumers: dict[str, list[Node]] = {}
    for node in kept:
        for name in node.inputs:
            if name:
                consumers.setdefault(name, []).append(node)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    return Graph(
        name=graph.name,
        opset=opset,
        nodes=tuple(kept),
        dead=tuple(n for n in nodes if n not in set(live)),
        constants=constants,
        inputs=inputs,
        outputs=tuple(o.name for o in graph.output),
        consumers={k: tuple(v) for k, v in consumers.items()},
    )


def to_array(tensor: onnx.TensorProto) -> Array:
    """The data of a tensor; DataflowError when size and shape disagree."""
    where = f"tensor {tensor.name!r}"
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise DataflowError(where, f"has the dimension {dim}", "export the model again")
        count *= dim
    if count > MAX_ELEMENTS:
        raise DataflowError(where, f"has {count} elements", "use a smaller model")
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:  # onnx raises many types on malformed data
        raise DataflowError(where, f"cannot be read ({error})", "export the model again") from error
    if array.size != count:
        raise DataflowError(
            where, f"holds {array.size} elements, not {count}", "export the model again"
        )
    return np.asarray(array)


def _node(index: int, proto: onnx.NodeProto) -> Node:
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        value = helper.get_attribute_value(attribute)
        attributes[attribute.name] = (
            value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        )
    return Node(
        index=index,
        name=proto.name or (proto.output[0] if proto.output else f"node {index}"),
        domain=proto.domain,
        op=proto.op_type,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=attributes,
    )


def _constant(node: Node) -> Array:
    for key, value in node.attributes.items():
        if key == "value":
            return to_array(value)
        if key in ("value_float", "value_floats"):
            return np.asarray(value, dtype=np.float32)
        if key in ("value_int", "value_ints"):
            return np.asarray(value, dtype=np.int64)
    raise DataflowError(node.where, "has no numeric value", "export with dense constants")


def _inputs(
    graph: onnx.GraphProto, constants: Mapping[str, Array], dims: Mapping[str, int]
) -> tuple[Port, ...]:
    ports, open_dims, used = [], [], set()
    for value in graph.input:
        if value.name in constants:
            continue
        where = f"input {value.name!r}"
        kind = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
            raise DataflowError(where, "is not a tensor of known rank", "export static shapes")
        shape = []
        for axis, dim in enumerate(kind.shape.dim):
            symbol = dim.dim_param or f"{value.name}.{axis}"
            if dim.HasField("dim_value"):
                shape.append(dim.dim_value)
            elif symbol in dims:
                used.add(symbol)
                shape.append(dims[symbol])
            else:
                open_dims.append(symbol)
                shape.append(1)
        bad = [d for d in shape if d < 1]
        if bad:
            raise DataflowError(where, f"has the dimension {bad[0]}", "sizes are at least 1")
        if int(np.prod(shape, dtype=object)) > MAX_ELEMENTS:
            raise DataflowError(where, f"has shape {shape}", "use a smaller input")
        ports.append(Port(value.name, tuple(shape), _dtype(kind.elem_type, where)))
    if open_dims:
        names = list(dict.fromkeys(open_dims))
        raise DataflowError(
            "model",
            f"has dynamic dimensions: {', '.join(repr(n) for n in names)}",
            "give each a size, as in " + " ".join(f"--dim {n}=1" for n in names),
        )
    unknown = sorted(set(dims) - used)
    if unknown:
        raise DataflowError(
            f"--dim {unknown[0]}", "names no dynamic dimension of the model", "remove it"
        )
    return tuple(ports)


def _dtype(code: int, where: str) -> np.dtype:
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(code))
    except KeyError as error:
        raise DataflowError(where, f"has element type {code}", "use a numeric type") from error


def _check_names(
    nodes: tuple[Node, ...],
    constants: Mapping[str, Array],
    inputs: tuple[Port, ...],
    graph: onnx.GraphProto,
) -> None:
    known = set(constants) | {p.name for p in inputs}
    for node in nodes:
        for name in node.inputs:
            if name and name not in known:
                raise DataflowError(
                    node.where, f"reads {name!r}, which nothing defines before it", "repair it"
                )
        for name in node.outputs:
            if name and name in known:
                raise DataflowError(node.where, f"defines {name!r} again", "rename the value")
            known.add(name)
    for output in graph.output:
        if output.name not in known:
            raise DataflowError(f"output {output.name!r}", "is never computed", "repair the model")
    if not graph.output:
        raise DataflowError("model", "has no outputs", "export it with outputs")


def _live(nodes: tuple[Node, ...], outputs: list[str]) -> list[Node]:
    needed = set(outputs)
    live = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            live.append(node)
            needed.update(node.inputs)
    return live[::-1]
