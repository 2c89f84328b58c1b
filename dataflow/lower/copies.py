"""Layers whose operands or result must first be copied into another layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dataflow.ir.affine import Affine
from dataflow.ir.expr import Access, accesses, map_accesses
from dataflow.ir.macs import contraction_operands
from dataflow.layers.layer import Layer, Storage
from dataflow.lower.array_layer import array_layers
from dataflow.lower.context import Context
from dataflow.lower.groups import Group
from dataflow.lower.layout import innermost, split_operands
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.vector_layer import vector_layers


def with_array_copies(ctx: Context, group: Group) -> list[Layer]:
    """The layers of an array group, with the fewest copies around it that make it work.

    Raises CannotFuse with the reason of the attempt without copies.
    """
    attempts: list[Callable[[Context, Group], list[Layer]]] = [
        array_layers,
        _result_copied,
        _operands_copied,
        lambda c, g: _operands_copied(c, g, _result_copied),
    ]
    first: CannotFuse | None = None
    for attempt in attempts:
        trial = ctx.snapshot()
        try:
            layers = attempt(trial, group)
        except CannotFuse as reason:
            first = first or reason
            continue
        ctx.take(trial)
        return layers
    assert first is not None
    raise first


def _result_copied(ctx: Context, group: Group) -> list[Layer]:
    """The result in the layout that the array's columns write, then copied."""
    assert group.head is not None
    if contraction_operands(group.head) is None:
        raise CannotFuse(
            "a window sum has its channels where its source has them",
            "transpose before the pooling",
        )
    moving, stationary = split_operands(ctx.cascade, group.head)
    own = set(stationary.variables) - set(moving.variables)
    columns = tuple(d for d, i in enumerate(group.output.indices) if set(i.variables) & own)
    return _through_copy(ctx, group, columns, array_layers)


def _through_copy(
    ctx: Context,
    group: Group,
    last: tuple[int, ...],
    layers_of: Callable[[Context, Group], list[Layer]],
) -> list[Layer]:
    """The layers of a group that writes a copy with the dimensions ``last`` innermost, and the
    layers that copy it back."""
    name = group.output.tensor
    storage = ctx.storage[name]
    copy = ctx.fresh(f"{name}_layout")
    layout = innermost(len(storage.shape), last)
    ctx.storage[copy] = replace(storage, name=copy, layout=layout, role="intermediate")
    tensor = replace(ctx.cascade.tensors[name], name=copy, role="intermediate", label=copy)
    ctx.cascade = replace(ctx.cascade, tensors={**ctx.cascade.tensors, copy: tensor})
    layers = layers_of(ctx, replace(group, output=Access(copy, group.output.indices)))
    # Only what the group writes is copied: the tensor may have other writers.
    back = Group((f"{copy}_copy",), None, group.output, Access(copy, group.output.indices), 0)
    return layers + vector_layers(ctx, back)


def with_vector_copies(ctx: Context, group: Group) -> list[Layer]:
    """The layers of a vector group; where numbers differ along a dimension that does not lie last
    in the result, it is copied, or each coordinate of that dimension is a layer.

    Raises CannotFuse with the reason of the attempt without a copy.
    """
    trial = ctx.snapshot()
    try:
        layers = vector_layers(trial, group)
    except CannotFuse as reason:
        if group.head is not None:
            raise
        for dim in _numbered(ctx, group):
            trial = ctx.snapshot()
            try:
                layers = _through_copy(trial, group, (dim,), vector_layers)
            except CannotFuse:
                continue
            break
        else:
            trial = ctx.snapshot()
            try:
                layers = vector_layers(trial, group, apart=True)
            except CannotFuse:
                raise reason from None
    ctx.take(trial)
    return layers


def _numbered(ctx: Context, group: Group) -> list[int]:
    """Dimensions of the result along which constants differ, but for the one that lies last."""
    constants = ctx.cascade.constants
    names = {v for a in accesses(group.expr) if a.tensor in constants for v in a.variables}
    shape = ctx.storage[group.output.tensor].shape
    return [
        d
        for d in ctx.storage[group.output.tensor].layout[:-1]
        if shape[d] > 1 and set(group.output.indices[d].variables) & names
    ]


def _operands_copied(
    ctx: Context,
    group: Group,
    rest: Callable[[Context, Group], list[Layer]] = array_layers,
) -> list[Layer]:
    """Activations gathered into tensors with one dimension per variable, reduction innermost."""
    head = group.head
    assert head is not None and head.reduction is not None
    if contraction_operands(head) is None:
        raise CannotFuse(
            "a window sum reads its source as it lies", "transpose in front of the pooling"
        )
    sizes = {v: ctx.cascade.size(v) for v in head.variables}
    layers: list[Layer] = []
    renamed: dict[Access, Access] = {}
    for access in split_operands(ctx.cascade, head):
        if access.tensor in ctx.cascade.constants:
            continue
        shape = ctx.cascade.tensors[access.tensor].shape
        for index, size in zip(access.indices, shape, strict=True):
            low, high = index.bounds(sizes)
            if low < 0 or high >= size:
                raise CannotFuse(
                    "pads an operand that lies in a layout which the array cannot read",
                    "pad with a Pad node of its own",
                )
        copy = _gathered(ctx, access, head.output.variables, head.reduction.variables)
        layers += vector_layers(ctx, Group((f"{copy.tensor}_copy",), None, copy, access, 0))
        renamed[access] = copy
    changed = replace(head, expr=map_accesses(head.expr, lambda a: renamed.get(a, a)))
    return layers + rest(ctx, replace(group, head=changed))


def _gathered(
    ctx: Context, access: Access, kept: tuple[str, ...], reduced: tuple[str, ...]
) -> Access:
    """A new tensor over the variables of ``access``, in the order kept, reduced."""
    names = [v for v in (*kept, *reduced) if v in access.variables]
    source = ctx.cascade.tensors[access.tensor]
    name = ctx.fresh(f"{access.tensor}_gathered")
    shape = tuple(ctx.cascade.size(v) for v in names)
    tensor = replace(
        source,
        name=name,
        ranks=tuple(v.upper() for v in names),
        shape=shape,
        role="intermediate",
        label=name,
    )
    ctx.cascade = replace(ctx.cascade, tensors={**ctx.cascade.tensors, name: tensor})
    layout = tuple(range(len(shape)))
    ctx.storage[name] = Storage(
        name, shape, layout, tensor.elements, "intermediate", source.dtype.signed
    )
    return Access(name, tuple(Affine.of(v) for v in names))
