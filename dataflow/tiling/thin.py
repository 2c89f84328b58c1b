"""Fewer options for the coupled choice: clusters of alike candidates and what they stand for.

A front can have thousands of rows that differ little. Clusters are made by halving along the
column with the widest spread. For a solution a cluster is represented by real candidates; for a
bound by an ideal one that has the least of every column, which no member beats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.tiling.candidates import Candidate
from dataflow.tiling.columns import COLUMN, CRITERIA

CLUSTERS = 12
"""Clusters kept of one mode of one layer."""


def clusters(candidates: Sequence[Candidate], capacity: int, most: int = CLUSTERS) -> list[Ints]:
    """Index groups of alike candidates, at most `most` of them."""
    costs = np.array([c.costs[:CRITERIA] for c in candidates], dtype=np.float64)
    quick = max(1.0, float(costs[:, COLUMN["cycles"]].min()))
    data = max(1.0, float(costs[:, COLUMN["withheld"]].max(initial=0.0)))
    need = max(1.0, float(costs[:, COLUMN["need"]].max(initial=0.0)))
    scale = np.empty(CRITERIA)
    scale[COLUMN["cycles"]] = scale[COLUMN["serial"]] = scale[COLUMN["bus"]] = quick / 100
    scale[COLUMN["paced"]] = quick / 100
    scale[COLUMN["buffer"]] = capacity / 32
    scale[COLUMN["withheld"]], scale[COLUMN["need"]] = data / 4, need / 4
    scaled = costs / scale
    groups: list[Ints] = [np.arange(len(candidates), dtype=np.int64)]
    while len(groups) < most:
        spreads = [np.ptp(scaled[group], axis=0) for group in groups]
        widest = max(range(len(groups)), key=lambda i: (float(spreads[i].max()), -i))
        column = int(spreads[widest].argmax())
        group = groups[widest]
        if spreads[widest][column] == 0:
            break
        values = scaled[group, column]
        low = values <= (values.min() + values.max()) / 2
        groups[widest] = group[low]
        groups.append(group[~low])
    return groups


def representatives(candidates: Sequence[Candidate], capacity: int) -> tuple[Candidate, ...]:
    """Real candidates that stand for all: of each cluster the fastest and the smallest."""
    kept: set[int] = set()
    for group in clusters(candidates, capacity):
        members = [int(i) for i in group]
        kept.add(min(members, key=lambda i: (candidates[i]["cycles"], i)))
        kept.add(min(members, key=lambda i: (candidates[i]["buffer"], i)))
    return tuple(candidates[i] for i in sorted(kept))


def ideals(candidates: Sequence[Candidate], capacity: int) -> tuple[Candidate, ...]:
    """One candidate for each cluster that no member beats in any column (not a real tiling)."""
    found = []
    for group in clusters(candidates, capacity):
        members = [candidates[int(i)] for i in group]
        least = np.array([m.costs for m in members]).min(axis=0)
        found.append(replace(members[0], costs=tuple(int(v) for v in least)))
    return tuple(found)
