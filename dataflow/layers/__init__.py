"""The machine's words: layers, their tilings, and tile geometry."""

from dataflow.layers.layer import Layer, LayerGraph, Storage, View
from dataflow.layers.plan import MemoryMap, NetworkMapping, Placement
from dataflow.layers.tiling import Tiling

__all__ = [
    "Layer",
    "LayerGraph",
    "MemoryMap",
    "NetworkMapping",
    "Placement",
    "Storage",
    "Tiling",
    "View",
]
