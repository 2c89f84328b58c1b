"""Layers of more batch items than a loop of the machine counts, as several layers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from dataflow.layers.axis import ceil_div
from dataflow.layers.layer import Layer, View
from dataflow.lower.context import Context
from dataflow.machine.isa import MOST_COUNT


def counted(ctx: Context, layers: list[Layer]) -> list[Layer]:
    """The layers, each with at most `MOST_COUNT` batch items: a tile has one of them.

    Parts of a layer share its constants, and differ by one item at most, so that none has a
    single item.
    """
    return [part for layer in layers for part in _parts(ctx, layer)]


def _parts(ctx: Context, layer: Layer) -> list[Layer]:
    count = ceil_div(layer.batch, MOST_COUNT)
    if count == 1:
        return [layer]
    edges = [layer.batch * k // count for k in range(count + 1)]
    return [
        _items(layer, ctx.layer_name(f"{layer.name}_{k}"), first, end)
        for k, (first, end) in enumerate(pairwise(edges))
    ]


def _items(layer: Layer, name: str, first: int, end: int) -> Layer:
    """The layer over the batch items ``first`` to ``end`` - 1."""

    def view(whole: View) -> View:
        offset = whole.offset + first * whole.b_bytes
        return replace(whole, shape=(end - first, *whole.shape[1:]), offset=offset)

    stationary = layer.stationary
    if stationary is not None and stationary.view is not None:
        stationary = replace(stationary, view=view(stationary.view))
    return replace(
        layer,
        name=name,
        batch=end - first,
        source=view(layer.source),
        output=view(layer.output),
        second=None if layer.second is None else view(layer.second),
        stationary=stationary,
        macs=layer.macs * (end - first) // layer.batch,
    )
