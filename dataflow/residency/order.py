"""The order of steps that keeps the least on chip, where data leave a choice.

The peak of an order: the most bytes of inputs, activations and outputs that live in one step, each
from its first access to its last; weights do not count, for they may be streamed. What a step may
write in place of what dies with it counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from dataflow.residency.schedule import Schedule

STATES = 50_000
"""Sets of steps done that the exact search visits before a beam takes over."""
BEAM = 300
"""Sets of steps done that the beam keeps."""


@dataclass(frozen=True)
class Order:
    """An order of steps.

    Attributes:
        steps: indices into the schedule.
        peak: bytes.
        proven: whether no order has a lower peak.
    """

    steps: tuple[int, ...]
    peak: int
    proven: bool


def peak(schedule: Schedule) -> int:
    """Peak of a schedule as it is, in bytes."""
    graph = _graph(schedule)
    return _peak(graph, range(len(schedule.steps)))


def reordered(schedule: Schedule, order: Sequence[int]) -> Schedule:
    """The schedule with its steps in another order.

    Raises:
        DataflowError: a step would read what is not made yet.
    """
    return Schedule(schedule.name, schedule.tensors, tuple(schedule.steps[i] for i in order))


def least_peak(schedule: Schedule, states: int = STATES, beam: int = BEAM) -> Order:
    """The order with the least peak: by search through sets of steps done, by a beam where there
    are too many; never above the given order's.

    Args:
        states, beam: see STATES, BEAM.
    """
    graph = _graph(schedule)
    given = tuple(range(len(schedule.steps)))
    limit = _peak(graph, given)
    found = _exact(graph, states)
    if found is not None:
        return Order(found, _peak(graph, found), True)
    guess = _beam(graph, beam)
    top = _peak(graph, guess)
    return Order(guess, top, False) if top < limit else Order(given, limit, False)


@dataclass(frozen=True)
class _Graph:
    """The steps as a graph of tensors that count.

    Attributes:
        sizes: bytes of each tensor.
        before: for each step, the steps that have to be done, as bits.
        reads, makes: tensors of each step, by index.
        readers: steps that read each tensor, as bits.
        stays: tensors that live to the end: outputs.
        in_place: (made, read) of each step.
        made: tensors that steps make; others enter where they are read first.
    """

    sizes: tuple[int, ...]
    before: tuple[int, ...]
    reads: tuple[tuple[int, ...], ...]
    makes: tuple[tuple[int, ...], ...]
    readers: tuple[int, ...]
    stays: frozenset[int]
    in_place: tuple[tuple[tuple[int, int], ...], ...]
    made: frozenset[int]

    def step(self, done: int, live: int, step: int) -> tuple[int, int]:
        """Bytes alive behind a step, and while it runs."""
        after = done | 1 << step
        entering = sum(
            self.sizes[t]
            for t in self.reads[step]
            if not self.readers[t] & done and t not in self.made
        )
        made = sum(self.sizes[t] for t in self.makes[step])
        dying = [t for t in self.reads[step] if self._dead(t, after)]
        shared, used = 0, set[int]()
        for new, old in self.in_place[step]:
            if old in dying and not {new, old} & used:
                used |= {new, old}
                shared += self.sizes[old]
        running = live + entering + made
        left = running - sum(self.sizes[t] for t in dying)
        left -= sum(self.sizes[t] for t in self.makes[step] if self._dead(t, after))
        return left, running - shared

    def _dead(self, tensor: int, done: int) -> bool:
        return tensor not in self.stays and not self.readers[tensor] & ~done

    def ready(self, done: int) -> Iterable[int]:
        """Steps that may come next."""
        for step, before in enumerate(self.before):
            if not done >> step & 1 and not before & ~done:
                yield step


def _graph(schedule: Schedule) -> _Graph:
    lives = schedule.lives()
    names = [n for n, t in schedule.tensors.items() if t.kind != "weight"]
    index = {name: i for i, name in enumerate(names)}
    reads, makes, before, pairs = [], [], [], []
    for step in schedule.steps:
        reads.append(tuple(index[a.tensor] for a in step.reads if a.tensor in index))
        makes.append(tuple(index[n] for n in step.writes))
        makers = {lives[a.tensor].made for a in step.reads} - {-1}
        before.append(sum(1 << m for m in makers))
        pairs.append(
            tuple((index[a], index[b]) for a, b in step.in_place if a in index and b in index)
        )
    return _Graph(
        tuple(schedule.tensors[n].bytes for n in names),
        tuple(before),
        tuple(reads),
        tuple(makes),
        tuple(sum(1 << u for u in lives[n].uses) for n in names),
        frozenset(index[n] for n in names if schedule.tensors[n].output),
        tuple(pairs),
        frozenset(t for made in makes for t in made),
    )


def _peak(graph: _Graph, order: Iterable[int]) -> int:
    done = live = top = 0
    for step in order:
        live, running = graph.step(done, live, step)
        top = max(top, running)
        done |= 1 << step
    return top


def _advance(graph: _Graph, done: int, live: int, top: int, path: list[int]) -> tuple[int, int]:
    """Takes steps that cannot hurt: they free at least what they make, within the peak so far.

    Whatever comes between in another order lives on no less without them.
    """
    moved = True
    while moved:
        moved = False
        for step in graph.ready(done):
            left, running = graph.step(done, live, step)
            if left <= live and running <= top:
                done, live = done | 1 << step, left
                path.append(step)
                moved = True
                break
    return done, live


def _exact(graph: _Graph, states: int) -> tuple[int, ...] | None:
    """The order with the least peak, or None after too many sets: lowest peak first."""
    every = (1 << len(graph.before)) - 1
    queue: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
    heapify(queue)
    paths: dict[int, tuple[int, tuple[int, ...]]] = {0: (-1, ())}
    closed: set[int] = set()
    best = {0: 0}
    while queue:
        top, _, done, live = heappop(queue)
        if done in closed:
            continue
        closed.add(done)
        if done == every:
            return _path(paths, done)
        if len(closed) > states:
            return None
        for step in graph.ready(done):
            left, running = graph.step(done, live, step)
            high = max(top, running)
            taken = [step]
            new, left = _advance(graph, done | 1 << step, left, high, taken)
            if high < best.get(new, 1 << 62):
                best[new] = high
                paths[new] = done, tuple(taken)
                heappush(queue, (high, -new.bit_count(), new, left))
    raise AssertionError("steps wait for each other")


def _path(paths: dict[int, tuple[int, tuple[int, ...]]], done: int) -> tuple[int, ...]:
    found: list[int] = []
    while done:
        done, taken = paths[done]
        found[:0] = taken
    return tuple(found)


def _beam(graph: _Graph, width: int) -> tuple[int, ...]:
    """An order with a low peak: the best sets of equally many steps at a time."""
    count = len(graph.before)
    layers: list[dict[int, tuple[int, int, tuple[int, ...]]]] = [{} for _ in range(count + 1)]
    layers[0][0] = 0, 0, ()
    for size in range(count):
        kept = sorted(layers[size].items(), key=lambda item: (item[1][0], item[1][1], item[0]))
        for done, (top, live, path) in kept[:width]:
            for step in graph.ready(done):
                left, running = graph.step(done, live, step)
                high = max(top, running)
                taken = [step]
                new, left = _advance(graph, done | 1 << step, left, high, taken)
                layer = layers[new.bit_count()]
                if new not in layer or (high, left) < layer[new][:2]:
                    layer[new] = high, left, (*path, *taken)
        layers[size] = {}
    ((_, _, path),) = layers[count].values()
    return path
