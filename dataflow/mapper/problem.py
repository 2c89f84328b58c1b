"""The coupled choice for a whole network: what can be chosen, and the answer.

The model: a layer lasts as long as its candidate says, longer when its successor waits for its
last tile; reads of DRAM are served in order and at most a weight ring ahead of the layer that uses
them; what is on chip at a layer fits into the activation memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataflow.mapper.modes import LayerMode
from dataflow.mapper.tensors import TensorPlan
from dataflow.mapper.ways import Ways
from dataflow.tiling.candidates import Candidate

OUTSIDE = -1
"""Place of a candidate that is in no front: one with other tile sizes and the costs of another."""


@dataclass(frozen=True)
class Option:
    """A candidate of a layer in one of its modes; `place` is its position in the mode's front."""

    mode: LayerMode
    candidate: Candidate
    place: int


Front = tuple[LayerMode, tuple[Candidate, ...]]
"""A mode of a layer and its candidates."""


@dataclass(frozen=True)
class Choice:
    """The search's answer.

    Attributes:
        options: one for each layer.
        resident_reads: how many leading reads of each tensor are resident.
        cycles: of the model; `bound`: no choice has fewer.
    """

    options: tuple[Option, ...]
    resident_reads: dict[str, int]
    cycles: int
    bound: int

    @property
    def optimal(self) -> bool:
        """`cycles` is proved."""
        return self.cycles == self.bound


@dataclass(frozen=True)
class Problem:
    """What the search chooses from.

    Attributes:
        fronts: for each layer, its modes with their candidates.
        waits: for each layer but the last: the next layer reads its output (its size in bytes),
            else 0; the last layer's tail always counts.
        capacity: bytes of the activation memory.
        ring: beats of the port that fill the weight ring; `line` bytes of a line.
        overhead: cycles before the first layer's first load and behind its last one.
        code: beats of each layer's instructions.
        withheld: bytes of the activation memory that a layer must leave free, by its position.
        known: what leads through its layers, of a problem of the same tensors; None: not known.
    """

    fronts: tuple[tuple[Front, ...], ...]
    plans: dict[str, TensorPlan]
    waits: tuple[int, ...]
    capacity: int
    ring: int
    line: int
    overhead: int
    code: tuple[int, ...]
    withheld: Mapping[int, int] = field(default_factory=dict)
    known: Ways | None = field(default=None, compare=False)

    @property
    def ways(self) -> Ways:
        """What leads through its layers."""
        return self.known or Ways(self.plans, self.line, self.capacity)

    def room(self, layer: int) -> int:
        """Bytes of the activation memory that a layer may fill."""
        return self.capacity - self.withheld.get(layer, 0)
