"""Rewrites models of old operator sets in the forms of opset 13, so that they are valid there.

Broadcasting by an axis, attributes that became inputs, operators that were renamed, a Softmax over
several axes. The graphs of If, Loop and Scan are rewritten too; functions keep their own opset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, defs, helper, numpy_helper

from dataflow.errors import DataflowError

OLDEST = 6
"""Below this opset only operators are read that did not change until then."""

TARGET = 13
"""The opset of what is rewritten: the first with scales per channel in QuantizeLinear."""

IR_VERSION = 7
"""The file format that belongs to it; before 4 every initialiser had to be an input."""

OLD_DOMAIN = "dataflow.old"
"""Domain of operators whose old form has no counterpart: Scan with a batch (opset 8)."""

BROADCASTING = frozenset(
    ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater")
)
"""Operators that named the axis of their second operand until opset 6."""


def upgrade(model: onnx.ModelProto, opset: int, where: str) -> None:
    """Rewrites ``model``, which the checker has accepted, in place; nothing at opset 13 or later.

    Raises:
        DataflowError: for an operator whose old form is not read (a fix is named).
    """
    if opset >= TARGET:
        return
    edit = _Edit(model, opset, where)
    edit.rewrite(model.graph)
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = TARGET
    if edit.keeps_old:
        model.opset_import.add(domain=OLD_DOMAIN, version=1)
    model.ir_version = max(model.ir_version, IR_VERSION)


class _Edit:
    """The model that is being rewritten; new constants are initialisers of its main graph."""

    def __init__(self, model: onnx.ModelProto, opset: int, where: str) -> None:
        self.model = model
        self.graph = model.graph
        self.nodes: list[NodeProto] = []
        self.opset = opset
        self.where = where
        self.keeps_old = False
        self.names = _names(model.graph)
        self.types = _types(model)

    def rewrite(self, graph: GraphProto) -> None:
        """Rewrites the nodes of a graph and of the graphs inside it."""
        outer, self.nodes = self.nodes, []
        for node in graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            for attribute in copy.attribute:
                if attribute.type == AttributeProto.GRAPH:
                    self.rewrite(attribute.g)
            self.node(copy)
        del graph.node[:]
        graph.node.extend(self.nodes)
        self.nodes = outer

    def node(self, node: NodeProto) -> None:
        """Appends the node in its new form."""
        if node.domain in ("", "ai.onnx"):
            if self.opset < OLDEST and _changed(node.op_type, self.opset, OLDEST):
                raise self.refusal(node, f"has its form of opset {self.opset}")
            if self.opset < 7:
                self.before_seven(node)
            before, rewrite = REWRITES.get(node.op_type, (0, _as_it_is))
            if self.opset < before:
                rewrite(self, node)
        self.nodes.append(node)

    def before_seven(self, node: NodeProto) -> None:
        """Broadcasting by axis, and parameters that only training used."""
        for name in ("is_test", "consumed_inputs", "output_sequence"):
            _take(node, name)
        if node.op_type == "Gemm":
            _take(node, "broadcast")
        elif node.op_type in BROADCASTING and len(node.input) == 2:
            wanted, axis = _take(node, "broadcast"), _take(node, "axis")
            if wanted is not None and wanted.i and axis is not None:
                self.spread(node, axis.i)

    def spread(self, node: NodeProto, axis: int) -> None:
        """Gives the second operand the size-1 dimensions that follow it in the first."""
        full, own = self.rank(node.input[0]), self.rank(node.input[1])
        if full is None or own is None:
            raise self.refusal(node, f"broadcasts from axis {axis} of a tensor of unknown rank")
        first = axis + full if axis < 0 else axis
        if not 0 <= first <= full - own:
            raise self.refusal(node, f"broadcasts a {own}-D tensor from axis {axis} of {full}-D")
        if full - own - first:
            node.input[1] = self.unsqueezed(node.input[1], own, full - own - first)

    def unsqueezed(self, name: str, rank: int, count: int) -> str:
        """The value with ``count`` dimensions of size 1 added at its end."""
        axes = self.add_constant(f"{name}_axes", _ints(range(rank, rank + count)))
        return self.add("Unsqueeze", [name, axes])

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A new node in front; returns the name of its output."""
        new = self.fresh(inputs[0])
        self.nodes.append(helper.make_node(op, list(inputs), [new], name=new, **attributes))
        return new

    def constant(self, node: NodeProto, label: str, data: np.ndarray) -> str:
        """A new initialiser for a node."""
        return self.add_constant(f"{node.name or node.op_type}_{label}", data)

    def add_constant(self, label: str, data: np.ndarray) -> str:
        """A new initialiser; returns its name."""
        name = self.fresh(label)
        self.graph.initializer.append(numpy_helper.from_array(data, name))
        return name

    def fresh(self, label: str) -> str:
        """A name that the model does not use."""
        name, count = label, 1
        while name in self.names:
            count += 1
            name = f"{label}_{count}"
        self.names.add(name)
        return name

    def rank(self, name: str) -> int | None:
        """Number of dimensions of a value, by shape inference."""
        shape = self.types[name][1] if name in self.types else None
        return None if shape is None else len(shape)

    def element(self, name: str) -> int:
        """ONNX element type of a value, by shape inference; float where that finds none."""
        return self.types[name][0] if name in self.types else int(TensorProto.FLOAT)

    def inputs(self, node: NodeProto, names: Sequence[str]) -> None:
        """Replaces what follows the first input."""
        first = list(node.input[:1])
        del node.input[:]
        node.input.extend([*first, *names])

    def refusal(self, node: NodeProto, what: str) -> DataflowError:
        name = node.name or (node.output[0] if node.output else "")
        return DataflowError(
            f"{self.where}: {node.op_type} {name!r}", what, "export with opset 13 or newer"
        )


def _names(graph: GraphProto) -> set[str]:
    """All names of values and nodes, those of inner graphs included."""
    found = {t.name for t in graph.initializer}
    found |= {p.name for p in (*graph.input, *graph.output)}
    for node in graph.node:
        found |= {*node.output, *node.input, node.name}
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                found |= _names(attribute.g)
    return found


def _types(model: onnx.ModelProto) -> dict[str, tuple[int, tuple[int, ...] | None]]:
    """Element types and shapes (0 for unknown sizes) by name, as far as inference finds them."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # several types; a rank that stays unknown is refused where it is needed
        inferred = model.graph
    found: dict[str, tuple[int, tuple[int, ...] | None]] = {
        t.name: (t.data_type, tuple(t.dims)) for t in inferred.initializer
    }
    for port in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = port.type.tensor_type
        shape = tuple(d.dim_value for d in kind.shape.dim) if kind.HasField("shape") else None
        if kind.elem_type:
            found.setdefault(port.name, (kind.elem_type, shape))
    return found


def _changed(operator: str, old: int, new: int) -> bool:
    try:
        before = defs.get_schema(operator, old).since_version
        return bool(before != defs.get_schema(operator, new).since_version)
    except defs.SchemaError:
        return False  # no such operator: reported with the other unsupported ones


def _take(node: NodeProto, name: str) -> AttributeProto | None:
    """Removes an attribute and returns it."""
    for attribute in node.attribute:
        if attribute.name == name:
            copy = AttributeProto()
            copy.CopyFrom(attribute)
            node.attribute.remove(attribute)
            return copy
    return None


def _ints(values: Sequence[int] | range) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _as_it_is(edit: _Edit, node: NodeProto) -> None:
    """Nothing changed."""


def _pad(edit: _Edit, node: NodeProto) -> None:
    pads, value = _take(node, "pads"), _take(node, "value")
    if pads is None:
        raise edit.refusal(node, "has no pads")
    kind = helper.tensor_dtype_to_np_dtype(edit.element(node.input[0]))
    fill = edit.constant(node, "value", np.array(value.f if value else 0.0, kind))
    edit.inputs(node, [edit.constant(node, "pads", _ints(pads.ints)), fill])


def _slice(edit: _Edit, node: NodeProto) -> None:
    starts, ends, axes = (_take(node, name) for name in ("starts", "ends", "axes"))
    if starts is None or ends is None:
        raise edit.refusal(node, "has no starts or ends")
    along = axes.ints if axes is not None else range(len(starts.ints))
    names = ("starts", starts.ints), ("ends", ends.ints), ("axes", along)
    edit.inputs(node, [edit.constant(node, label, _ints(v)) for label, v in names])


def _top_k(edit: _Edit, node: NodeProto) -> None:
    count = _take(node, "k")
    if count is not None:
        edit.inputs(node, [edit.constant(node, "k", _ints([count.i]))])


def _scatter(edit: _Edit, node: NodeProto) -> None:
    node.op_type = "ScatterElements"


def _resize(edit: _Edit, node: NodeProto) -> None:
    """Upsample and Resize of opset 10: scales alone, sampled without an offset."""
    scales = _take(node, "scales")
    if scales is not None:
        data = np.array(scales.floats, dtype=np.float32)
        edit.inputs(node, ["", edit.constant(node, "scales", data)])
    elif len(node.input) == 2:
        edit.inputs(node, ["", node.input[1]])
    else:
        raise edit.refusal(node, "has no scales")
    node.op_type = "Resize"
    node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
    node.attribute.append(helper.make_attribute("nearest_mode", "floor"))


def _prelu(edit: _Edit, node: NodeProto) -> None:
    """Until opset 6 a slope of rank 1 went with the channels."""
    if len(node.input) != 2:
        return
    full, own = edit.rank(node.input[0]), edit.rank(node.input[1])
    if own == 1 and full is not None and full > 2:
        node.input[1] = edit.unsqueezed(node.input[1], 1, full - 2)


def _batch_norm(edit: _Edit, node: NodeProto) -> None:
    spatial = _take(node, "spatial")
    if spatial is not None and not spatial.i:
        raise edit.refusal(node, "normalises every position apart (spatial=0)")


def _clip(edit: _Edit, node: NodeProto) -> None:
    """Bounds that were attributes."""
    kind = helper.tensor_dtype_to_np_dtype(edit.element(node.input[0]))
    names = []
    for label in ("min", "max"):
        bound = _take(node, label)
        data = None if bound is None else np.array(bound.f, kind)
        names.append("" if data is None else edit.constant(node, label, data))
    edit.inputs(node, names if names[1] else [n for n in names if n])


def _dropout(edit: _Edit, node: NodeProto) -> None:
    """Nothing is dropped in inference; until opset 9 the mask had the type of the data."""
    _take(node, "ratio")
    mask = node.output[1] if len(node.output) > 1 else ""
    if mask and edit.opset < 10:
        node.output[1] = edit.fresh(f"{mask}_bool")
        edit.nodes.append(node)
        kind = edit.element(node.input[0])
        cast = helper.make_node("Cast", [node.output[1]], [mask], name=edit.fresh(mask), to=kind)
        node.CopyFrom(cast)


def _axes_input(edit: _Edit, node: NodeProto) -> None:
    """Squeeze, Unsqueeze, ReduceSum: axes; Split: sizes."""
    label = "split" if node.op_type == "Split" else "axes"
    given = _take(node, label)
    if given is not None:
        edit.inputs(node, [edit.constant(node, label, _ints(given.ints))])


def _softmax(edit: _Edit, node: NodeProto) -> None:
    """Softmax, LogSoftmax, Hardmax over all dimensions from ``axis`` on, taken as one."""
    given = _take(node, "axis")
    axis = 1 if given is None else given.i
    rank = edit.rank(node.input[0])
    if axis != -1 and (rank is None or axis % rank != rank - 1):
        source, result = node.input[0], node.output[0]
        shape = edit.add("Shape", [source])
        node.input[0] = edit.add("Flatten", [source], axis=axis)
        node.output[0] = edit.fresh(f"{result}_flat")
        node.attribute.append(helper.make_attribute("axis", -1))
        first = NodeProto()
        first.CopyFrom(node)
        edit.nodes.append(first)
        name = edit.fresh(f"{node.name}_shape")
        node.CopyFrom(helper.make_node("Reshape", [node.output[0], shape], [result], name=name))
        return
    node.attribute.append(helper.make_attribute("axis", -1))


def _scan(edit: _Edit, node: NodeProto) -> None:
    """Scan of opset 8 runs over every sample of a batch: lowered in that form."""
    node.domain = OLD_DOMAIN
    edit.keeps_old = True


REWRITES: dict[str, tuple[int, Callable[[_Edit, NodeProto], None]]] = {
    "Pad": (11, _pad),
    "Slice": (10, _slice),
    "TopK": (10, _top_k),
    "Scatter": (11, _scatter),
    "Upsample": (10, _resize),
    "Resize": (11, _resize),
    "PRelu": (7, _prelu),
    "BatchNormalization": (9, _batch_norm),
    "Clip": (11, _clip),
    "Dropout": (12, _dropout),
    "Squeeze": (13, _axes_input),
    "Unsqueeze": (13, _axes_input),
    "ReduceSum": (13, _axes_input),
    "Split": (13, _axes_input),
    "Softmax": (13, _softmax),
    "LogSoftmax": (13, _softmax),
    "Hardmax": (13, _softmax),
    "Scan": (9, _scan),
}
"""By operator: the opset that changed it, and the rewrite of what is older."""
