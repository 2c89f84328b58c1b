"""The exact search and the sweep in turn: each finds what the other does not."""

from __future__ import annotations

from dataflow.memory.offsets.arrays import Part
from dataflow.memory.offsets.exact import Found, exact
from dataflow.memory.offsets.sweep import suits, sweep

FEW = 40
"""Buffers up to which the exact search runs alone."""

TURNS: tuple[tuple[int, int], ...] = (
    (0, 60_000),
    (50, 120_000),
    (50, 150_000),
    (100, 150_000),
    (0, 140_000),
    (300, 300_000),
)
"""(width of two sweeps, there and back, or 0: the exact search; effort of each in nodes)."""


def find(part: Part, capacity: int, seed: int, effort: int) -> Found:
    """Offsets below `capacity` bytes, a proof that there are none, or neither after `effort` nodes.

    The result depends on nothing but the arguments.
    """
    if len(part.buffers) <= FEW or not suits(part):
        return exact(part, capacity, seed, effort)
    spent = 0
    for turn, (width, share) in enumerate(TURNS):
        if spent >= effort:
            return Found(None, False, spent)
        if not width:
            found = exact(part, capacity, seed + turn, min(share, effort - spent))
            spent += found.nodes
            if found.offsets is not None or found.refuted:
                return Found(found.offsets, found.refuted, spent)
            continue
        for backwards in (False, True):
            most = min(share, effort - spent)
            offsets, nodes = sweep(part, capacity, seed + turn, width, most, backwards)
            spent += nodes
            if offsets is not None:
                return Found(offsets, False, spent)
    found = exact(part, capacity, seed + len(TURNS), max(0, effort - spent))
    return Found(found.offsets, found.refuted, spent + found.nodes)
