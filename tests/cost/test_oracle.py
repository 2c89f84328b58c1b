"""Every count of random mappings against a walk through all their loops."""

from __future__ import annotations

from collections import Counter as Tally

import pytest

from dataflow.arch import Memory
from dataflow.cost.counts import Counter, Moved
from dataflow.mapping import Hold, Loop, Path, faults, paths
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
        for action, total, most, lines in (
            ("read", seen.reads, seen.most_reads, seen.read_lines),
            ("write", seen.writes, seen.most_writes, seen.write_lines),
        ):
            mine_lines: Tally[tuple[str, str, str]] = Tally()
            packed: set[tuple[str, str, str]] = set()
            mine: Tally[tuple[str, str, str]] = Tally()
            mine_one: Tally[tuple[str, str, str]] = Tally()
            for m in counts.moved:
                if m.action == action:
                    mine[m.level, m.operand.tensor, m.side] += m.words
                    mine_one[m.level, m.operand.tensor, m.side] += m.instance
                    mine_lines[m.level, m.operand.tensor, m.side] += m.accesses
                    if _over_bus(m, case, path):
                        packed.add((m.level, m.operand.tensor, m.side))
                        line_bits = memory_of(case, m.level).line_bits
                        if m.accesses != -(-m.words * m.bits // line_bits):
                            found.append(f"{work.name} {action} {m.level}: {m.accesses} packed")
            for key in {*mine_lines, *lines} - packed:
                if mine_lines[key] != lines.get(key, 0):
                    counted = mine_lines[key], lines.get(key, 0)
                    found.append(f"{work.name} {action} {key} in lines: {counted}")
            for key in {k for k in (*mine, *total) if isinstance(case.arch.find(k[0]), Memory)}:
                if mine[key] != total.get(key, 0):
                    found.append(f"{work.name} {action} {key}: {mine[key]} {total.get(key, 0)}")
                # Padding is charged to the busiest lane, which may have none.
                one, other = mine_one[key], most.get(key, 0)
                if one != other and not (case.padded and one > other):
                    found.append(f"{work.name} {action} {key} an instance: {one} {other}")
        for (at, tensor), elements in seen.tiles.items():
            place = path.steps[at].place
            walked[place, tensor] = max(walked.get((place, tensor), 0), elements)
    flat = {
        o.tensor for w in case.workload.works for o in w.operands if any(d.digits for d in o.dims)
    }
    for hold, elements in walked.items():
        if hold not in largest:
            continue  # registers, which have no room to fill
        # The room of a tile is reckoned without knowing where it begins.
        room = case.padded or hold[1] in flat
        if largest[hold] != elements and not (room and largest[hold] > elements):
            found.append(f"tile {hold}: {largest[hold]} {elements}")
    return found


def memory_of(case: Case, level: str) -> Memory:
    memory = case.arch.find(level)
    assert isinstance(memory, Memory)
    return memory


def _over_bus(moved: Moved, case: Case, path: Path) -> bool:
    """Whether a transfer has the root, behind its bus, on one side."""
    root = case.arch.memories[0]
    chain = [node.name for node in case.arch.path(path.compute.unit)]
    holders = [
        step.node.level
        for step in path.steps
        if isinstance(step.node, Hold)
        and {moved.operand.tensor, moved.operand.access} & {*step.node.tensors}
        and step.node.level in chain
    ]
    if root.bus is None or holders[0] != root.name:
        return False
    return moved.level == root.name or (moved.side == "high" and moved.level == holders[1])


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
    assert (
        min(tally[k] for k in ("matmul", "conv", "chain", "state", "gather", "twice", "spatial"))
        > 5
    )


@pytest.mark.slow
def test_counts_equal_a_walk_through_all_loops_5000() -> None:
    tally = _compare(range(1000, 7500))
    assert tally.total() - tally["illegal"] - tally["spatial"] >= 5000
