"""lower: a legal Cascade as the layers that the machine executes."""

from __future__ import annotations

from dataclasses import replace

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access
from dataflow.ir.macs import contraction_operands
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.lower.affine_only import require_affine
from dataflow.lower.assemble import CannotFuse
from dataflow.lower.context import Context
from dataflow.lower.copies import with_array_copies
from dataflow.lower.groups import Group, form_groups, is_code
from dataflow.lower.inline import inline_wide
from dataflow.lower.layout import choose, storages, with_copies
from dataflow.lower.roles import on_array
from dataflow.lower.strides import strided
from dataflow.lower.vector_layer import vector_layers


def lower(cascade: Cascade) -> LayerGraph:
    """The layers of a legal Cascade, in execution order, with storage and constant data.

    Raises:
        DataflowError: some Einsums cannot run on the machine; all of them are listed.
    """
    require_affine(cascade)
    cascade = inline_wide(cascade)
    cascade, layouts = with_copies(cascade, choose(cascade))
    ctx = Context(cascade, storages(cascade, layouts))
    cascade = _with_aliases(ctx)

    def fits(group: Group) -> bool:
        trial = ctx.snapshot()
        try:
            layers = _layers(trial, group)
        except CannotFuse:
            return False
        return len(layers) == 1

    failures: list[str] = []
    roots = {name: s.alias_of for name, s in ctx.storage.items() if s.alias_of is not None}
    for group in form_groups(cascade, fits, roots):
        try:
            ctx.layers += _layers(ctx, group)
        except CannotFuse as reason:
            head = group.head or next(e for e in cascade.einsums if e.name == group.name)
            where = head.source or head.name
            failures.append(f"{where} ({head.operator or 'Einsum'} {group.name}): {reason}")
    if failures:
        raise DataflowError(
            f"network {cascade.name}",
            "the machine cannot run\n  " + "\n  ".join(failures),
            "change these operators or their quantisation",
        )
    used = _used(ctx)
    return LayerGraph(
        cascade.name,
        tuple(ctx.layers),
        {name: s for name, s in ctx.storage.items() if name in used},
        ctx.weights,
        ctx.params,
        {name: data for name, data in ctx.constants.items() if name in used},
    )


def _used(ctx: Context) -> set[str]:
    """Tensors that a layer reads or writes, with the inputs, the outputs and their aliases."""
    used = {*ctx.cascade.inputs, *ctx.cascade.outputs}
    for layer in ctx.layers:
        views = [layer.source, layer.output, layer.second]
        if layer.stationary is not None:
            views.append(layer.stationary.view)
        used |= {view.tensor for view in views if view is not None}
    roots = {ctx.storage[name].alias_of for name in used} - {None}
    return used | {r for r in roots if r is not None}


def _layers(ctx: Context, group: Group) -> list[Layer]:
    if not is_code(ctx.cascade, group.output.tensor):
        raise CannotFuse(
            f"its result {group.output.tensor} is "
            f"{ctx.cascade.tensors[group.output.tensor].dtype}, not 8-bit codes"
        )
    for access in group.reads:
        tensor = ctx.cascade.tensors[access.tensor]
        stored = access.tensor in ctx.storage or access.tensor in ctx.cascade.constants
        if not stored:
            raise CannotFuse(f"{access.tensor} is {tensor.dtype}, not 8-bit codes")
    if group.head is None or not on_array(ctx, group.head):
        return vector_layers(ctx, group)
    try:
        return with_array_copies(ctx, group)
    except CannotFuse:
        if contraction_operands(group.head) is not None:
            raise
    return vector_layers(ctx, group)


def _with_aliases(ctx: Context) -> Cascade:
    """Copies that move no byte become aliases and leave the list of Einsums."""
    cascade = ctx.cascade
    left = []
    writers: dict[str, int] = {}
    for einsum in cascade.einsums:
        writers[einsum.output.tensor] = writers.get(einsum.output.tensor, 0) + 1
    for einsum in cascade.einsums:
        root = _same_bytes(ctx, cascade, einsum) if writers[einsum.output.tensor] == 1 else None
        if root is None:
            left.append(einsum)
            continue
        name = einsum.output.tensor
        role = ctx.storage[name].role
        ctx.storage[name] = replace(ctx.storage[name], alias_of=root)
        if role == "output":
            ctx.storage[root] = replace(ctx.storage[root], role=role)
    ctx.cascade = replace(cascade, einsums=tuple(left))
    return ctx.cascade


def _same_bytes(ctx: Context, cascade: Cascade, einsum: Einsum) -> str | None:
    """The root tensor that a copy's output could be, or None."""
    expr, output = einsum.expr, einsum.output
    if einsum.reduction is not None or not isinstance(expr, Access):
        return None
    if expr.tensor not in ctx.storage or output.tensor not in ctx.storage:
        return None
    source, target = ctx.storage[expr.tensor], ctx.storage[output.tensor]
    root = ctx.storage[source.alias_of or source.name]
    if source.bytes != target.bytes or source.signed != target.signed:
        return None
    if root.role == "input" and target.role == "output":
        return None  # the network's output is its own tensor
    if root.role == "output" and target.role == "output":
        return None
    a, b = strided(expr, source), strided(output, target)
    sizes = {v: cascade.size(v) for v in einsum.variables}
    same = all(a.of(v) == b.of(v) for v in sizes if sizes[v] > 1)
    return root.name if same and a.offset == b.offset == 0 else None
