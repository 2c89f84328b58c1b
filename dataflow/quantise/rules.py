"""What of a float model is quantised, decided by its structure."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import numpy_helper

from dataflow.quantise.tool import Form

# Where one of these occurs, quantising everything costs most of the accuracy (measured on
# BERT, GPT-2, LLaMA), so that only matrix products are quantised.
FRAGILE = frozenset(
    {
        "LayerNormalization",
        "RMSNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LpNormalization",
        "MeanVarianceNormalization",
        "Attention",
        "Softmax",
        "LogSoftmax",
    }
)
PRODUCTS = ("Conv", "Gemm", "MatMul")
QUANTISED = (
    *PRODUCTS,
    "Add",
    "Mul",
    "Concat",
    "Relu",
    "Clip",
    "LeakyRelu",
    "Sigmoid",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
)
BETWEEN_CODES = (
    *("Sub", "Div", "Neg", "Abs", "Sqrt", "Exp", "Erf", "Tanh", "Max", "Min"),
    *("Elu", "Selu", "Celu", "Gelu", "Mish", "HardSwish", "HardSigmoid", "Softplus", "Softsign"),
    *("PRelu", "ThresholdedRelu", "BatchNormalization", "ConvTranspose", "Resize", "Pad", "Slice"),
    *("Split", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "GlobalMaxPool", "Identity"),
)
"""What has no integer kernel in onnxruntime, and can stand between dequantise and quantise."""


HIDDEN = -1e3
"""What is added to numbers that a softmax shall not see, at most."""


def quantised(form: Form) -> tuple[str, ...]:
    """All operators that can be quantised in a form."""
    return QUANTISED if form == "qoperator" else QUANTISED + BETWEEN_CODES


_REDUCTIONS = frozenset(
    {"ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceMax"}
)
_CARRY = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Sqrt",
        "Pow",
        "Abs",
        "Max",
        "Min",
        "Clip",
        "Cast",
        "Expand",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Identity",
        "Neg",
    }
)
_POINTWISE = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Sigmoid",
        "Softmax",
        "LogSoftmax",
        "Tanh",
        "Relu",
        "Softplus",
        "Cast",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Flatten",
        "Identity",
        "Clip",
        "Where",
    }
)
_SELECTIONS = frozenset({"TopK", "ArgMax", "ArgMin", "Hardmax"})


def operators(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Operator types to quantise: all, or only products where a normalisation, a softmax or
    attention occurs, as a node or written out. A softmax at the end does not count."""
    outputs = {o.name for o in proto.graph.output}
    last = ("Softmax", "LogSoftmax")
    inner = [n for n in proto.graph.node if n.op_type not in last or not outputs & set(n.output)]
    if any(n.op_type in FRAGILE for n in inner) or _normalises(proto):
        return PRODUCTS
    return QUANTISED


def _normalises(proto: onnx.ModelProto) -> bool:
    """Whether something is divided by a reduction of the data, or by its root."""
    constants = {t.name for t in proto.graph.initializer}
    reduced: set[str] = set()
    for node in proto.graph.node:
        data = [name for name in node.input if name and name not in constants]
        if node.op_type in _REDUCTIONS:
            reduced |= set(node.output)
        elif node.op_type in ("Reciprocal", "Div") and node.input[-1] in reduced:
            return True
        elif node.op_type in _CARRY and data and reduced >= set(data):
            reduced |= set(node.output)
    return False


def routers(proto: onnx.ModelProto) -> frozenset[str]:
    """Products whose result decides which data later operators read, such as a router of experts.

    A choice is not continuous: one code of difference swaps an expert and costs 20 dB.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    read = {name for node in _all_nodes(proto.graph) for name in node.input if name}
    found: set[str] = set()
    seen: set[str] = set()
    todo = [
        node.input[0]
        for node in proto.graph.node
        if node.op_type in _SELECTIONS and node.output[-1] in read
    ]
    while todo:
        name = todo.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in PRODUCTS:
            found.add(node.name)
        elif node.op_type in _POINTWISE:
            todo += node.input
    return frozenset(found)


def masks(proto: onnx.ModelProto) -> frozenset[str]:
    """Additions of a constant that hides numbers from a softmax: of 0 and of `HIDDEN` and below.

    One scale for scores and hidden numbers would leave nothing of the scores.
    """
    constants = {t.name: t for t in proto.graph.initializer}
    read = {n.input[0] for n in proto.graph.node if n.op_type in ("Softmax", "LogSoftmax")}
    found: set[str] = set()
    for node in proto.graph.node:
        known = [name for name in node.input if name in constants]
        if node.op_type != "Add" or len(known) != 1 or node.output[0] not in read:
            continue
        data = numpy_helper.to_array(constants[known[0]])
        if ((data == 0) | (data <= HIDDEN)).all() and (data != 0).any():
            found.add(node.name)
    return frozenset(found)


def phases(proto: onnx.ModelProto) -> frozenset[str]:
    """What makes the argument of a sine or cosine of inputs alone: times, positions.

    A phase of many turns has no int8 scale that leaves anything of it; the host computes it.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    found: set[str] = set()
    for node in proto.graph.node:
        if node.op_type in ("Sin", "Cos"):
            own: set[str] = set()
            todo = list(node.input)
            while todo:
                maker = makers.get(todo.pop())
                if maker is None or maker.name in own:
                    continue
                if maker.op_type not in _CARRY:
                    break  # a result of the machine
                own.add(maker.name)
                todo += maker.input
            else:
                found |= own
    return frozenset(found)


def kept_float(proto: onnx.ModelProto) -> frozenset[str]:
    """Nodes that stay float whatever the ratio: `masks` and `phases`."""
    return masks(proto) | phases(proto)


def name_nodes(proto: onnx.ModelProto) -> None:
    """Gives each node that has none, or shares it, a name: the quantiser goes by names."""
    taken: set[str] = set()
    for k, node in enumerate(proto.graph.node):
        if not node.name or node.name in taken:
            name = f"{node.op_type}_{k}"
            while name in taken:
                name += "_"
            node.name = name
        taken.add(node.name)


def spatial_means(proto: onnx.ModelProto, ranks: range = range(3, 6)) -> None:
    """ReduceMean over all spatial axes of an image -> GlobalAveragePool, and Flatten where the
    axes go. ``ranks`` are those of the tensors that are taken for images."""
    constants = {t.name: t for t in proto.graph.initializer}
    shapes = _shapes(proto)
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        nodes.append(node)
        if node.op_type != "ReduceMean":
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        axes = attributes.get("axes")
        if axes is None and len(node.input) > 1 and node.input[1] in constants:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        rank = len(shapes.get(node.input[0], ()))
        if axes is None or rank not in ranks:
            continue
        if sorted(a % rank for a in axes) != list(range(2, rank)):
            continue
        node.op_type = "GlobalAveragePool"
        del node.attribute[:]
        del node.input[1:]
        if not attributes.get("keepdims", 1):
            result, pooled = node.output[0], f"{node.output[0]}_pooled"
            node.output[0] = pooled
            nodes.append(
                onnx.helper.make_node("Flatten", [pooled], [result], f"{node.name}_flatten")
            )
    rebuilt = onnx.GraphProto(node=nodes)  # copies, since clearing would empty the originals
    del proto.graph.node[:]
    proto.graph.node.extend(rebuilt.node)
    drop_unused(proto)


def _shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(proto)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def drop_unused(proto: onnx.ModelProto) -> None:
    """Removes, in place, the constants that nothing reads."""
    used = {name for node in _all_nodes(proto.graph) for name in node.input}
    used |= {o.name for graph in _all_graphs(proto.graph) for o in graph.output}
    kept = [t for t in proto.graph.initializer if t.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def _all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and the bodies of its loops and branches, which may read its values."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_graphs(attribute.g)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for part in _all_graphs(graph):
        yield from part.node
