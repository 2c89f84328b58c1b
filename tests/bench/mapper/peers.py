"""Per-layer values of ZigZag 3.9.1 on its `tpu_like`, measured once and stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.bench.mapper.cases import Shape

STORED = Path(__file__).parents[2] / "golden" / "zigzag_tpu_like.json"
_FIELDS = ("name", "outs", "ins", "groups", "side", "kernel", "stride", "pad", "height")


@dataclass(frozen=True)
class Peer:
    """A layer as the peer maps it.

    Attributes:
        network: resnet18 or alexnet.
        shape: the layer.
        times: how often the network has it.
        cpu_s: of the peer's search, for all objectives at once.
        best: (cycles, pJ) of its best mapping, by objective.
    """

    network: str
    shape: Shape
    times: int
    cpu_s: float
    best: dict[str, tuple[float, float]]


@lru_cache
def peers() -> tuple[Peer, ...]:
    """All layers, as stored."""
    return tuple(
        Peer(
            row["network"],
            Shape(*(row[field] for field in _FIELDS)),
            row["times"],
            row["cpu_s"],
            {name: tuple(row[name]) for name in ("latency", "energy", "edp")},
        )
        for row in json.loads(STORED.read_text())["layers"]
    )
