"""The end of an import: outputs, host operations, roles, the frozen Cascade."""

from __future__ import annotations

from dataclasses import replace

from dataflow.errors import DataflowError
from dataflow.frontend.context import Context
from dataflow.frontend.value import QParams, Value, constant_value
from dataflow.ir.cascade import Cascade, HostOp, Role
from dataflow.ir.dtype import F32
from dataflow.ir.expr import Access, variables
from dataflow.ir.verify import verify


def finish(ctx: Context) -> Cascade:
    """Stores what leaves the network, sets the roles and checks the result."""
    outputs: list[str] = []
    graph_outputs: list[str] = []
    for name in ctx.graph.outputs:
        final = ctx.softmax.get(name)
        value = final.value if final else _value(ctx, name)
        quant = value.quant
        tensor, value = _machine_output(ctx, name, value, outputs, on_host=final is not None)
        on_machine = ctx.builder.tensors[tensor].role != "input"
        if tensor not in outputs and on_machine:
            outputs.append(tensor)
        graph_outputs.append(_host_side(ctx, name, tensor, value, quant))
    return _frozen(ctx, outputs, graph_outputs)


def require_declared(ctx: Context, where: str) -> None:
    """Raises DataflowError when an output is not what the model says of it."""
    for name, declared in ctx.graph.declared.items():
        value = _value(ctx, name)
        dtype = value.dtype if value.quant is None else value.quant.real
        place = f"{where}: output {name!r}"
        if declared.dtype is not None and declared.dtype != dtype.interface:
            raise DataflowError(
                place,
                f"is declared {declared.dtype.name}, but its operators make {dtype}",
                "declare what they make",
            )
        wanted = declared.shape
        if wanted is None or name in ctx.softmax:
            continue
        fits = len(wanted) == len(value.shape) and all(
            size in (None, own) for size, own in zip(wanted, value.shape, strict=True)
        )
        if not fits:
            raise DataflowError(
                place,
                f"is declared {[s or '?' for s in wanted]}, but its operators make "
                f"{list(value.shape)}",
                "declare what they make",
            )


def _value(ctx: Context, name: str) -> Value:
    if name not in ctx.values:
        return constant_value(ctx.graph.constants[name])
    return ctx.values[name]


def _machine_output(
    ctx: Context, name: str, value: Value, taken: list[str], *, on_host: bool
) -> tuple[str, Value]:
    """The tensor in which a value leaves the machine, and the value as stored there."""
    b = ctx.builder
    value = ctx.expression(value, name)
    origin = (name, "Output")
    coded = value.quant is not None and not value.chain
    if not (value.stored and (coded or not value.chain) and row_major(ctx, value)):
        expr, dtype = (value.expr, value.dtype) if coded else (value.real(), value.dtype)
        if value.quant is not None and not coded:
            dtype = F32
        assert expr is not None
        label = f"{name}_codes" if coded else name
        stored = b.store(label, value, expr, dtype, origin, value.quant if coded else None)
        if not row_major(ctx, stored):
            stored = b.plain(stored, label, origin)
        value = replace(stored, quant=value.quant if coded else None)
    assert isinstance(value.expr, Access)
    tensor = b.tensors[value.expr.tensor]
    host = coded or on_host or value.shape != tensor.shape
    # A tensor that leaves under two names, or an input or weight that leaves as it is, is copied.
    clash = tensor.name in taken and not host
    if tensor.role == "weight" or (not host and (clash or tensor.role == "input")):
        value = replace(b.store(name, value, value.expr, value.dtype, origin), quant=value.quant)
        assert isinstance(value.expr, Access)
        tensor = b.tensors[value.expr.tensor]
    return tensor.name, value


def row_major(ctx: Context, value: Value) -> bool:
    """Whether a stored value is its tensor, whole and in the order of memory."""
    assert isinstance(value.expr, Access)
    tensor = ctx.builder.tensors[value.expr.tensor]
    offset, strides, stride = 0, {f"${k}": 0 for k in range(len(value.sub))}, 1
    for index, size in zip(value.expr.indices[::-1], tensor.shape[::-1], strict=True):
        offset += index.offset * stride
        for name, coefficient in index.terms:
            strides[name] += coefficient * stride
        stride *= size
    expected = 1
    for k in range(len(value.sub) - 1, -1, -1):
        if value.sub[k] > 1 and strides[f"${k}"] != expected:
            return False
        expected *= value.sub[k]
    return offset == 0 and expected == tensor.elements


def _host_side(ctx: Context, name: str, tensor: str, value: Value, quant: QParams | None) -> str:
    """Host operations after the machine; returns the tensor that leaves the network."""
    b = ctx.builder
    final = ctx.softmax.get(name)
    current, shape = tensor, value.shape
    coded = value.quant is not None and not value.chain and quant is not None
    steps: list[HostOp] = []
    if coded:
        assert quant is not None
        source = _dequantiser(ctx, value, name)
        steps.append(HostOp("dequantize", "after", current, "", source, quant.s, quant.z))
    elif shape != b.tensors[tensor].shape:
        steps.append(HostOp("reshape", "after", current, "", name))
    if final is not None:
        steps.append(HostOp("softmax", "after", "", "", final.node.name, axis=final.axis))
    for position, op in enumerate(steps):
        last = position == len(steps) - 1
        label = name if last else f"{name}_{op.op}"
        ranks = _ranks(ctx, value)
        dtype = b.tensors[tensor].dtype if op.op == "reshape" else F32
        result = b.tensor(label, ranks, dtype, "host")
        if last:
            b.tensors[result] = replace(b.tensors[result], label=name)
        sources = {final.node.index} if final and op.op == "softmax" else set(value.sources)
        b.host_op(replace(op, input=current, output=result), frozenset(sources))
        current = result
    if not steps:
        b.tensors[tensor] = replace(b.tensors[tensor], label=name)
    return current


def _dequantiser(ctx: Context, value: Value, default: str) -> str:
    """Name of the DequantizeLinear whose work a value still carries."""
    for node in ctx.graph.nodes:
        if node.index in value.sources and node.op == "DequantizeLinear":
            return node.name
    return default


def _ranks(ctx: Context, value: Value) -> list[str]:
    """Rank names for the logical shape of a stored value."""
    b = ctx.builder
    assert isinstance(value.expr, Access)
    tensor = b.tensors[value.expr.tensor]
    if tensor.shape == value.shape:
        return list(tensor.ranks)
    return [b.rank("D", size) for size in value.shape]


def _frozen(ctx: Context, outputs: list[str], graph_outputs: list[str]) -> Cascade:
    b = ctx.builder
    read = {a.tensor for e in b.einsums for a in e.inputs}
    tensors = dict(b.tensors)
    host_read = {op.input for op in b.host}
    for name, tensor in b.tensors.items():
        role: Role = tensor.role
        if name in outputs:
            role = "output"
        elif role == "input" and name in host_read and name not in read and tensor.dtype == F32:
            role = "host"
        tensors[name] = replace(tensor, role=role)
    used = read | {e.output.tensor for e in b.einsums}
    tensors = {n: t for n, t in tensors.items() if t.role != "weight" or n in used}
    ranks = {r for t in tensors.values() for r in t.ranks}
    ranks |= {v.upper() for e in b.einsums for v in (*e.variables, *variables(e.expr), *e.iterates)}
    running = {v for e in b.einsums for v in e.iterates}
    cascade = Cascade(
        name=ctx.graph.name,
        rank_sizes={r: s for r, s in b.rank_sizes.items() if r in ranks},
        tensors=tensors,
        einsums=tuple(b.einsums),
        constants={n: d for n, d in b.constants.items() if n in tensors},
        inputs=tuple(n for n, t in tensors.items() if t.role == "input"),
        outputs=tuple(outputs),
        host=tuple(b.host),
        iterations={v: i for v, i in b.iterations.items() if v in running},
        graph_inputs=tuple(
            n for p in ctx.graph.inputs for n, t in tensors.items() if _is_port(t.label, t.role, p)
        ),
        graph_outputs=tuple(graph_outputs),
    )
    verify(cascade)
    return cascade


def _is_port(label: str, role: Role, port: object) -> bool:
    return role in ("input", "host") and label == getattr(port, "name", None)
