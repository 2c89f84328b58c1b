"""Mutations that know what an ONNX model means."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, defs, helper, numpy_helper

LOCATIONS = (
    "../secret.bin",
    "/etc/passwd",
    "a/../../secret.bin",
    "w.bin",
    "..",
    ".",
    "",
    "w\0.bin",
)
SIZES = (0, -1, 1, 2, 3, 1 << 16, 1 << 31, 1 << 40, (1 << 63) - 1)


def everywhere(graph: GraphProto) -> list[GraphProto]:
    """The graph and those nested in it."""
    found = [graph]
    for one in found:
        for node in one.node:
            found.extend(a.g for a in node.attribute if a.type == AttributeProto.GRAPH)
    return found


def names_in(graph: GraphProto) -> list[str]:
    """Names of the values of a graph."""
    names = [t.name for t in graph.initializer] + [p.name for p in graph.input]
    return names + [o for n in graph.node for o in n.output] or ["x"]


def edge(graph: GraphProto, pick: random.Random) -> None:
    """A node reads another value: a later one (a cycle), its own, an absent one, none."""
    node = _node(graph, pick)
    if node is not None and node.input:
        own = list(node.output) or ["x"]
        node.input[pick.randrange(len(node.input))] = pick.choice(
            [pick.choice(names_in(graph)), own[0], "nowhere", ""]
        )


def arity(graph: GraphProto, pick: random.Random) -> None:
    """An input or output more or less."""
    node = _node(graph, pick)
    if node is None:
        return
    choice = pick.randrange(4)
    if choice == 0 and node.input:
        del node.input[-1]
    elif choice == 1:
        node.input.append(pick.choice(names_in(graph)))
    elif choice == 2 and node.output:
        del node.output[-1]
    else:
        node.output.append(pick.choice(["extra", *names_in(graph)]))


def operator(graph: GraphProto, pick: random.Random) -> None:
    """Another operator with the same inputs."""
    node = _node(graph, pick)
    if node is not None:
        node.op_type = pick.choice(OPERATORS)
        node.domain = pick.choice(["", "", "", "com.microsoft", node.domain])


def attribute(graph: GraphProto, pick: random.Random) -> None:
    """An attribute that the operator knows, of any type and value."""
    node = _node(graph, pick)
    if node is None:
        return
    known = ["axis", "axes", "pads", "strides", "kernel_shape", "group", "perm", "to"]
    if defs.has(node.op_type):
        known = list(defs.get_schema(node.op_type).attributes) or known
    name = pick.choice(known)
    value = pick.choice(
        [
            pick.choice(SIZES),
            [pick.choice(SIZES) for _ in range(pick.randrange(1, 6))],
            float(pick.choice([0.0, -1.0, float("nan"), 1e30])),
            [1.5, float("inf")],
            pick.choice(["SAME_UPPER", "VALID", "linear", "i,i->", "...", "ij,jk->ik", "?"]),
            numpy_helper.from_array(np.zeros((0, 2), np.float32), "t"),
        ]
    )
    for old in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(old)
    node.attribute.append(helper.make_attribute(name, value))


def port(graph: GraphProto, pick: random.Random) -> None:
    """Size, rank or element type of an input or output."""
    ports = [*graph.input, *graph.output]
    if not ports:
        return
    kind = pick.choice(ports).type.tensor_type
    dims = kind.shape.dim
    choice = pick.randrange(5)
    if choice == 0:
        kind.elem_type = pick.randrange(26)
    elif choice == 1 and dims:
        del dims[pick.randrange(len(dims))]
    elif choice == 2:
        for _ in range(pick.choice([1, 1, 9, 70])):
            dims.add().dim_value = pick.choice([1, 1, 2, 0])
    elif choice == 3 and dims:
        pick.choice(dims).dim_param = pick.choice(["N", "", "batch; rm"])
    elif dims:
        pick.choice(dims).dim_value = pick.choice(SIZES)


def tensor(graph: GraphProto, pick: random.Random) -> None:
    """Shape, type or values of an initialiser."""
    found = _tensors(graph)
    if not found:
        return
    one = pick.choice(found)
    choice = pick.randrange(5)
    if choice == 0:
        one.data_type = pick.randrange(27)
    elif choice == 1 and one.dims:
        one.dims[pick.randrange(len(one.dims))] = pick.choice(SIZES)
    elif choice == 2:
        del one.dims[:]
        one.dims.extend(pick.choice([[], [0], [1 << 32, 1 << 32], [2] * 70, [1] * 9]))
    elif choice == 3:
        _special_values(one, pick)
    else:
        one.raw_data = one.raw_data[: pick.randrange(len(one.raw_data) + 1)]


def external(graph: GraphProto, pick: random.Random) -> None:
    """Data of a tensor in another file."""
    found = _tensors(graph)
    if not found:
        return
    one = pick.choice(found)
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    entries = {"location": pick.choice(LOCATIONS)}
    for key in ("offset", "length"):
        if pick.random() < 0.5:
            entries[key] = pick.choice(
                ["0", "4", "-1", "1e9", str(1 << 40), str(1 << 70), "\u0663"]
            )
    for key, value in entries.items():
        entry = one.external_data.add()
        entry.key, entry.value = key, value


def nested(graph: GraphProto, pick: random.Random) -> None:
    """A node moves into the branches of an If, a few times over, or very often."""
    node = _node(graph, pick)
    if node is None:
        return
    moved = NodeProto()
    moved.CopyFrom(node)
    for level in range(pick.choice([1, 1, 2, 3, 12, 20, 40])):
        if moved.ByteSize() > 1 << 20:
            break  # both branches hold the node: it doubles
        branches = []
        for name in ("then_branch", "else_branch"):
            outs = [onnx.ValueInfoProto(name=o) for o in moved.output]
            body = GraphProto(name=f"{name}{level}", node=[moved], output=outs)
            branches.append(helper.make_attribute(name, body))
            if level > 3:
                branches.append(branches[0])
                break
        condition = pick.choice(names_in(graph))
        moved = NodeProto(op_type="If", input=[condition], output=list(moved.output))
        moved.attribute.extend(branches)
    node.CopyFrom(moved)


def order(graph: GraphProto, pick: random.Random) -> None:
    """Nodes in another order, or one of them twice."""
    if len(graph.node) < 2:
        return
    a, b = pick.randrange(len(graph.node)), pick.randrange(len(graph.node))
    kept = NodeProto()
    kept.CopyFrom(graph.node[a])
    graph.node[a].CopyFrom(graph.node[b])
    if pick.random() < 0.7:
        graph.node[b].CopyFrom(kept)


def long_chain(graph: GraphProto, pick: random.Random) -> None:
    """Many nodes in a row behind a value that a node reads."""
    node = _node(graph, pick)
    if node is None or not node.input:
        return
    count, op = pick.choice([3, 30, 400]), pick.choice(CHAIN)
    name = node.input[0]
    chain = []
    for k in range(count):
        inputs = [name] if op not in ("Add", "Mul", "MatMul", "Concat") else [name, name]
        made = helper.make_node(op, inputs, [f"chain{k}"])
        if op == "Concat":
            made.attribute.append(helper.make_attribute("axis", 0))
        chain.append(made)
        name = f"chain{k}"
    node.input[0] = name
    rest = list(graph.node)
    copies = []
    for old in rest:
        copy = NodeProto()
        copy.CopyFrom(old)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend([*chain, *copies])


def _special_values(one: TensorProto, pick: random.Random) -> None:
    try:
        data = np.array(numpy_helper.to_array(one))
    except Exception:  # the tensor was broken by an earlier mutation
        return
    if data.dtype.kind not in "iuf" or not data.size:
        return
    flat = data.reshape(-1)
    limits = np.iinfo if data.dtype.kind in "iu" else np.finfo
    special = [limits(data.dtype).min, limits(data.dtype).max, 0, 1]
    if data.dtype.kind == "f":
        special += [np.nan, np.inf, -np.inf, -1.0, 1e-40]
    else:
        special += [1 << 20, 1 << 33] if data.dtype.itemsize == 8 else []
    value = pick.choice(special)
    with np.errstate(all="ignore"):
        if pick.random() < 0.5:
            flat[:] = value
        else:
            flat[pick.randrange(flat.size)] = value
    one.CopyFrom(numpy_helper.from_array(data, one.name))


def _node(graph: GraphProto, pick: random.Random) -> NodeProto | None:
    return pick.choice(graph.node) if graph.node else None


def _tensors(graph: GraphProto) -> list[TensorProto]:
    found = list(graph.initializer)
    found += [a.t for n in graph.node for a in n.attribute if a.type == AttributeProto.TENSOR]
    return found


OPERATORS = sorted(
    {s.name for s in defs.get_all_schemas() if s.domain == ""}
    | {"QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearAveragePool", "QLinearSoftmax"}
)
CHAIN = ("Relu", "Add", "Mul", "Transpose", "Identity", "Exp", "Unsqueeze", "MatMul", "Concat")
MUTATIONS: tuple[Callable[[GraphProto, random.Random], None], ...] = (
    edge,
    arity,
    operator,
    attribute,
    port,
    tensor,
    external,
    nested,
    order,
    long_chain,
)
