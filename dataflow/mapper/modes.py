"""Residency choices of a network and the modes that they leave to each layer.

The residency of a tensor is a prefix of its reads: it stays on chip from its definition (or from
its first read, when it comes from DRAM) to its last resident read; later reads stream it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from dataflow.layers.layer import Layer, LayerGraph
from dataflow.mapper.tensors import Access, TensorPlan, root_of, second_view
from dataflow.tiling.columns import Mode, Place
from dataflow.tiling.shape import LayerShape

Literal_ = tuple[str, int, bool]
"""Read number `int` of tensor `str` is resident (True) or streamed (False)."""


@dataclass(frozen=True)
class LayerMode:
    """A mode of a layer and the residency literals that must hold for it."""

    mode: Mode
    needs: tuple[Literal_, ...]


@dataclass(frozen=True)
class Position:
    """What the network says about a layer besides its shape.

    Attributes:
        cold: the first layer.
        reads_previous: it reads what the layer before wrote.
        feeds_next: the layer behind reads its output.
    """

    cold: bool
    reads_previous: bool
    feeds_next: bool


def position_of(graph: LayerGraph, index: int) -> Position:
    """The Position of layer `index`."""

    def reads(layer: Layer) -> set[str]:
        views = [layer.source, second_view(layer)]
        return {root_of(graph, view.tensor) for view in views if view is not None}

    layers = graph.layers
    output = root_of(graph, layers[index].output.tensor)
    previous = root_of(graph, layers[index - 1].output.tensor) if index else ""
    return Position(
        cold=index == 0,
        reads_previous=index > 0 and previous in reads(layers[index]),
        feeds_next=index + 1 == len(layers) or output in reads(layers[index + 1]),
    )


def layer_modes(
    graph: LayerGraph,
    index: int,
    plans: dict[str, TensorPlan],
    shape: LayerShape,
    *,
    stream: bool,
) -> tuple[LayerMode, ...]:
    """Every mode of a layer; without `stream` intermediates that someone reads stay on chip."""
    layer = graph.layers[index]
    source = plans[root_of(graph, layer.source.tensor)]
    view = second_view(layer)
    second = plans[root_of(graph, view.tensor)] if view is not None else None
    output = plans[root_of(graph, layer.output.tensor)]
    position = position_of(graph, index)
    found: list[LayerMode] = []
    for (s_place, s_needs), (o_place, o_needs), (keep, store, k_needs) in product(
        _reads(source, Access(index, "source"), stream),
        _reads(second, Access(index, "second"), stream) if second else [(_NONE, ())],
        _writes(output, stream),
    ):
        needs = (*s_needs, *o_needs, *k_needs)
        if _contradict(needs):
            continue
        same = second is not None and second.root == source.root
        fill = (source.bytes if s_place == "fill" else 0) + (
            second.bytes if second and o_place == "fill" and not same else 0
        )
        streams = s_place == "stream" or o_place == "stream"
        mode = Mode(
            source=s_place,
            second=o_place,
            keep=keep,
            store=store,
            pitch=_local_pitch(source, shape),
            fill_bytes=fill,
            cold=position.cold,
            lead=streams and position.reads_previous,
            tail=not keep and position.feeds_next,
        )
        found.append(LayerMode(mode, needs))
    return tuple(found)


_NONE: Place = "none"


def _local_pitch(source: TensorPlan, shape: LayerShape) -> int:
    return source.pitch if source.pitch != source.row else shape.y_bytes


def _reads(
    plan: TensorPlan, access: Access, stream: bool
) -> list[tuple[Place, tuple[Literal_, ...]]]:
    number = plan.readers.index(access)
    first = plan.external and number == 0
    resident: Place = "fill" if first else "resident"
    found: list[tuple[Place, tuple[Literal_, ...]]]
    found = [(resident, ((plan.root, number, True),))]
    if stream or plan.external:
        found.append(("stream", ((plan.root, number, False),)))
    return found


def _writes(plan: TensorPlan, stream: bool) -> list[tuple[bool, bool, tuple[Literal_, ...]]]:
    """(keep, store, needs) of the output."""
    last = len(plan.readers) - 1
    if last < 0:
        return [(False, True, ())]  # an output that nobody reads: no reason to keep it
    found: list[tuple[bool, bool, tuple[Literal_, ...]]] = []
    if plan.output:
        found.append((True, True, ((plan.root, 0, True),)))
    else:
        found.append((True, False, ((plan.root, last, True),)))
        if stream and last > 0:
            found.append((True, True, ((plan.root, 0, True), (plan.root, last, False))))
    if stream:
        found.append((False, True, ((plan.root, 0, False),)))
    return found


def _contradict(needs: tuple[Literal_, ...]) -> bool:
    state: dict[str, list[tuple[int, bool]]] = {}
    for root, number, value in needs:
        state.setdefault(root, []).append((number, value))
    for literals in state.values():
        for number, value in literals:
            for other, other_value in literals:
                # Residency is a prefix: a resident read after a streamed one cannot be.
                if value and not other_value and other <= number:
                    return True
    return False
