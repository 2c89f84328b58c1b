"""The tensors of a layer graph as the memory planner sees them: bytes, lifetimes, row pitch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from dataflow.errors import DataflowError
from dataflow.layers.layer import Layer, LayerGraph, Storage, View
from dataflow.machine import Machine
from dataflow.tiling.feed import conflict_free, feeds_of
from dataflow.tiling.shape import LayerShape

ReadRole = Literal["source", "second"]


@dataclass(frozen=True)
class Access:
    """A layer's read of a tensor."""

    layer: int
    role: ReadRole


@dataclass(frozen=True)
class TensorPlan:
    """All storages that are the same bytes, under the name of their root.

    Attributes:
        names: the root and its aliases.
        bytes: dense.
        row: bytes of a dense row, the unit that a pitch pads (two innermost physical ranks).
        pitch: bytes from row to row when resident.
        external: it lies in DRAM before the first layer (input or constant).
        output: it must end up in DRAM.
        writers, readers: layer indices and reads in order of execution.
    """

    root: str
    names: tuple[str, ...]
    bytes: int
    row: int
    pitch: int
    external: bool
    output: bool
    writers: tuple[int, ...]
    readers: tuple[Access, ...]

    def resident_bytes(self, line_bytes: int) -> int:
        """Bytes of its region on chip: whole lines."""
        padded = self.bytes // self.row * self.pitch
        return -(-max(self.bytes, padded) // line_bytes) * line_bytes


def alive_read(plan: TensorPlan, layer: int) -> int | None:
    """The first read at or after `layer`, if the tensor, kept for it, is on chip at `layer`."""
    if not plan.readers or layer < begins(plan):
        return None
    return next((n for n, access in enumerate(plan.readers) if access.layer >= layer), None)


def begins(plan: TensorPlan) -> int:
    """The layer at which a tensor comes on chip, if it does."""
    if plan.external:
        return plan.readers[0].layer
    return min(plan.writers)


def second_view(layer: Layer) -> View | None:
    """The view behind the tiling's `second`: the stationary activation, else S1."""
    if layer.stationary is not None and layer.stationary.view is not None:
        if layer.second is not None:
            raise DataflowError(
                f"layer {layer.name}",
                "has an activation as stationary operand and a second vector source",
                "split the layer",
            )
        return layer.stationary.view
    return layer.second


def root_of(graph: LayerGraph, name: str) -> str:
    """The storage that owns the bytes of `name`."""
    seen = {name}
    while (parent := graph.storage[name].alias_of) is not None:
        if parent in seen:
            raise DataflowError(f"tensor {name}", "is an alias of itself", "report this as a bug")
        seen.add(parent)
        name = parent
    return name


def row_bytes(storage: Storage) -> int:
    """Dense bytes of the two innermost physical ranks; all bytes when there are no more."""
    sizes = [storage.shape[d] for d in storage.layout]
    return prod(sizes[-2:]) if len(sizes) > 2 else max(1, storage.bytes)


def tensor_plans(
    graph: LayerGraph, shapes: tuple[LayerShape, ...], machine: Machine
) -> dict[str, TensorPlan]:
    """Every tensor that a layer touches, by root name, in order of first touch."""
    writers: dict[str, list[int]] = {}
    readers: dict[str, list[Access]] = {}
    order: dict[str, None] = {}
    for i, layer in enumerate(graph.layers):
        for role, view in (("source", layer.source), ("second", second_view(layer))):
            if view is not None:
                root = root_of(graph, view.tensor)
                order[root] = None
                readers.setdefault(root, []).append(
                    Access(i, "source" if role == "source" else "second")
                )
        root = root_of(graph, layer.output.tensor)
        order[root] = None
        writers.setdefault(root, []).append(i)
    plans: dict[str, TensorPlan] = {}
    for root in order:
        names = tuple(n for n in graph.storage if root_of(graph, n) == root)
        members = [graph.storage[n] for n in names]
        row = row_bytes(graph.storage[root])
        plan = TensorPlan(
            root=root,
            names=(root, *(n for n in names if n != root)),
            bytes=graph.storage[root].bytes,
            row=row,
            pitch=row,
            external=root not in writers,
            output=any(s.role == "output" for s in members),
            writers=tuple(writers.get(root, ())),
            readers=tuple(readers.get(root, ())),
        )
        plans[root] = replace(plan, pitch=_pitch(graph, plan, shapes, machine))
    return plans


def _views(graph: LayerGraph, plan: TensorPlan) -> list[View]:
    found = [graph.layers[i].output for i in plan.writers]
    for access in plan.readers:
        layer = graph.layers[access.layer]
        view = layer.source if access.role == "source" else second_view(layer)
        assert view is not None
        found.append(view)
    return found


def _follows_rows(view: View, row: int) -> bool:
    """Whether each (b, y) of the view stays inside one row of `row` bytes."""
    b, y, x, c = view.shape
    return (
        (y == 1 or view.y_bytes % row == 0)
        and (b == 1 or view.b_bytes % row == 0)
        and view.offset % row + (x - 1) * view.x_bytes + c <= row
    )


def _pitch(
    graph: LayerGraph, plan: TensorPlan, shapes: tuple[LayerShape, ...], machine: Machine
) -> int:
    """Least row pitch at which the most multi-port feeds of all readers are free of conflicts."""
    feeds = [
        (shapes[a.layer], feed)
        for a in plan.readers
        if a.role == "source" and shapes[a.layer].kind == "array"
        for feed in feeds_of(shapes[a.layer], machine.rows, machine.cols, machine.feed_ports)
        if feed.ports > 1
    ]
    same_rows = all(row_bytes(graph.storage[n]) == plan.row for n in plan.names)
    follows = all(_follows_rows(view, plan.row) for view in _views(graph, plan))
    if not feeds or not same_rows or not follows or plan.bytes == plan.row:
        return plan.row
    line = machine.line_bytes
    least = -(-plan.row // line) * line
    pitches = [plan.row, *(least + i * line for i in range(machine.act_banks + 1))]
    best, most = plan.row, -1
    for pitch in pitches:
        free = sum(
            conflict_free(
                shape,
                feed,
                shape.c,
                pitch,
                shape.x_bytes,
                shape.offset - shape.pad_p * pitch - shape.pad_q * shape.x_bytes,
                line,
                machine.act_banks,
                machine.rows,
            )
            for shape, feed in feeds
        )
        if free > most:
            best, most = pitch, free
    return best
