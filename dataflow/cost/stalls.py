"""Time with port contention, finite buffering, fill and drain: ZigZag 3.9.1's window arithmetic.

An estimate for one Einsum at a time: each transfer has a window in every period in which it does
not hold the array up; what ports cannot fit into the windows stalls it. Transfers before the first
and after the last multiply-accumulate that nothing hides are added, and the cycles in which the
results leave a systolic array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, permutations

from dataflow.arch import Architecture
from dataflow.cost.counts import Counter
from dataflow.cost.links import Links, Move, Rounding
from dataflow.mapping.check import verify
from dataflow.mapping.occupancy import variable_sizes
from dataflow.mapping.tree import Mapping, Path, paths
from dataflow.mapping.workload import Operand, Work, Workload

PortKey = tuple[str, str]
"""Memory and port."""


@dataclass(frozen=True)
class Stalled:
    """One Einsum in cycles.

    Attributes:
        einsum: its name.
        temporal: iterations of the temporal loops.
        stalls: of each port; negative is slack.
        stall: what they hold the array up.
        onload, offload: transfers before and after, that nothing hides.
        drain: out of a systolic array.
        moves: all transfers.
        energy_pj: word accesses at the ports' granularity and operations.
    """

    einsum: str
    temporal: int
    stalls: dict[PortKey, int]
    stall: int
    onload: int
    offload: int
    drain: int
    moves: tuple[Move, ...]
    energy_pj: Fraction

    @property
    def cycles(self) -> int:
        """All of it."""
        return self.temporal + self.stall + self.onload + self.offload + self.drain


def stalled(
    mapping: Mapping,
    workload: Workload,
    arch: Architecture,
    where: str = "mapping",
    rounding: Rounding = "up",
) -> tuple[Stalled, ...]:
    """Every Einsum of a mapping. Raises DataflowError when the mapping is not legal."""
    verify(mapping, workload, arch, where)
    sizes = variable_sizes(workload)
    found = []
    for path in paths(mapping):
        found.append(_einsum(path, workload.work(path.compute.einsum), sizes, arch, rounding))
    return tuple(found)


def _einsum(
    path: Path, work: Work, sizes: dict[str, int], arch: Architecture, rounding: Rounding
) -> Stalled:
    links = Links(path, work, sizes, arch, rounding)
    by_port: dict[PortKey, list[Move]] = {}
    for move in links.moves:
        by_port.setdefault((move.memory.name, move.port.name), []).append(move)
    stalls = {key: _stall(moves) for key, moves in by_port.items()}
    stall = max(0, *stalls.values()) if stalls else 0
    counts = Counter(path, work, sizes, arch).operations()
    left = _shrunk(links, by_port, links.total + stall)
    temporal = -(-links.total * counts.cycles // counts.steps)
    return Stalled(
        work.name,
        int(temporal),
        stalls,
        stall,
        _onload(links, left),
        _offload(links, left),
        _drain(links),
        links.moves,
        counts.energy_pj + sum((m.energy_pj for m in links.moves), Fraction(0)),
    )


def _stall(moves: Sequence[Move]) -> int:
    """Cycles that a port's transfers take beyond their windows."""
    excess = [(m.real - m.allowed) * (m.periods - 1) for m in moves]
    if len(moves) == 1:
        return excess[0]
    windows = sum(m.allowed * (m.periods - 1) for m in moves)
    positive = sum(e for e in excess if e > 0)
    other = sum(e for e in excess if e <= 0)
    return positive + max(0, other + windows - _union(moves))


def _union(moves: Sequence[Move]) -> int:
    """Cycles that the windows of all transfers cover together."""
    for m in moves:
        if m.allowed == m.period:
            return m.period * m.periods
    longest = max(moves, key=lambda m: m.period)
    spans: list[tuple[int, int]] = []
    for m in moves:
        spans += [(t, t + m.allowed) for t in range(0, longest.period, m.period)]
    covered = end = 0
    for start, stop in sorted(spans):
        covered += max(0, stop - max(start, end))
        end = max(end, stop)
    return covered * longest.periods


def _onload(links: Links, left: dict[int, int]) -> int:
    """Loading before the first multiply-accumulate."""
    inputs = [o for o in links.work.operands if o.role != "output"]
    ends: dict[Operand, dict[int, list[Move]]] = {o: {} for o in inputs}
    for move in links.moves:
        if move.operand.role != "output" and move.link > 0:
            ends[move.operand].setdefault(move.link, []).append(move)
    times: dict[Operand, dict[frozenset[PortKey], int]] = {}
    for operand, rows in ends.items():
        times[operand] = {}
        for moves in rows.values():
            ports = frozenset((m.memory.name, m.port.name) for m in moves)
            longest = max(left[id(m)] for m in moves)
            times[operand][ports] = times[operand].get(ports, 0) + longest
    if len(inputs) < 2:
        return sum(sum(t.values()) for t in times.values())
    best: list[int] = []
    for order in permutations(inputs):
        total = 0
        for first, second in pairwise(order):
            shared = {p for p in times[first] if p in times[second]}
            alone = sum(n for p, n in times[first].items() if p in shared)
            rest = sum(n for p, n in times[first].items() if p not in shared)
            total += alone + max(sum(times[second].values()), rest)
        best.append(total)
    return min(best)


def _shrunk(links: Links, by_port: dict[PortKey, list[Move]], cycles: int) -> dict[int, int]:
    """Cycles of each transfer before the start, or behind the end; what is moved once may use idle
    cycles in between. Partial sums that are fetched again are not looked at."""
    left = {id(m): m.real for m in links.moves}
    for moves in by_port.values():
        width = moves[0].port.bits_per_cycle
        if width is None:
            continue
        width *= moves[0].port.count
        moves = [m for m in moves if m.operand.role != "output" or _up(m)]
        busy = sum(-(-m.per_period * m.bits // m.period) for m in moves if m.periods > 1)
        idle = int(max(Fraction(0), 1 - busy / width) * cycles)
        once = [m for m in moves if m.periods == 1]
        for m in sorted(once, key=lambda m: -m.real):
            innermost = links.levels[m.operand][1]
            floor = int(-(-innermost.tile * m.bits // width))
            less = max(min(m.real, floor), m.real - idle)
            idle -= m.real - less
            left[id(m)] = less
    return left


def _up(move: Move) -> bool:
    """Whether it goes towards the root."""
    return (move.action, move.side) in (("read", "high"), ("write", "low"))


def _offload(links: Links, left: dict[int, int]) -> int:
    """Storing after the last multiply-accumulate: one period of each link, its longer end."""
    rows: dict[int, int] = {}
    for m in links.moves:
        if m.operand.role == "output" and m.link > 0 and _up(m):
            rows[m.link] = max(rows.get(m.link, 0), left[id(m)])
    return sum(rows.values())


def _drain(links: Links) -> int:
    """Cycles for the last results to leave the array."""
    lanes: dict[str, int] = {}
    for trip in links.trips(links.loops):
        if trip.fanout is not None and trip.fanout.systolic:
            lanes[trip.fanout.name] = lanes.get(trip.fanout.name, 1) * trip.trips
    return sum(n - 1 for n in lanes.values())
