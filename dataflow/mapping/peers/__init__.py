"""Importers of the architectures and mappings of AccelForge and ZigZag."""

from dataflow.mapping.peers.accelforge import accelforge_architecture, accelforge_mapping
from dataflow.mapping.peers.files import Kind, architecture_text, kind_of, peer_mapping
from dataflow.mapping.peers.zigzag import zigzag_architecture, zigzag_mapping

__all__ = [
    "Kind",
    "accelforge_architecture",
    "accelforge_mapping",
    "architecture_text",
    "kind_of",
    "peer_mapping",
    "zigzag_architecture",
    "zigzag_mapping",
]
