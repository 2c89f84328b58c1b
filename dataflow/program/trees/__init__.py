"""A compiled network as loop trees, one for each layer, which `dataflow cost` counts."""

from dataflow.program.trees.compare import Difference, differences, layer_counts
from dataflow.program.trees.export import NetworkTree, einsum_names, network_tree
from dataflow.program.trees.file import tree_text

__all__ = [
    "Difference",
    "NetworkTree",
    "differences",
    "einsum_names",
    "layer_counts",
    "network_tree",
    "tree_text",
]
