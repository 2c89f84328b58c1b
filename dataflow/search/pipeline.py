"""The software pipeline of a mapping's `Branches` with ``together``, as tasks and dependences.

A task is an Einsum with the cycles that its unit is busy in one iteration. A tensor makes its
reader wait for its writer: until it is finished, or, where both walk the same variable one value a
step, one step behind it. On the way from one unit to another, values cross the systolic fan-outs
of the units: as many cycles as instances are in use.
"""

from __future__ import annotations

from fractions import Fraction

from dataflow.arch import Architecture, Compute, FanOut
from dataflow.cost import Column, Counter, Once
from dataflow.errors import DataflowError
from dataflow.mapping import Branches, Loop, Mapping, Path, Work, Workload, paths
from dataflow.mapping.occupancy import variable_sizes
from dataflow.search.modulo import Dependence, Schedule, Task, modulo_schedule


def schedule(mapping: Mapping, workload: Workload, arch: Architecture) -> Schedule:
    """The modulo schedule of the innermost ``together`` of a legal mapping.

    Sums that are carried from one iteration to another of the same loop are taken to be far
    enough apart: the loops above must run over other coordinates in between.

    Raises:
        DataflowError: the mapping has no such node, or a unit is busy for a fraction of a cycle.
    """
    inside = _innermost(mapping)
    sizes = variable_sizes(workload)
    counters = {
        p.compute.einsum: Counter(p, workload.work(p.compute.einsum), sizes, arch)
        for p, _ in inside
    }
    tasks = [_task(counters[p.compute.einsum], upto) for p, upto in inside]
    names = [t.name for t in tasks]
    links: list[Dependence] = []
    order = {work.name: number for number, work in enumerate(workload.works)}
    for writer in names:
        for reader in names:
            one, other = workload.work(writer), workload.work(reader)
            reads = any(o.tensor == one.output.tensor for o in other.inputs)
            if reads and order[writer] < order[reader]:
                links.append(_link(counters[writer], counters[reader], tasks, arch))
    return modulo_schedule(tasks, links)


def _innermost(mapping: Mapping) -> list[tuple[Path, int]]:
    """Paths under the deepest ``together``, with the number of steps above it."""
    best: tuple[int, Branches] | None = None
    for path in paths(mapping):
        for upto, node, _ in path.splits:
            if node.together and (best is None or upto > best[0]):
                best = (upto, node)
    if best is None:
        raise DataflowError("mapping", "has no 'together'", "say which parts overlap")
    upto, chosen = best
    return [(p, upto) for p in paths(mapping) if any(n is chosen for _, n, _ in p.splits)]


def _steps(counter: Counter, upto: int) -> int:
    total = 1
    for variable in counter.chains:
        total *= counter.value(Column((variable,), (), upto, (Once(0, upto),)))
    return total


def _task(counter: Counter, upto: int) -> Task:
    counts = counter.counts()
    each = counts.cycles / _steps(counter, upto)
    if each.denominator != 1:
        what = f"{counts.einsum} keeps {counts.unit} busy for {each} cycles an iteration"
        raise DataflowError("mapping", what, "use tiles that divide")
    return Task(counts.einsum, counts.unit, int(each))


def _link(source: Counter, target: Counter, tasks: list[Task], arch: Architecture) -> Dependence:
    cycles = {t.name: t.cycles for t in tasks}
    latency = cycles[source.work.name]
    shared = _streamed(source, target)
    if shared:
        slots = Fraction(latency, source.chains[shared].size)
        latency = -(-slots.numerator // slots.denominator)
    if source.unit.name != target.unit.name:
        latency += _crossing(source, arch) + _crossing(target, arch)
    return Dependence(source.work.name, target.work.name, latency)


def _streamed(source: Counter, target: Counter) -> str:
    """The variable that both walk innermost, one value a step, and that indexes the tensor."""
    last = [_last(c.path, c.work) for c in (source, target)]
    name = last[0]
    return name if name and name == last[1] and name in source.work.output.variables else ""


def _last(path: Path, work: Work) -> str:
    """The variable of the innermost temporal loop, if it goes to single values in one step."""
    for step in reversed(path.steps):
        if isinstance(step.node, Loop) and step.node.fanout is None:
            own = [v for v in step.node.variables if v in work.sizes]
            whole = sum(
                isinstance(s.node, Loop) and bool(own) and own[0] in s.node.variables
                for s in path.steps
            )
            return own[0] if own and whole == 1 and step.node.tile == 1 else ""
    return ""


def _crossing(counter: Counter, arch: Architecture) -> int:
    """Cycles to cross the innermost systolic fan-out above a unit, by the lanes in use."""
    above = arch.path(counter.unit.name)
    assert isinstance(above[-1], Compute)
    for node in reversed(above):
        if isinstance(node, FanOut) and node.systolic:
            lanes = 1
            for step in counter.path.steps:
                if isinstance(step.node, Loop) and step.node.fanout == node.name:
                    extent = _extent(counter, step.node)
                    lanes *= -(-extent // step.node.tile)
            return lanes
    return 0


def _extent(counter: Counter, loop: Loop) -> int:
    """Values of the loop's variable that reach it."""
    extent = 0
    for step in counter.path.steps:
        if isinstance(step.node, Loop):
            for v in step.node.variables:
                if v in loop.variables and v in counter.work.sizes:
                    before = extent or counter.work.sizes[v]
                    if step.node is loop:
                        return before
                    extent = min(before, step.node.tile)
    return extent or 1
