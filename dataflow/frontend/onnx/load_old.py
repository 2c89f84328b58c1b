"""Rewrites the nodes of models before opset 11 in the forms of opset 11; the opset stays.

Only what no lowering reads in its old form: broadcasting by an axis, attributes that became inputs,
operators that were renamed. A lowering that depends on the opset (Softmax) still sees the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, defs, helper, numpy_helper

from dataflow.errors import DataflowError

OLDEST = 6
"""Below this opset only operators are read that did not change until then."""

BROADCASTING = frozenset(
    ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater")
)
"""Operators that named the axis of their second operand until opset 6."""


def upgrade(model: onnx.ModelProto, opset: int, where: str) -> None:
    """Rewrites ``model`` in place.

    Raises:
        DataflowError: for an operator whose old form is not read (a fix is named).
    """
    if opset >= 11:
        return
    edit = _Edit(model, opset, where)
    nodes = []
    for node in model.graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        nodes.append(copy)
    del model.graph.node[:]
    for node in nodes:
        edit.node(node)


class _Edit:
    """The graph that is being rewritten."""

    def __init__(self, model: onnx.ModelProto, opset: int, where: str) -> None:
        self.model = model
        self.graph = model.graph
        self.opset = opset
        self.where = where
        self.names = {t.name for t in self.graph.initializer} | {p.name for p in self.graph.input}
        self.names |= {name for n in self.graph.node for name in n.output}
        self.ranks = _ranks(model) if opset < 7 else {}

    def node(self, node: NodeProto) -> None:
        """Appends the node in its new form."""
        if node.domain in ("", "ai.onnx"):
            if self.opset < OLDEST and _changed(node.op_type, self.opset, OLDEST):
                raise self.refusal(node, f"has its form of opset {self.opset}")
            if self.opset < 7:
                self.before_seven(node)
            rewrite = REWRITES.get(node.op_type)
            if rewrite is not None:
                rewrite(self, node)
        self.graph.node.append(node)

    def before_seven(self, node: NodeProto) -> None:
        """Broadcasting by axis, and parameters that only training used."""
        _take(node, "is_test")
        _take(node, "consumed_inputs")
        if node.op_type == "Gemm":
            _take(node, "broadcast")
        elif node.op_type == "BatchNormalization":
            spatial = _take(node, "spatial")
            if spatial is not None and not spatial.i:
                raise self.refusal(node, "normalises every position apart (spatial=0)")
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
        new = self.fresh(name)
        axes = list(range(rank, rank + count))
        self.graph.node.append(helper.make_node("Unsqueeze", [name], [new], name=new, axes=axes))
        return new

    def constant(self, node: NodeProto, label: str, data: np.ndarray) -> str:
        """A new initialiser."""
        name = self.fresh(f"{node.name or node.op_type}_{label}")
        self.graph.initializer.append(numpy_helper.from_array(data, name))
        return name

    def fresh(self, label: str) -> str:
        name, count = label, 1
        while name in self.names:
            count += 1
            name = f"{label}_{count}"
        self.names.add(name)
        return name

    def rank(self, name: str) -> int | None:
        """Number of dimensions of a value, by shape inference."""
        return self.ranks.get(name)

    def inputs(self, node: NodeProto, names: Sequence[str]) -> None:
        """Replaces what follows the first input."""
        first = list(node.input[:1])
        del node.input[:]
        node.input.extend([*first, *names])

    def refusal(self, node: NodeProto, what: str) -> DataflowError:
        name = node.name or (node.output[0] if node.output else "")
        return DataflowError(
            f"{self.where}: {node.op_type} {name!r}", what, "export with opset 11 or newer"
        )


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Ranks by name, as far as shape inference finds them."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # several types; a rank that stays unknown is refused where it is needed
        inferred = model.graph
    ranks = {t.name: len(t.dims) for t in inferred.initializer}
    for port in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = port.type.tensor_type
        if kind.HasField("shape"):
            ranks.setdefault(port.name, len(kind.shape.dim))
    return ranks


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


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _pad(edit: _Edit, node: NodeProto) -> None:
    pads, value = _take(node, "pads"), _take(node, "value")
    if pads is None:
        raise edit.refusal(node, "has no pads")
    fill = edit.constant(node, "value", np.array(value.f if value else 0.0, np.float32))
    edit.inputs(node, [edit.constant(node, "pads", _ints(pads.ints)), fill])


def _slice(edit: _Edit, node: NodeProto) -> None:
    if edit.opset >= 10:
        return
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
    if edit.opset >= 7 or len(node.input) != 2:
        return
    full, own = edit.rank(node.input[0]), edit.rank(node.input[1])
    if own == 1 and full is not None and full > 2:
        node.input[1] = edit.unsqueezed(node.input[1], 1, full - 2)


REWRITES: dict[str, Callable[[_Edit, NodeProto], None]] = {
    "Pad": _pad,
    "Slice": _slice,
    "TopK": _top_k,
    "Scatter": _scatter,
    "Upsample": _resize,
    "Resize": _resize,
    "PRelu": _prelu,
}
