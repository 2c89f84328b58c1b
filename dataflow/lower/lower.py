"""lower: a legal Cascade as the layers that the machine executes, or all that it cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dataflow.ir.cascade import Cascade
from dataflow.ir.macs import contraction_operands
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.lower.affine_only import obstacle
from dataflow.lower.alias import aliased_storages, aliases
from dataflow.lower.context import Context
from dataflow.lower.copies import with_array_copies, with_vector_copies
from dataflow.lower.culprit import culprit
from dataflow.lower.groups import Group, form_groups
from dataflow.lower.layout import of_one_element
from dataflow.lower.long_batches import counted
from dataflow.lower.pipeline import MACHINE
from dataflow.lower.refusal import CannotFuse, Refused, refusal_error
from dataflow.lower.roles import on_array
from dataflow.lower.stored import require_stored
from dataflow.rewrite.passes import run_passes


@dataclass(frozen=True, eq=False)
class Lowered:
    """The layers, and the Einsums that have none.

    Attributes:
        graph: complete only when nothing was refused.
        refused: in the order of execution.
    """

    graph: LayerGraph
    refused: tuple[Refused, ...]


def lower(cascade: Cascade) -> LayerGraph:
    """The layers of a legal Cascade, in execution order, with storage and constant data.

    Runs the passes of `MACHINE` first.

    Raises:
        DataflowError: some Einsums cannot run on the machine; all of them are listed.
    """
    found = layers_of(cascade, run_passes(cascade, MACHINE)[-1].cascade)
    if found.refused:
        rows = [(r.where, r.reason, r.fix) for r in found.refused]
        raise refusal_error(f"network {cascade.name}", rows)
    return found.graph


def layers_of(legal: Cascade, prepared: Cascade) -> Lowered:
    """The layers of a legal Cascade that `MACHINE` has ``prepared``."""
    refused = _obstacles(legal)
    ctx = Context(prepared, aliased_storages(prepared))
    roots = aliases(prepared)
    ctx.cascade = replace(
        prepared, einsums=tuple(e for e in prepared.einsums if e.output.tensor not in roots)
    )
    cascade = ctx.cascade
    makers = {e.output.tensor: e for e in legal.einsums}

    def fits(group: Group) -> bool:
        trial = ctx.snapshot()
        try:
            layers = _layers(trial, group, legal)
        except CannotFuse:
            return False
        return len(layers) == 1

    by_name = {e.name: e for e in cascade.einsums}
    for group in form_groups(cascade, fits, roots):
        try:
            ctx.layers += counted(ctx, _layers(ctx, group, legal))
        except CannotFuse as reason:
            after = makers[reason.reads].name if reason.reads in makers else ""
            names, why = culprit(ctx, group, reason, lambda c, g: _layers(c, g, legal))
            first = by_name[names[0]]
            refused.append(
                Refused(names, first.source, first.operator, why.reason, why.fix, after, why.at)
            )
    return Lowered(_graph(ctx), _in_order(legal, refused))


def _obstacles(cascade: Cascade) -> list[Refused]:
    found = []
    for e in cascade.einsums:
        reason = obstacle(cascade, e)
        if reason is not None:
            found.append(
                Refused((e.name,), e.source, e.operator, reason.reason, reason.fix, beyond=True)
            )
    return found


def _in_order(cascade: Cascade, refused: list[Refused]) -> tuple[Refused, ...]:
    place: Mapping[str, int] = {e.name: k for k, e in enumerate(cascade.einsums)}
    last = len(place)
    return tuple(sorted(refused, key=lambda r: place.get(r.einsums[0], last)))


def _graph(ctx: Context) -> LayerGraph:
    used = _used(ctx)
    return LayerGraph(
        ctx.cascade.name,
        tuple(ctx.layers),
        {name: s for name, s in ctx.storage.items() if name in used},
        ctx.weights,
        ctx.params,
        {name: data for name, data in ctx.constants.items() if name in used},
    )


def _used(ctx: Context) -> set[str]:
    """Tensors that a layer reads or writes, with the inputs, the outputs and their aliases."""
    used = {*ctx.cascade.inputs, *ctx.cascade.outputs} & set(ctx.storage)
    for layer in ctx.layers:
        views = [layer.source, layer.output, layer.second]
        if layer.stationary is not None:
            views.append(layer.stationary.view)
        used |= {view.tensor for view in views if view is not None}
    roots = {ctx.storage[name].alias_of for name in used} - {None}
    return used | {r for r in roots if r is not None}


def _layers(ctx: Context, group: Group, legal: Cascade) -> list[Layer]:
    require_stored(ctx, group, legal)
    if group.head is None or not on_array(ctx, group.head):
        return with_vector_copies(ctx, group)
    try:
        return with_array_copies(ctx, group)
    except CannotFuse:
        product = contraction_operands(group.head) is not None
        if product and not of_one_element(ctx.cascade, group.head):
            raise
    return with_vector_copies(ctx, group)
