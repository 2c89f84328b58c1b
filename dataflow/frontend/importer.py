"""ONNX to Cascade: each node is lowered in turn; what cannot be is reported all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import onnx
from onnx import defs

from dataflow.errors import DataflowError
from dataflow.frontend import views
from dataflow.frontend.codes import conv, conv_transpose, linear, matmul, pointwise, pool, softmax
from dataflow.frontend.context import Context, PoisonedError, UnsupportedError
from dataflow.frontend.finish import finish, require_declared
from dataflow.frontend.fold import fold, foldable
from dataflow.frontend.functions import CONTRIBUTED
from dataflow.frontend.onnx.functions import check_functions, expand, has_body
from dataflow.frontend.onnx.graph import Graph, Node, Port, read_graph
from dataflow.frontend.onnx.load import load_proto, unknown
from dataflow.frontend.onnx.reorder import quantise_before_views
from dataflow.frontend.onnx.unroll import without_sequences
from dataflow.frontend.operators import GENERAL, Lower
from dataflow.frontend.value import Value, stored_value, without_elements
from dataflow.ir.cascade import Cascade
from dataflow.ir.dtype import DType

MICROSOFT = "com.microsoft"

LOWERINGS: dict[tuple[str, str], Lower] = {
    ("", "Conv"): conv.conv,
    ("", "QLinearConv"): conv.qlinear_conv,
    ("", "ConvTranspose"): conv_transpose.conv_transpose,
    ("", "MatMul"): matmul.matmul,
    ("", "Gemm"): matmul.gemm,
    ("", "QLinearMatMul"): matmul.qlinear_matmul,
    (MICROSOFT, "QGemm"): matmul.qgemm,
    **{("", op): pointwise.unary for op in pointwise.COMPUTED},
    **{(MICROSOFT, op): pointwise.unary for op in CONTRIBUTED},
    **{("", op): pointwise.arithmetic for op in pointwise.BINARY},
    (MICROSOFT, "QLinearAdd"): pointwise.qlinear_add,
    (MICROSOFT, "QLinearMul"): pointwise.qlinear_mul,
    (MICROSOFT, "QLinearSigmoid"): pointwise.qlinear_unary,
    (MICROSOFT, "QLinearLeakyRelu"): pointwise.qlinear_unary,
    ("", "QuantizeLinear"): linear.quantize,
    ("", "DequantizeLinear"): linear.dequantize,
    (MICROSOFT, "QuantizeLinear"): linear.quantize,
    (MICROSOFT, "DequantizeLinear"): linear.dequantize,
    ("", "MaxPool"): pool.max_pool,
    ("", "GlobalMaxPool"): pool.max_pool,
    ("", "AveragePool"): pool.average_pool,
    ("", "GlobalAveragePool"): pool.average_pool,
    ("", "ReduceMean"): pool.reduce_mean,
    (MICROSOFT, "QLinearAveragePool"): pool.qlinear_average_pool,
    (MICROSOFT, "QLinearGlobalAveragePool"): pool.qlinear_global_average_pool,
    ("", "Reshape"): views.reshape_node,
    ("", "Flatten"): views.flatten,
    ("", "Squeeze"): views.squeeze,
    ("", "Unsqueeze"): views.unsqueeze,
    ("", "Transpose"): views.transpose_node,
    ("", "Identity"): views.identity,
    ("", "Concat"): views.concat,
    (MICROSOFT, "QLinearConcat"): views.qlinear_concat,
    ("", "Softmax"): softmax.softmax,
}

MALFORMED = (
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,  # NumPy's, of shapes with too many dimensions
)
"""What reading a malformed node may raise; attributes of foreign domains are not checked before."""

INPUT = "Input"
"""Operator of the refusal of a network input."""

NEAREST: dict[str, str] = {
    "BatchNormalization": "export in eval mode so that it folds into the convolution",
    "Dropout": "export in eval mode",
    "NonZero": "export without data-dependent shapes",
    "Compress": "export without data-dependent shapes",
    "NonMaxSuppression": "run it after the network, on the host",
}


@dataclass(frozen=True)
class Imported:
    """A cascade with the record of how each node was lowered.

    Attributes:
        cascade: the network.
        graph: the ONNX graph.
        emitted: names of the Einsums that do the work of a node, by node index.
        emitted_host: kinds of its host operations.
        notes: remarks by node index, such as a bias that was quantised.
        values: what each ONNX value became, by name.
        expanded: indices of the nodes that were lowered through their function body.
    """

    cascade: Cascade
    graph: Graph
    emitted: Mapping[int, tuple[str, ...]]
    emitted_host: Mapping[int, tuple[str, ...]]
    notes: Mapping[int, str]
    values: Mapping[str, Value]
    expanded: frozenset[int]


@dataclass(frozen=True)
class Refusal:
    """An unsupported node."""

    node: Node
    shape: str
    reason: str
    fix: str


class UnsupportedModelError(DataflowError):
    """A model with unsupported nodes; ``refusals`` lists them all."""

    def __init__(self, where: str, refusals: list[Refusal], graph: Graph) -> None:
        self.refusals = refusals
        self.graph = graph
        rows = [
            f"  {r.node.name!r}  {_qualified(r.node)}  {r.shape}: {r.reason}; {r.fix}"
            for r in refusals
        ]
        plural = "operators" if len(rows) > 1 else "operator"
        super().__init__(
            where,
            f"has {len(rows)} unsupported {plural}:\n" + "\n".join(rows) + "\n",
            "change the operators listed",
        )


def load_model(
    source: str | Path | onnx.ModelProto, dims: Mapping[str, int] | None = None
) -> Cascade:
    """Imports an ONNX model.

    Args:
        source: a path or a model in memory.
        dims: sizes of symbolic dimensions, by name (``input.axis`` for nameless ones).

    Raises:
        DataflowError: for bad input; UnsupportedModelError lists all operators without lowering.
    """
    return import_model(source, dims).cascade


def import_model(
    source: str | Path | onnx.ModelProto, dims: Mapping[str, int] | None = None
) -> Imported:
    """As ``load_model``, with the record of how each node was lowered."""
    where = "model" if isinstance(source, onnx.ModelProto) else str(source)
    proto = without_sequences(load_proto(source))
    check_functions(proto)
    graph = quantise_before_views(read_graph(proto, dims or {}))
    ctx = Context(graph, lower_node)
    refusals: list[Refusal] = []
    for port in graph.inputs:
        refusal = _refused_port(port)
        if refusal is not None:
            refusals.append(refusal)
            ctx.poisoned.add(port.name)
            continue
        letters = views.LETTERS.get(len(port.shape), "D" * len(port.shape))
        ranks = [
            ctx.builder.rank(letter, size) for letter, size in zip(letters, port.shape, strict=True)
        ]
        dtype = DType.of_numpy(port.dtype)
        name = ctx.builder.tensor(port.name, ranks, dtype, "input")
        whole = stored_value(name, tuple((s,) for s in port.shape), dtype)
        ctx.values[port.name] = without_elements(whole) or whole
    for node in graph.nodes:
        if node.index not in ctx.absorbed:
            _lower(ctx, node, refusals)
    if refusals:
        raise UnsupportedModelError(where, refusals, graph)
    require_declared(ctx, where)
    cascade = finish(ctx)
    return Imported(
        cascade,
        graph,
        {k: tuple(v) for k, v in ctx.builder.emitted.items()},
        {k: tuple(v) for k, v in ctx.builder.emitted_host.items()},
        dict(ctx.notes),
        ctx.values,
        frozenset(ctx.builder.expanded),
    )


def _refused_port(port: Port) -> Refusal | None:
    """Why an input cannot be read, as if a node made it: listed with the nodes that cannot."""
    try:
        DType.of_numpy(port.dtype)
    except DataflowError:
        node = Node(-1, port.name, "", INPUT, (), (port.name,), {})
        kind = "text" if port.dtype.kind in "OSU" else port.dtype.name
        fix = (
            "encode it as numbers on the host" if kind == "text" else "export the model in float32"
        )
        return Refusal(node, str(list(port.shape)), f"the network input has type {kind}", fix)
    return None


def _lower(ctx: Context, node: Node, refusals: list[Refusal]) -> None:
    try:
        lower_node(ctx, node)
    except PoisonedError:
        ctx.poisoned.update(node.outputs)
    except UnsupportedError as refusal:
        refusals.append(Refusal(node, _shapes(ctx, node), refusal.reason, refusal.fix))
        ctx.poisoned.update(node.outputs)


def lower_node(ctx: Context, node: Node) -> None:
    """Lowers one node of a graph or body.

    A node of constants is folded. Else the integer forms are tried first, then the general one,
    then the function body; what a lowering that gives up has built is taken back.

    Raises:
        UnsupportedError: no lowering takes it; the reason is that of the most general one.
        PoisonedError: an input comes from an unsupported node.
    """
    if foldable(ctx, node):
        refusal = _attempt(ctx, node, _fold)
        if refusal is not None:
            raise refusal
    else:
        _lower_by_any(ctx, node)


def _fold(ctx: Context, node: Node) -> None:
    fold(ctx, node, _lower_by_any)


def _lower_by_any(ctx: Context, node: Node) -> None:
    key = ("" if node.domain == "ai.onnx" else node.domain, node.op)
    lowerings = [table[key] for table in (LOWERINGS, GENERAL) if key in table]
    if key in ctx.graph.functions:
        lowerings = []
    elif lowerings and _too_new(ctx.graph.opset, *key):
        first = min(
            s.since_version for s in defs.get_all_schemas_with_history() if s.name == key[1]
        )
        raise UnsupportedError(
            f"opset {ctx.graph.opset} has no such operator", f"export with opset {first} or later"
        )
    refusal = None
    for lowering in lowerings:
        refusal = _attempt(ctx, node, lowering)
        if refusal is None:
            return
    if has_body(ctx, node):
        inside = _attempt(ctx, node, expand)
        if inside is None:
            if ctx.builder.owner(node.index) == node.index:
                ctx.builder.expanded.add(node.index)
            return
        refusal = refusal or inside
    raise refusal or UnsupportedError(
        "no lowering for this operator", NEAREST.get(node.op) or _nearest(node.op)
    )


def _attempt(ctx: Context, node: Node, lowering: Lower) -> UnsupportedError | None:
    """Lowers a node, or takes back what was built and returns why not."""
    mark = ctx.builder.mark()
    try:
        lowering(ctx, node)
    except UnsupportedError as refusal:
        ctx.builder.rollback(mark)
        return refusal
    except MALFORMED as error:
        ctx.builder.rollback(mark)
        reason = f"its attributes or shapes are malformed ({type(error).__name__}: {error})"
        return UnsupportedError(reason, "repair the model")
    return None


def _too_new(opset: int, domain: str, op: str) -> bool:
    """Whether only later opsets have the operator; nodes before opset 11 are in newer forms."""
    return not domain and opset >= 11 and unknown(domain, op, opset) and defs.has(op)


def _nearest(op: str) -> str:
    names = sorted({name for _, name in {**LOWERINGS, **GENERAL}})
    near = get_close_matches(op, names, 3, cutoff=0.0)
    return f"replace it; the nearest names are {', '.join(near)}; see docs/operators.md"


def _qualified(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain not in ("", "ai.onnx") else node.op


def _shapes(ctx: Context, node: Node) -> str:
    known = []
    for name in node.inputs:
        if name in ctx.values:
            known.append(str(list(ctx.values[name].shape)))
        elif name in ctx.graph.constants:
            known.append(str(list(ctx.graph.constants[name].shape)))
        else:
            known.append("?")
    return " ".join(known)
