"""Mutations after which a model mostly still is ONNX, so that they reach the lowerings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, defs, helper, numpy_helper

NUMBERS = (0, 1, -1, 2, -2, 3, 4, 5, 7, 64)
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-5, 1e30, float("nan"), float("inf"), -0.0, 2.5)
TEXTS = (
    *("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "linear", "cubic", "nearest", "reflect"),
    *("wrap", "edge", "tanh", "none", "add", "mul", "max", "half_pixel", "align_corners", "ij,jk"),
)
FLOATING = (np.float32, np.float32, np.float64, np.float16)
TYPES = (*FLOATING, np.int64, np.int32, np.int8, np.uint8, np.bool_)
INPUTS = frozenset(int(helper.np_dtype_to_tensor_dtype(np.dtype(t))) for t in TYPES)

SIGNATURES: dict[str, tuple[int, int, int, int, frozenset[str]]] = {
    s.name: (s.min_input, s.max_input, s.min_output, s.max_output, frozenset(s.attributes))
    for s in defs.get_all_schemas()
    if s.domain == "" and not s.deprecated
}


def attribute(model: onnx.ModelProto, pick: random.Random) -> None:
    """A known attribute with a value of its type."""
    node = pick.choice(model.graph.node) if model.graph.node else None
    if node is None or not defs.has(node.op_type):
        return
    known = defs.get_schema(node.op_type).attributes
    if not known:
        return
    chosen = known[pick.choice(sorted(known))]
    kinds = defs.OpSchema.AttrType
    count = pick.randrange(1, 5)
    values: dict[object, object] = {
        kinds.INT: pick.choice(NUMBERS),
        kinds.INTS: [pick.choice(NUMBERS) for _ in range(count)],
        kinds.FLOAT: pick.choice(FLOATS),
        kinds.FLOATS: [pick.choice(FLOATS) for _ in range(count)],
        kinds.STRING: pick.choice(TEXTS),
        kinds.STRINGS: [pick.choice(TEXTS) for _ in range(count)],
    }
    if chosen.type in values:
        for old in [a for a in node.attribute if a.name == chosen.name]:
            node.attribute.remove(old)
        node.attribute.append(helper.make_attribute(chosen.name, values[chosen.type]))


def tensor(model: onnx.ModelProto, pick: random.Random) -> None:
    """A constant with other values, another shape or another element type."""
    if not model.graph.initializer:
        return
    one = pick.choice(model.graph.initializer)
    try:
        data = np.array(numpy_helper.to_array(one))
    except Exception:  # broken by an earlier mutation
        return
    if data.dtype.kind not in "iufb" or data.size > 1 << 16:
        return
    choice = pick.randrange(4)
    if choice == 0:
        shape = list(data.shape)
        if shape and pick.random() < 0.7:
            shape[pick.randrange(len(shape))] = pick.choice([0, 1, 2, 3, 5])
        else:
            shape.append(pick.choice([1, 2]))
        data = np.resize(data, shape)
    elif choice == 1:
        with np.errstate(all="ignore"):
            data = data.astype(pick.choice(TYPES))
    else:
        data = _special(data, pick)
    one.CopyFrom(numpy_helper.from_array(data, one.name))


def _special(data: np.ndarray, pick: random.Random) -> np.ndarray:
    kind = data.dtype.kind
    values: list[float] = [0, 1] if kind == "b" else [0, 1, 2, 3, 100]
    if kind in "iu":
        values += [int(np.iinfo(data.dtype).min), int(np.iinfo(data.dtype).max)]
    if kind == "i":
        values += [-1, -2, -7]
    if kind == "f":
        values += [float("nan"), float("inf"), -1.0, 1e-40, 0.5]
    with np.errstate(all="ignore"):
        value = np.asarray(pick.choice(values)).astype(data.dtype)
    if pick.random() < 0.5 or not data.size:
        return np.full_like(data, value)
    data.reshape(-1)[pick.randrange(data.size)] = value
    return data


def port(model: onnx.ModelProto, pick: random.Random) -> None:
    """An input with a dimension changed, more or less, or of another element type."""
    if not model.graph.input:
        return
    kind = pick.choice(model.graph.input).type.tensor_type
    dims = kind.shape.dim
    choice = pick.randrange(6)
    if choice == 0:
        kind.elem_type = pick.choice(sorted(INPUTS))
    elif choice == 1:
        dims.add().dim_value = pick.choice([1, 2, 3])
    elif choice == 2 and dims:
        del dims[pick.randrange(len(dims))]
    elif dims:
        pick.choice(dims).dim_value = pick.choice([0, 1, 2, 3, 5, 8, 17])


def rewire(model: onnx.ModelProto, pick: random.Random) -> None:
    """A node reads another value that is computed before it."""
    graph = model.graph
    if not graph.node:
        return
    at = pick.randrange(len(graph.node))
    node = graph.node[at]
    before = [t.name for t in graph.initializer] + [p.name for p in graph.input]
    before += [o for n in graph.node[:at] for o in n.output if o]
    if node.input and before:
        node.input[pick.randrange(len(node.input))] = pick.choice(before)


def operator(model: onnx.ModelProto, pick: random.Random) -> None:
    """Another operator that takes as many inputs and outputs."""
    if not model.graph.node:
        return
    node = pick.choice(model.graph.node)
    fitting = list(_fitting(node))
    if fitting:
        node.op_type = pick.choice(fitting)
        node.domain = ""
        for old in list(node.attribute):
            if old.name not in SIGNATURES[node.op_type][4]:
                node.attribute.remove(old)


def _fitting(node: NodeProto) -> Iterator[str]:
    for name, (fewest, most, least, last, _) in SIGNATURES.items():
        if fewest <= len(node.input) <= most and least <= len(node.output) <= last:
            yield name


def opset(model: onnx.ModelProto, pick: random.Random) -> None:
    """Another version of the operators."""
    for one in model.opset_import:
        if one.domain == "":
            one.version = pick.randrange(6, 29)


def bind(model: onnx.ModelProto, pick: random.Random) -> None:
    """An input becomes a constant, or a constant an input."""
    graph = model.graph
    if graph.initializer and pick.random() < 0.5:
        at = pick.randrange(len(graph.initializer))
        one = graph.initializer[at]
        freed = helper.make_tensor_value_info(one.name, one.data_type, list(one.dims))
        graph.input.append(freed)
        del graph.initializer[at]
    elif graph.input:
        at = pick.randrange(len(graph.input))
        tensor_ = _constant(graph, at, pick)
        if tensor_ is not None:
            graph.initializer.append(tensor_)
            del graph.input[at]


def _constant(graph: GraphProto, at: int, pick: random.Random) -> TensorProto | None:
    kind = graph.input[at].type.tensor_type
    shape = [d.dim_value for d in kind.shape.dim]
    if kind.elem_type not in INPUTS or any(d < 0 for d in shape) or np.prod(shape) > 1 << 12:
        return None
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    data = np.full(shape, pick.choice([0, 1, 2])).astype(dtype)
    return numpy_helper.from_array(data, graph.input[at].name)


MUTATIONS: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    attribute,
    attribute,
    tensor,
    tensor,
    port,
    rewire,
    operator,
    opset,
    bind,
)
