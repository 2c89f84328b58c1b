"""A compiled network in the words of the general cost model: a cascade and its loop trees.

Each layer is an Einsum on the array, whose sums stay in the accumulators, and one on the vector
unit; or that one alone. The expressions name the operands that the engines read, not the
arithmetic of the micro-programs. Residency, buffers, rings, passes and FIR ports become holds and
loops, so that `dataflow.cost` counts what the counters of the machine show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataflow.ir.cascade import Cascade
from dataflow.ir.text import loads
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import Machine
from dataflow.machine.isa import Operand as Micro
from dataflow.machine.program import LayerCounts, Program
from dataflow.mapping import Group, Mapping, Nest
from dataflow.program.trees.nest import (
    Holds,
    array_nest,
    flattened_taps,
    layer_nest,
    vector_nest,
)
from dataflow.program.trees.operands import Access, Tensors, outside_window
from dataflow.program.trees.words import Names


@dataclass(frozen=True)
class NetworkTree:
    """A compiled network as the general model sees it.

    Attributes:
        cascade: the layers' Einsums.
        mapping: a group for each layer, in order.
    """

    cascade: Cascade
    mapping: Mapping


def network_tree(
    graph: LayerGraph, mapping: NetworkMapping, program: Program, machine: Machine
) -> NetworkTree:
    """The loop trees of a compiled network."""
    made = _Network(graph, mapping, machine)
    for number, (layer, counts) in enumerate(zip(graph.layers, program.layers, strict=True)):
        made.layer(number, layer, counts)
    return NetworkTree(made.cascade(), Mapping(tuple(made.groups)))


def einsum_names(number: int) -> tuple[str, str]:
    """The Einsums of a layer: on the array (where it has one), on the vector unit."""
    return f"A{number}", f"Layer{number}"


class _Network:
    def __init__(self, graph: LayerGraph, mapping: NetworkMapping, machine: Machine) -> None:
        self.graph, self.mapping, self.machine = graph, mapping, machine
        self.tensors = Tensors(graph, machine.line_bytes)
        self.ranks: dict[str, int] = {}
        self.flatten: dict[str, tuple[str, ...]] = {}
        self.expressions: list[str] = []
        self.groups: list[Group] = []

    def layer(self, number: int, layer: Layer, counts: LayerCounts) -> None:
        """Appends a layer's Einsums and its group."""
        names = self.names(number, layer)
        holds = Holds(names)
        source = self.tensors.source(names, holds, counts)
        second = self.tensors.second(names, holds, counts)
        output = self.tensors.output(names, holds)
        parameters = self.tensors.parameters(names, holds)
        on_array = layer.kind == "array"
        first, sums = source, ""
        array: Nest = ()
        if on_array:
            assert layer.stationary is not None
            weights = second
            if layer.stationary.view is None:
                weights = self.tensors.weights(names, holds)
            else:
                second = None
            assert weights is not None
            first = self.tensors.sums(names)
            sums = first.tensor
            summed = names.present("r", "s", "j", "k", "c")
            self.expressions.append(f"{first} = {source} * {weights} :: add({', '.join(summed)})")
            array = array_nest(names, sums, source.tensor, weights.tensor)
        reads = [first, *(s for s in (second,) if s is not None), *parameters]
        window = () if on_array else names.present("r", "s")
        tail = f" :: max({', '.join(window)})" if window else ""
        self.expressions.append(f"{output} = {_joined(reads)}{tail}")
        outside = second if window and outside_window(layer, Micro.S1) else None
        vector = vector_nest(
            names,
            output.tensor,
            [p.tensor for p in parameters],
            None if outside is None else outside.tensor,
        )
        nest = layer_nest(names, holds, array, vector, sums)
        self.groups.append(Group(_identifier(number, layer.name), nest))

    def names(self, number: int, layer: Layer) -> Names:
        """The rank variables of a layer."""
        tiled = TiledLayer(layer, self.mapping.tilings[layer.name], self.machine)
        names = Names(number, tiled, False, ())
        if layer.kind == "array":
            merged = tiled.reduction(tiled.ragged("k")[0]).merged
            names = flattened_taps(Names(number, tiled, merged, ()))
        for letter, size in names.sizes.items():
            self.ranks[names.of(letter).upper()] = size
        if names.flat:
            self.flatten[names.of("u")] = tuple(names.of(v) for v in names.flat)
        return names

    def cascade(self) -> Cascade:
        """The cascade of all layers."""
        ranks = dict(self.ranks)
        declared = []
        for name, shape in self.tensors.shapes.items():
            own = {f"{name.upper()}_{at}": size for at, size in enumerate(shape)}
            ranks |= own
            declared.append(f"    {name}: [{', '.join(own)}]")
        lines = ["einsum:", f"  name: {_plain(self.graph.name) or 'network'}", "  shapes:"]
        lines += [f"    {rank}: {size}" for rank, size in ranks.items()]
        lines += ["  declaration:", *declared, "  expressions: |"]
        lines += [f"    {line}" for line in self.expressions]
        lines.append("format:")
        for name, form in self.tensors.formats.items():
            inside = ", ".join(f"{k}: {v}" for k, v in form.items())
            lines.append(f"  {name}: {{{inside}}}")
        if self.flatten:
            lines.append("flatten:")
            lines += [f"  {u}: [{', '.join(members)}]" for u, members in self.flatten.items()]
        return loads("\n".join(lines) + "\n", "loop tree")


def _joined(reads: list[Access]) -> str:
    """One expression over all of them."""
    text = str(reads[0])
    for read in reads[1:] or reads:
        text = f"max({text}, {read})"
    return text


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:60]


def _identifier(number: int, name: str) -> str:
    return f"l{number}_{_plain(name)}".rstrip("_")
