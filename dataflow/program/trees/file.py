"""The file of a compiled network's loop trees: a mapping file that says what it leaves out."""

from __future__ import annotations

from dataflow.arch import Architecture
from dataflow.cost import cost
from dataflow.errors import DataflowError
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import Machine
from dataflow.machine.program import Program
from dataflow.mapping import workload_of
from dataflow.mapping.file import dumps_mapping
from dataflow.program.trees.compare import differences
from dataflow.program.trees.export import NetworkTree, network_tree

_HEAD = """\
# The compiled layers as loop trees for the general cost model: dataflow cost FILE --arch ARCH.
# Expressions name the operands that the engines read, not their arithmetic.
"""


def tree_text(
    graph: LayerGraph,
    mapping: NetworkMapping,
    program: Program,
    machine: Machine,
    arch: Architecture,
) -> str:
    """The file's text; counts that differ from the Program's are listed in front."""
    tree = network_tree(graph, mapping, program, machine)
    return (
        _HEAD + _remarks(tree, program, machine, arch) + dumps_mapping(tree.cascade, tree.mapping)
    )


def _remarks(tree: NetworkTree, program: Program, machine: Machine, arch: Architecture) -> str:
    try:
        found = cost(tree.mapping, workload_of(tree.cascade), arch, "loop tree")
    except DataflowError as error:
        # An architecture file may leave out what only loop trees need (shifts, keeps).
        return f"# {arch.name} cannot cost them: {' '.join(str(error).split())}\n"
    rows = list(differences(found, program, machine))
    if not rows:
        return "# MACs, DRAM bytes and accesses of all memories are those of the program.\n"
    numbers = {layer.name: number for number, layer in enumerate(program.layers)}
    lines = [
        f"#   Layer{numbers[row.layer]}: {row.field} {row.counted}, in the program {row.stated}"
        for row in rows
    ]
    return "\n".join(["# Counts that differ from those of the program:", *lines, ""])
