"""The memory map as a picture: offsets from bottom to top, layers from left to right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from dataflow.report.figure import WIDTH
from dataflow.report.results import Result, load_result
from dataflow.report.rows import bytes_text, printable

HEIGHT = 300
AXIS = 70
COLOURS = 7
NAMED = 6
"""Regions of the peak that are named; the others are counted."""


class Region(Result):
    """Bytes of the activation memory over the half-open interval of layers of its life."""

    offset: int = Field(ge=0)
    bytes: int = Field(ge=0)
    lifetime: tuple[int, int] | None = None


class Peak(Result):
    """The layer at which most bytes are alive: no offsets fit into less."""

    bytes: int
    layer: str
    regions: tuple[str, ...]


class MemoryFile(Result):
    """What the picture needs of ``mapping/memory_map.json``."""

    capacity: int = Field(gt=0)
    top: int
    peak: Peak
    resident: Mapping[str, Region]
    buffers: Mapping[str, Region]


@dataclass(frozen=True)
class Box:
    """A region as a rectangle in user units; ``title`` is what the tooltip says."""

    x: float
    y: float
    width: float
    height: float
    style: str
    title: str


@dataclass(frozen=True)
class MemoryFigure:
    """The picture. ``peak_y`` is the level below which no map can stay, ``text`` says so."""

    width: int
    height: int
    left: int
    boxes: tuple[Box, ...]
    peak_y: float
    ticks: tuple[tuple[float, str], ...]
    text: str


def load_memory(out: Path) -> MemoryFile | None:
    """The memory map of an output folder, None when it has none.

    Raises:
        DataflowError: the file is damaged; the message names the key.
    """
    path = out / "mapping" / "memory_map.json"
    return load_result(path, MemoryFile, "compile") if path.exists() else None


def memory_figure(memory: MemoryFile) -> MemoryFigure:
    """One box for each region that lives; views of one tensor are one box."""
    regions = [
        *((name, "kept", one) for name, one in memory.resident.items()),
        *((name, "stream", one) for name, one in memory.buffers.items()),
    ]
    lives = [(name, kind, one, one.lifetime) for name, kind, one in regions if one.lifetime]
    layers = max((life[1] for *_, life in lives), default=1)
    across, up = (WIDTH - AXIS) / layers, HEIGHT / memory.capacity
    boxes: dict[tuple[int, int, tuple[int, int]], Box] = {}
    for name, kind, one, life in lives:
        place = one.offset, one.bytes, life
        if place in boxes:
            continue
        style = f"c{len(boxes) % COLOURS}" if kind == "kept" else "other"
        boxes[place] = Box(
            x=round(AXIS + life[0] * across, 2),
            y=round(HEIGHT - (one.offset + one.bytes) * up, 2),
            width=round((life[1] - life[0]) * across, 2),
            height=round(one.bytes * up, 2),
            style=style,
            title=f"{printable(name)} ({kind}): bytes {one.offset} to {one.offset + one.bytes}, "
            f"layers {life[0]} to {life[1] - 1}",
        )
    ticks = tuple(
        (round(HEIGHT * (1 - part / 4), 2), bytes_text(memory.capacity * part // 4))
        for part in range(5)
    )
    return MemoryFigure(
        WIDTH,
        HEIGHT,
        AXIS,
        tuple(boxes.values()),
        round(HEIGHT - memory.peak.bytes * up, 2),
        ticks,
        _text(memory),
    )


def _text(memory: MemoryFile) -> str:
    """What bounds the map, in words."""
    peak = memory.peak
    named = ", ".join(printable(name) for name in peak.regions[:NAMED])
    more = len(peak.regions) - NAMED
    return (
        f"{bytes_text(memory.top)} of {bytes_text(memory.capacity)} are used. At the layer "
        f"{printable(peak.layer)} {bytes_text(peak.bytes)} are alive, and no placement needs less: "
        f"{named}{f' and {more} more' if more > 0 else ''}."
    )
