"""Operators without a lowering: replaced by the body of their function.

Functions are those of the model, those that the ONNX standard gives for its operators, as they
are for the opset of the model and the types of the inputs, and those of fused operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TypeProto, defs, helper

from dataflow.errors import DataflowError
from dataflow.frontend.body import inline
from dataflow.frontend.builder import MAX_BODY_NODES
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.onnx.fused import fused, known
from dataflow.frontend.onnx.graph import MAX_DEPTH, Graph, Node, assembled, read_nodes
from dataflow.frontend.value import Value
from dataflow.ir.dtype import DType


def has_body(ctx: Context, node: Node) -> bool:
    """Whether ``expand`` can try the node."""
    if _key(node) in ctx.graph.functions or known(node):
        return True
    schema = _schema(ctx, node)
    if schema is None:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def expand(ctx: Context, node: Node) -> None:
    """Lowers the nodes of the function that the node is a call of.

    Raises:
        UnsupportedError: the body cannot be had for these inputs, or a node of it has no lowering.
    """
    function = ctx.graph.functions.get(_key(node)) or fused(node) or _standard(ctx, node)
    given = [ctx.optional(node, k) for k in range(len(node.inputs))]
    if len(given) > len(function.input) or len(node.outputs) > len(function.output):
        raise UnsupportedError("its function has fewer inputs or outputs", "repair the model")
    bound = {n: v for n, v in zip(function.input, given, strict=False) if v is not None}
    body = _body(ctx, node, function, frozenset(set(function.input) - set(bound)))
    found = dict(zip(body.outputs, inline(ctx, node, body, bound), strict=True))
    for position, name in enumerate(node.outputs):
        if name:
            value = found[function.output[position]]
            ctx.define(node, value.with_source(node.index), position)


def check_functions(model: ModelProto) -> None:
    """Raises DataflowError when functions call themselves, or the calls unfold to too many nodes.

    Only reads: a few lines of functions that call each other can stand for millions of nodes.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    if not functions:
        return
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()

    def size(nodes: Iterable[NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            key = node.domain, node.op_type
            total += 1 + (of(key, depth + 1) if key in functions else 0)
            for attribute in node.attribute:
                if attribute.type == AttributeProto.GRAPH:
                    total += size(attribute.g.node, depth)
        return total

    def of(key: tuple[str, str], depth: int) -> int:
        where = f"function {key[1]!r}"
        if key in open_calls:
            raise DataflowError(where, "calls itself", "unroll the recursion")
        if depth > MAX_DEPTH:
            raise DataflowError(where, f"is called {depth} deep", "inline some functions")
        if key not in sizes:
            open_calls.add(key)
            sizes[key] = min(size(functions[key].node, depth), MAX_BODY_NODES + 1)
            open_calls.remove(key)
        return sizes[key]

    if size(model.graph.node, 0) > MAX_BODY_NODES:
        raise DataflowError(
            "model", f"has more than {MAX_BODY_NODES} nodes in functions", "inline fewer calls"
        )


def _key(node: Node) -> tuple[str, str]:
    return node.domain, node.op


def _schema(ctx: Context, node: Node) -> Any:
    """The definition of a standard operator for the opset of the graph, or None.

    An ``onnx.defs.OpSchema``, whose type stub lacks the methods that give functions.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    opset = ctx.graph.opset if not domain else ctx.graph.opsets.get(domain, 1)
    try:
        return defs.get_schema(node.op, opset, domain)
    except defs.SchemaError:
        return None


def _standard(ctx: Context, node: Node) -> FunctionProto:
    schema = _schema(ctx, node)
    assert schema is not None and node.proto is not None
    versions = sorted(
        schema.context_dependent_function_opset_versions
        if schema.has_context_dependent_function
        else schema.function_opset_versions
    )
    # The newest body that the model's opset allows; an older operator keeps its first one.
    version = max((v for v in versions if v <= ctx.graph.opset), default=versions[0])
    if not schema.has_context_dependent_function:
        data = schema.get_function_with_opset_version(version)
    else:
        types = [_type(ctx.optional(node, k)) for k in range(len(node.inputs))]
        try:
            data = schema.get_context_dependent_function_with_opset_version(
                version, node.proto.SerializeToString(), [t.SerializeToString() for t in types]
            )
        except Exception as error:  # onnx raises several types on shapes and attributes it refuses
            first = (str(error).strip().splitlines() or ["no detail"])[0]
            raise UnsupportedError(f"its function body: {first}", "repair it") from error
    function = FunctionProto.FromString(data) if data else FunctionProto()
    if not function.node:
        raise UnsupportedError("its function has no body for these inputs", "export it otherwise")
    return function


def _type(value: Value | None) -> TypeProto:
    if value is None:
        return TypeProto()
    return helper.make_tensor_type_proto(_element(value.dtype), value.shape)


def _element(dtype: DType) -> int:
    return int(helper.np_dtype_to_tensor_dtype(dtype.numpy))


def _body(ctx: Context, node: Node, function: FunctionProto, absent: frozenset[str]) -> Graph:
    """The part of the body that the wanted outputs need, with the call's attributes put in.

    ``absent``: formal inputs that the call leaves out.
    """
    assert node.proto is not None
    given = {a.name: a for a in node.proto.attribute}
    for default in (*function.attribute_proto, *_defaults(ctx, node)):
        given.setdefault(default.name, default)
    call = _Call(given, absent)
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in function.opset_import}
    opset = opsets.get("", ctx.graph.opset)
    nodes = read_nodes([call.bound(part, 1) for part in function.node], opset, 1)
    wanted = zip(function.output, node.outputs, strict=False)
    outputs = tuple(dict.fromkeys(inner for inner, outer in wanted if outer))
    return replace(assembled(node.op, opset, nodes, {}, outputs), opsets=opsets)


def _defaults(ctx: Context, node: Node) -> list[AttributeProto]:
    """Default values of the attributes of a standard operator."""
    schema = None if _key(node) in ctx.graph.functions else _schema(ctx, node)
    found = [] if schema is None else [a.default_value for a in schema.attributes.values()]
    return [a for a in found if a.type != AttributeProto.UNDEFINED]


@dataclass(frozen=True)
class _Call:
    """What a call puts into the nodes of a body."""

    given: Mapping[str, AttributeProto]
    absent: frozenset[str]

    def bound(self, node: NodeProto, depth: int) -> NodeProto:
        """The node without references to attributes, and without absent inputs."""
        if depth > MAX_DEPTH:
            raise UnsupportedError("its function is nested too deep", "flatten the model")
        copy = NodeProto()
        copy.CopyFrom(node)
        del copy.attribute[:]
        for k, name in enumerate(copy.input):
            if name in self.absent:
                copy.input[k] = ""
        for attribute in node.attribute:
            source = attribute
            if attribute.ref_attr_name:
                if attribute.ref_attr_name not in self.given:
                    continue
                source = self.given[attribute.ref_attr_name]
            new = copy.attribute.add()
            new.CopyFrom(source)
            new.name = attribute.name
            if new.type == AttributeProto.GRAPH:
                parts = [self.bound(part, depth + 1) for part in new.g.node]
                del new.g.node[:]
                new.g.node.extend(parts)
        return copy
