"""Which tensors are on chip at a point of the program, and from when on each byte can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dataflow.layers.plan import Placement
from dataflow.layers.tiled import TiledLayer
from dataflow.machine.isa import Event, Value
from dataflow.program.operands import Operand, Role, regions
from dataflow.program.waits import Stamps, fitted


@dataclass
class Residency:
    """The resident tensors that hold their data, with the event count that each byte waits for.

    Attributes:
        places: of all resident tensors.
        stamps: of those whose data is (or will be, at the stamped event) on chip.
    """

    places: Mapping[str, Placement]
    stamps: dict[str, Stamps] = field(default_factory=dict)

    def holds(self, tensor: str) -> bool:
        """Whether earlier instructions put the tensor on chip."""
        return tensor in self.stamps

    def overwrite(self, region: tuple[int, int], keep: str = "") -> None:
        """Tensors other than ``keep`` with bytes in a region that is written lose their data."""
        for name in list(self.stamps):
            place = self.places[name]
            clash = place.offset < region[1] and region[0] < place.offset + place.bytes
            if clash and name != keep:
                del self.stamps[name]

    def loaded(self, operand: Operand, event: Event, count: int) -> None:
        """The whole tensor arrives with event number ``count``."""
        self.overwrite(operand.local.region)
        counts = np.full(operand.storage.bytes, count, dtype=np.int64)
        self.stamps[operand.view.tensor] = Stamps(event, counts)

    def written(self, tiled: TiledLayer, sink: Operand, before: int) -> None:
        """Tile t of the vector unit's result is there with event ``before`` + t + 1."""
        tiling = tiled.tiling
        name = sink.view.tensor
        self.overwrite(sink.local.region, keep=name)
        stamps = self.stamps.get(name)
        if stamps is None or stamps.event is not Event.VECTOR_OUT:
            stamps = Stamps(Event.VECTOR_OUT, np.zeros(sink.storage.bytes, dtype=np.int64))
            self.stamps[name] = stamps
        depth = len(tiling.order) - ("k" in tiling.order)
        for number, fire in enumerate(regions(tiled, "sink", depth, sink.view)):
            for t in fire:
                stamps.box(sink.view, t.y, t.x, t.c, t.b)[...] = before + number + 1

    def ready(self, tiled: TiledLayer, operand: Operand, role: Role) -> Value:
        """Wait of a resident operand for the tiles that each of its fires reads."""
        stamps = self.stamps[operand.view.tensor]
        needs: list[int] = []
        for fire in regions(tiled, role, operand.depth, operand.view):
            boxes = [stamps.box(operand.view, t.y, t.x, t.c, t.b) for t in fire]
            needs.append(max((int(box.max()) for box in boxes if box.size), default=0))
        return fitted(stamps.event, needs)
