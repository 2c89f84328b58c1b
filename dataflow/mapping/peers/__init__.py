"""Importers of the architectures and mappings of AccelForge and ZigZag."""

from dataflow.mapping.peers.accelforge import accelforge_architecture, accelforge_mapping
from dataflow.mapping.peers.zigzag import zigzag_architecture, zigzag_mapping

__all__ = [
    "accelforge_architecture",
    "accelforge_mapping",
    "zigzag_architecture",
    "zigzag_mapping",
]
