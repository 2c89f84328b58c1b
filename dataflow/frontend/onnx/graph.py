"""A read-only view of an ONNX graph: nodes, constants, inputs, outputs, uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dataflow.errors import DataflowError

Array = np.ndarray

MAX_DEPTH = 16
"""Deepest nesting of bodies and functions."""

MAX_DENSE = 1 << 26
"""Largest sparse constant that is read, in elements with its zeros."""

MAX_BYTES = 1 << 32
"""Largest tensor that is considered at all: the machine's address space."""

MAX_RANK = 32
"""Most dimensions of a value; NumPy's own limit is 64, and lowerings add some."""


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
    proto: onnx.NodeProto | None = field(default=None, hash=False, compare=False, repr=False)

    @property
    def bodies(self) -> tuple[Graph, ...]:
        """The graphs among its attributes (branches of If, bodies of Loop and Scan)."""
        return tuple(v for v in self.attributes.values() if isinstance(v, Graph))

    @property
    def reads(self) -> tuple[str, ...]:
        """Its inputs, then the outer values that its bodies read; no empty names."""
        inner = [n for body in self.bodies for n in body.captured]
        return tuple(dict.fromkeys([*filter(None, self.inputs), *inner]))

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
class Declared:
    """What a model says of an output, with None for what it leaves open."""

    dtype: np.dtype | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """The nodes that the outputs depend on, in topological order, and what surrounds them.

    Attributes:
        formals: names of the inputs of a body, whose values are given where it is used.
        captured: outer values that a body reads.
        declared: what the model says of its outputs.
        functions: functions of the model, by (domain, name).
        opsets: versions of the operator sets, by domain.
    """

    name: str
    opset: int
    nodes: tuple[Node, ...]
    dead: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    consumers: Mapping[str, tuple[Node, ...]]
    formals: tuple[str, ...] = ()
    captured: tuple[str, ...] = ()
    declared: Mapping[str, Declared] = field(default_factory=dict)
    functions: Mapping[tuple[str, str], onnx.FunctionProto] = field(default_factory=dict)
    opsets: Mapping[str, int] = field(default_factory=dict)


def read_graph(model: onnx.ModelProto, dims: Mapping[str, int]) -> Graph:
    """The graph of a loaded model with its symbolic dimensions replaced.

    Raises:
        DataflowError: for a symbolic dimension without a value (all are named), an unknown name
            in ``dims``, nodes out of order, duplicate or undefined value names.
    """
    graph = model.graph
    constants = {t.name: to_array(t) for t in graph.initializer}
    inputs = _inputs(graph, constants, dims)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    nodes = read_nodes(graph.node, opset, 0)
    _check_names(nodes, constants, inputs, graph)
    functions = {(f.domain, f.name): f for f in model.functions}
    outputs = tuple(o.name for o in graph.output)
    found = assembled(graph.name, opset, nodes, constants, outputs)
    opsets = {o.domain: o.version for o in model.opset_import}
    declared = {o.name: _declared(o, dims) for o in graph.output}
    return replace(found, inputs=inputs, functions=functions, opsets=opsets, declared=declared)


def read_body(proto: onnx.GraphProto, opset: int, depth: int) -> Graph:
    """The body of a control-flow operator; the shapes of its inputs are not needed.

    Raises:
        DataflowError: when it is nested too deep, defines a value twice or has no outputs.
    """
    where = f"body {proto.name!r}"
    if depth > MAX_DEPTH:
        raise DataflowError(where, f"is nested {depth} deep", "flatten its control flow")
    constants = {t.name: to_array(t) for t in proto.initializer}
    formals = tuple(i.name for i in proto.input if i.name not in constants)
    if proto.sparse_initializer:
        raise DataflowError(where, "has sparse initialisers", "export dense weights")
    if not proto.output:
        raise DataflowError(where, "has no outputs", "repair the model")
    nodes = read_nodes(proto.node, opset, depth)
    outputs = tuple(o.name for o in proto.output)
    known = set(formals) | set(constants)
    outer: dict[str, None] = {}
    for node in nodes:
        outer.update(dict.fromkeys(name for name in node.reads if name not in known))
        for name in filter(None, node.outputs):
            if name in known or name in outer:
                raise DataflowError(node.where, f"defines {name!r} again", "rename the value")
            known.add(name)
    outer.update(dict.fromkeys(name for name in outputs if name not in known))
    found = assembled(proto.name, opset, nodes, constants, outputs)
    return replace(found, formals=formals, captured=tuple(outer))


def assembled(
    name: str,
    opset: int,
    nodes: tuple[Node, ...],
    constants: dict[str, Array],
    outputs: tuple[str, ...],
) -> Graph:
    """A graph of the nodes that the outputs depend on; Constant nodes become constants."""
    live = _live(nodes, outputs)
    kept = []
    for node in live:
        if node.op == "Constant" and node.domain in ("", "ai.onnx"):
            constants[node.outputs[0]] = _constant(node)
        else:
            kept.append(node)
    alive = {n.index for n in live}
    return Graph(
        name=name,
        opset=opset,
        nodes=tuple(kept),
        dead=tuple(n for n in nodes if n.index not in alive),
        constants=constants,
        inputs=(),
        outputs=outputs,
        consumers=_consumers(kept),
    )


def renumbered(graph: Graph, first: int) -> Graph:
    """The graph with its nodes numbered from ``first`` on."""
    nodes = tuple(replace(n, index=first + k) for k, n in enumerate(graph.nodes))
    return replace(graph, nodes=nodes, consumers=_consumers(nodes))


def _consumers(nodes: Iterable[Node]) -> dict[str, tuple[Node, ...]]:
    found: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            if name:
                found.setdefault(name, []).append(node)
        for name in node.reads:
            if name not in node.inputs:
                found.setdefault(name, []).append(node)
    return {k: tuple(v) for k, v in found.items()}


def read_nodes(protos: Iterable[onnx.NodeProto], opset: int, depth: int) -> tuple[Node, ...]:
    """The nodes with their attributes read, bodies included."""
    return tuple(_node(k, n, opset, depth) for k, n in enumerate(protos))


def to_array(tensor: onnx.TensorProto) -> Array:
    """The data of a tensor; DataflowError when size and shape disagree."""
    where = f"tensor {tensor.name!r}"
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise DataflowError(where, f"has the dimension {dim}", "export the model again")
        count *= dim
    if count > MAX_BYTES:
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


def _node(index: int, proto: onnx.NodeProto, opset: int, depth: int) -> Node:
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            attributes[attribute.name] = read_body(attribute.g, opset, depth + 1)
            continue
        if attribute.ref_attr_name:
            raise DataflowError(
                f"{proto.op_type} {proto.name or ', '.join(proto.output)!r}",
                f"takes the attribute {attribute.ref_attr_name!r} of a function, but is in none",
                "give the attribute a value",
            )
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
        proto=proto,
    )


def _constant(node: Node) -> Array:
    for key, value in node.attributes.items():
        if key == "value":
            return to_array(value)
        if key in ("value_float", "value_floats"):
            return np.asarray(value, dtype=np.float32)
        if key in ("value_int", "value_ints"):
            return np.asarray(value, dtype=np.int64)
        if key == "sparse_value":
            return _dense(value, node.where)
    raise DataflowError(node.where, "has no numeric value", "export with dense constants")


def _dense(tensor: onnx.SparseTensorProto, where: str) -> Array:
    """A sparse tensor with its zeros; indices are linear, or one row for each element."""
    shape = tuple(tensor.dims)
    values, indices = to_array(tensor.values).reshape(-1), to_array(tensor.indices)
    total = int(np.prod(shape, dtype=object)) if shape else 1
    if min(shape, default=0) < 0 or total > MAX_DENSE:
        raise DataflowError(where, f"has shape {list(shape)}", "use a smaller constant")
    rows = indices if indices.ndim == 2 else indices[:, None]
    strides = np.cumprod((1, *shape[:0:-1]))[::-1] if indices.ndim == 2 else np.ones(1, np.int64)
    fits = rows.shape == (len(values), len(strides)) and rows.dtype == np.int64
    limits = np.array(shape if indices.ndim == 2 else (total,))
    if not fits or (rows < 0).any() or (rows >= limits).any():
        raise DataflowError(where, "has indices that do not fit", "export with dense constants")
    dense = np.zeros(total, values.dtype)
    dense[(rows * strides).sum(axis=1)] = values
    return dense.reshape(shape)


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
            if dim.HasField("dim_value") and dim.dim_value >= 0:  # -1 is how some write "any"
                shape.append(dim.dim_value)
            elif symbol in dims:
                used.add(symbol)
                shape.append(dims[symbol])
            else:
                open_dims.append(symbol)
                shape.append(1)
        bad = [d for d in dims.values() if d < 1]
        if bad:
            raise DataflowError(where, f"has the dimension {bad[0]}", "sizes are at least 1")
        dtype = element_type(kind.elem_type, where)
        count = int(np.prod(shape, dtype=object))
        if count * dtype.itemsize > MAX_BYTES:
            raise DataflowError(
                where,
                f"has shape {shape}, which is {count * dtype.itemsize} bytes of {dtype.name}",
                f"use a smaller input: at most {MAX_BYTES} bytes",
            )
        ports.append(Port(value.name, tuple(shape), dtype))
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


def _declared(port: onnx.ValueInfoProto, dims: Mapping[str, int]) -> Declared:
    kind = port.type.tensor_type
    dtype = element_type(kind.elem_type, f"output {port.name!r}") if kind.elem_type else None
    if not kind.HasField("shape") or not kind.shape.dim:
        return Declared(dtype, None)  # no dimensions are what exporters write for no shape too
    sizes = [d.dim_value if d.dim_value > 0 else dims.get(d.dim_param) for d in kind.shape.dim]
    return Declared(dtype, tuple(sizes))


def element_type(code: int, where: str) -> np.dtype:
    """The NumPy type of an ONNX element type; DataflowError when there is none."""
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
        for name in node.reads:
            if name not in known:
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


def _live(nodes: tuple[Node, ...], outputs: Iterable[str]) -> list[Node]:
    needed = set(outputs)
    live = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            live.append(node)
            needed.update(node.reads)
    return live[::-1]
