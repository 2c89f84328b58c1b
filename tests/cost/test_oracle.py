"""Every count of random mappings against a walk through all their loops."""

from __future__ import annotations

from collections import Counter as Tally

import pytest

from dataflow.cost.counts import Counter
from dataflow.mapping import Loop, faults, paths
from dataflow.mapping.occupancy import tiles, variable_sizes
from tests.cost.cases import Case, random_case
from tests.cost.oracle import Oracle


def differences(case: Case) -> list[str]:
    """What differs between the model and the walk."""
    sizes = variable_sizes(case.workload)
    found: list[str] = []
    largest = {
        (t.place, t.tensor): t.elements for t in tiles(case.mapping, case.workload, case.arch)
    }
    walked: dict[tuple[str, str], int] = {}
    for path in paths(case.mapping):
        work = case.workload.work(path.compute.einsum)
        counts = Counter(path, work, sizes, case.arch).counts()
        seen = Oracle(path, work, sizes, case.arch).run()
        if (counts.points, counts.steps) != (seen.points, seen.steps):
            found.append(f"{work.name}: {counts.points, counts.steps} {seen.points, seen.steps}")
        for action, total, most in (
            ("read", seen.reads, seen.most_reads),
            ("write", seen.writes, seen.most_writes),
        ):
            mine: Tally[tuple[str, str, str]] = Tally()
            mine_one: Tally[tuple[str, str, str]] = Tally()
            for m in counts.moved:
                if m.action == action:
                    mine[m.level, m.operand.tensor, m.side] += m.words
                    mine_one[m.level, m.operand.tensor, m.side] += m.instance
            for key in {*mine, *total}:
                if mine[key] != total.get(key, 0):
                    found.append(f"{work.name} {action} {key}: {mine[key]} {total.get(key, 0)}")
                # Padding is charged to the busiest lane, which may have none.
                one, other = mine_one[key], most.get(key, 0)
                if one != other and not (case.padded and one > other):
                    found.append(f"{work.name} {action} {key} an instance: {one} {other}")
        for (at, tensor), elements in seen.tiles.items():
            place = path.steps[at].place
            walked[place, tensor] = max(walked.get((place, tensor), 0), elements)
    for hold, elements in walked.items():
        if largest[hold] != elements and not (case.padded and largest[hold] > elements):
            found.append(f"tile {hold}: {largest[hold]} {elements}")
    return found


def _compare(seeds: range) -> Tally[str]:
    tally: Tally[str] = Tally()
    for seed in seeds:
        case = random_case(seed)
        wrong = faults(case.mapping, case.workload, case.arch)
        if wrong:
            tally["illegal"] += 1
            continue
        assert differences(case) == [], f"seed {seed}"
        tally[case.kind] += 1
        loops = [s.node for p in paths(case.mapping) for s in p.steps if isinstance(s.node, Loop)]
        tally["spatial"] += any(n.fanout is not None for n in loops)
    return tally


def test_counts_equal_a_walk_through_all_loops() -> None:
    tally = _compare(range(150))
    assert tally["illegal"] < 60
    assert min(tally[k] for k in ("matmul", "conv", "chain", "state", "gather", "spatial")) > 5


@pytest.mark.slow
def test_counts_equal_a_walk_through_all_loops_5000() -> None:
    tally = _compare(range(1000, 7500))
    assert tally.total() - tally["illegal"] - tally["spatial"] >= 5000
