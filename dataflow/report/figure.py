"""Geometry of the pictures: layers as bars of cycles split by cause, and as a strip over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.report.rows import LayerRow, count_text, printable

WIDTH = 1000
LABEL = 210
ROW = 22
STRIP = 34
CAUSES_SHOWN = 7
BUSY = "computing"
OTHER = "other causes"


@dataclass(frozen=True)
class Segment:
    """A rectangle: left edge and width in user units, CSS class, and what the tooltip says."""

    x: float
    width: float
    style: str
    title: str


@dataclass(frozen=True)
class Bar:
    """A layer's bar; ``mark`` is where the prediction ends (None: not predicted)."""

    label: str
    y: int
    text_y: int
    segments: tuple[Segment, ...]
    mark: float | None
    end_x: float
    value: str


@dataclass(frozen=True)
class Legend:
    """A colour and its meaning."""

    style: str
    text: str


@dataclass(frozen=True)
class Figure:
    """The pictures of one report. ``strip`` is the run from left to right."""

    width: int
    height: int
    row: int
    bars: tuple[Bar, ...]
    legend: tuple[Legend, ...]
    strip: tuple[Segment, ...]
    strip_height: int


def _cycles(row: LayerRow) -> int:
    value = row.simulated if row.simulated is not None else row.predicted
    return value or 0


def _causes(rows: Sequence[LayerRow]) -> tuple[str, ...]:
    """Stall causes, the largest first (ties by name), the small ones left to OTHER."""
    totals: dict[str, int] = {}
    for row in rows:
        for cause, count in row.stalls:
            totals[cause] = totals.get(cause, 0) + count
    ordered = sorted(totals, key=lambda cause: (-totals[cause], cause))
    return tuple(ordered[:CAUSES_SHOWN])


def _parts(row: LayerRow, causes: Sequence[str]) -> list[tuple[str, str, int]]:
    """(style, text, cycles) of the parts of a bar; they add up to at least the layer's cycles."""
    stalls = dict(row.stalls)
    shown = [(f"c{i}", cause, stalls.get(cause, 0)) for i, cause in enumerate(causes)]
    rest = sum(count for cause, count in stalls.items() if cause not in causes)
    busy = max(0, _cycles(row) - sum(stalls.values()))
    parts = [("busy", BUSY, busy), *shown, ("other", OTHER, rest)]
    return [part for part in parts if part[2] > 0]


def _number(value: float) -> float:
    return round(value, 2)


def figure(rows: Sequence[LayerRow]) -> Figure:
    """Bars and strip for ``rows``; empty when no layer has cycles."""
    causes = _causes(rows)
    longest = max(
        (
            max(_cycles(row), row.predicted or 0, sum(part[2] for part in _parts(row, causes)))
            for row in rows
        ),
        default=0,
    )
    scale = (WIDTH - LABEL - 110) / longest if longest else 0.0
    bars = []
    for index, row in enumerate(rows):
        x, segments = float(LABEL), []
        for style, text, count in _parts(row, causes):
            width = count * scale
            segments.append(
                Segment(_number(x), _number(width), style, f"{text}: {count_text(count)} cycles")
            )
            x += width
        mark = None if row.predicted is None else _number(LABEL + row.predicted * scale)
        y = index * ROW
        label = printable(row.name)
        bars.append(
            Bar(
                label=label if len(label) <= 30 else f"{label[:29]}…",
                y=y + 4,
                text_y=y + 16,
                segments=tuple(segments),
                mark=mark,
                end_x=_number(max(x, mark or 0.0) + 6),
                value=count_text(_cycles(row)),
            )
        )
    legend = [Legend("busy", BUSY)]
    legend += [Legend(f"c{i}", printable(cause)) for i, cause in enumerate(causes)]
    if any(cause not in causes for row in rows for cause, _ in row.stalls):
        legend.append(Legend("other", OTHER))
    return Figure(
        width=WIDTH,
        height=max(1, len(rows)) * ROW + 4,
        row=ROW,
        bars=tuple(bars),
        legend=tuple(legend),
        strip=_strip(rows),
        strip_height=STRIP,
    )


def _strip(rows: Sequence[LayerRow]) -> tuple[Segment, ...]:
    total = sum(_cycles(row) for row in rows)
    if not total:
        return ()
    segments, start = [], 0
    for index, row in enumerate(rows):
        cycles = _cycles(row)
        segments.append(
            Segment(
                _number(start / total * WIDTH),
                _number(cycles / total * WIDTH),
                f"s{index % 2}",
                f"{printable(row.name)}: cycles {count_text(start)} to "
                f"{count_text(start + cycles)}",
            )
        )
        start += cycles
    return tuple(segments)
