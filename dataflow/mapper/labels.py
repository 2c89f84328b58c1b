"""Labels of a path through a network's layers, extended by all options of a layer at once.

A label is what the layers so far leave to those behind: when they end, when they end if the next
layer waits for the last tile, when the bus is free, and how much output comes only at the end. All
that follows is monotone in these, so a label that another one beats in each is in no optimum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.tiling.pareto import compiled, insert, room

END, LATE, BUS, WITHHELD, FIRST, SECOND = range(6)
"""Columns of a label; the last two are sums of the objectives that break ties."""
LABEL = 6
CRITERIA = 4

OPTION = ("cycles", "serial", "bus", "paced", "withheld", "need", "held")
"""Columns of an option; two tie-breaking ones follow."""


class Layer(NamedTuple):
    """What a layer's labels depend on besides its options.

    Attributes:
        first, last: its place in the network; `waits` bytes of its source that the layer before
            writes, 0 when that is another one; `feeds`: the next layer reads its output.
        ring: beats that may be read ahead; `code` beats of all instructions up to it.
        rest, bus_rest: least cycles behind it, from its end and from the bus being free.
        most: cycles that an interesting label does not exceed in all.
        criteria: 4, or 5 when the first tie-breaking column counts as one.
    """

    first: int
    last: int
    waits: int
    feeds: int
    ring: int
    code: int
    rest: int
    bus_rest: int
    most: int
    criteria: int


@compiled
def extend(
    layer: Layer,
    labels: Ints,
    options: Ints,
    step: int,
    rows: Ints,
    names: Ints,
    recent: Ints,
    size: int,
) -> tuple[Ints, Ints, Ints, int]:
    """Adds every label extended by every option to the front of labels behind the layer.

    Names are (label, step * 2^32 + option).
    """
    row = np.empty(LABEL, dtype=np.int64)
    for n in range(len(labels)):
        for o in range(len(options)):
            begin, start = 0, 0
            if not layer.first:
                begin = labels[n, END]
                if layer.waits and labels[n, WITHHELD] + options[o, 5] > layer.waits:
                    begin = labels[n, LATE]
                start = max(labels[n, BUS], begin - layer.ring)
            end = max(begin + options[o, 0], layer.code, start + options[o, 3])
            late = max(end, begin + options[o, 1])
            if layer.last:
                end = late
            elif not layer.feeds:
                late = end
            free = max(start + options[o, 2], end + options[o, 6])
            if max(end + layer.rest, free + layer.bus_rest) > layer.most:
                continue
            row[END], row[LATE], row[BUS] = end, late, free
            row[WITHHELD] = options[o, 4] if layer.feeds else 0
            row[FIRST] = labels[n, FIRST] + options[o, 7]
            row[SECOND] = labels[n, SECOND] + options[o, 8]
            rows, names, recent, size = room(rows, names, recent, size, layer.criteria)
            name = (n, (step << 32) + o)
            size = insert(rows, names, recent, size, row, name, layer.criteria)
    return rows, names, recent, size
