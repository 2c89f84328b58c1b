"""One layer on the machine: its mapspace, its cycles, traffic and buffers in closed form."""

from dataflow.tiling.candidates import Candidate, candidates
from dataflow.tiling.columns import Mode
from dataflow.tiling.shape import LayerShape, shape_of

__all__ = ["Candidate", "LayerShape", "Mode", "candidates", "shape_of"]
