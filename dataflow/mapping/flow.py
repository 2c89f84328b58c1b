"""Whether what an Einsum reads has been written, and is still there: faults of a Mapping."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from dataflow.errors import DataflowError
from dataflow.mapping.text import node_text
from dataflow.mapping.tree import Hold, Loop, Mapping, Path, paths
from dataflow.mapping.workload import Dim, Operand, Work, Workload


def flow_faults(mapping: Mapping, workload: Workload, where: str) -> Iterator[DataflowError]:
    """Partial sums that get lost, tiles that do not hold what is read, circles of branches.

    Names are known to be right, and each Einsum has one path.
    """
    by_einsum = {path.compute.einsum: path for path in paths(mapping)}
    edges: list[tuple[Path, Path, str]] = []
    for work in workload.works:
        path = by_einsum[work.name]
        yield from _kept(path, work, where)
    order = {work.name: number for number, work in enumerate(workload.works)}
    for reader in workload.works:
        for operand in reader.inputs:
            for writer in workload.works:
                if writer.output.tensor != operand.tensor:
                    continue
                if order[writer.name] >= order[reader.name]:
                    continue  # carried from one step of a loop to the next
                above, below = by_einsum[writer.name], by_einsum[reader.name]
                edges.append((above, below, operand.tensor))
                yield from _early(above, below, operand, where)
                yield from _handed(above, below, writer, reader, operand, where)
    yield from _in_place(by_einsum, workload, where)
    yield from _circles(edges, where)


def _in_place(
    by_einsum: dict[str, Path], workload: Workload, where: str
) -> Iterator[DataflowError]:
    """Tensors of a hold that share one space replace each other point by point."""
    seen: set[str] = set()
    order = {work.name: number for number, work in enumerate(workload.works)}
    for path in by_einsum.values():
        for at, step in enumerate(path.steps):
            if not isinstance(step.node, Hold) or not step.node.in_place or step.place in seen:
                continue
            seen.add(step.place)
            for old, new in pairwise(step.node.tensors):
                writers = [w for w in workload.works if w.output.tensor == new]
                readers = [w for w in workload.works for o in w.inputs if o.tensor == old]
                fits = len(writers) == 1 and any(
                    o.tensor == old and o.dims == writers[0].output.dims and not writers[0].reduced
                    for o in writers[0].inputs
                )
                last = order[writers[0].name] if writers else -1
                if not fits or any(order[r.name] > last for r in readers):
                    what = f"{new} is not made point by point from {old} as its last reader"
                    fix = f"hold {old}, {new} with space for both"
                    yield DataflowError(_at(where, path, at), what, fix)


def outermost(path: Path, operand: Operand) -> int:
    """Steps above the outermost hold of an operand (all of them when there is none)."""
    for at, step in enumerate(path.steps):
        if isinstance(step.node, Hold) and operand.among(step.node.tensors):
            return at
    return len(path.steps)


def _splitting(path: Path, work: Work, upto: int) -> Iterator[tuple[int, Loop, str]]:
    """Loops among the first ``upto`` steps that cut a variable of the Einsum."""
    extents = dict(work.sizes)
    for at, step in enumerate(path.steps[:upto]):
        if not isinstance(step.node, Loop):
            continue
        for variable in step.node.variables:
            if variable in extents and extents[variable] > step.node.tile:
                extents[variable] = step.node.tile
                yield at, step.node, variable


def _at(where: str, path: Path, at: int) -> str:
    step = path.steps[at]
    return f"{where}: {step.place} ({node_text(step.node)})"


def _kept(path: Path, work: Work, where: str) -> Iterator[DataflowError]:
    """The outermost hold of an output stands above what reduces it and what overwrites it."""
    tensor = work.output.tensor
    hold = outermost(path, work.output)
    for at, _, variable in _splitting(path, work, hold):
        if variable in work.reduced:
            what = f"{tensor} is summed over {variable}, and its outermost hold is below this loop"
            fix = f"hold {tensor} above it, or move the loop down"
            yield DataflowError(_at(where, path, at), what, fix)
        elif variable in work.output.state:
            what = f"{tensor} lives on from one {variable} to the next, and is held below this loop"
            yield DataflowError(_at(where, path, at), what, f"hold {tensor} above it")


def _handed(
    above: Path, below: Path, writer: Work, reader: Work, operand: Operand, where: str
) -> Iterator[DataflowError]:
    tensor = operand.tensor
    from_at, to_at = outermost(above, writer.output), outermost(below, operand)
    source, target = above.steps[from_at], below.steps[to_at]
    place = f"{where}: {target.place} ({node_text(target.node)})"
    assert isinstance(source.node, Hold) and isinstance(target.node, Hold)
    if above.group > below.group:
        what = f"{reader.name} reads {tensor}, which group {above.group} writes later"
        yield DataflowError(f"{where}: {below.place}", what, "move that group before this one")
        return
    if source.node.level != target.node.level:
        what = f"{tensor} is written to {source.node.level} and read from {target.node.level}"
        fix = f"hold it at {source.node.level} outermost in both places"
        yield DataflowError(place, what, fix)
        return
    if source.place != target.place:
        for path, work, upto in ((above, writer, from_at), (below, reader, to_at)):
            access = writer.output if work is writer else operand
            for at, _, variable in _splitting(path, work, upto):
                if variable in access.variables or path is above:
                    what = f"{tensor} goes from {writer.name} to {reader.name} and is dropped here"
                    fix = f"hold {tensor} above the loops in both, or once above the branches"
                    yield DataflowError(_at(where, path, at), what, fix)
                    return
        return
    for at, loop, variable in _splitting(above, writer, from_at):
        number = next(
            (k for k, d in enumerate(writer.output.dims) if variable in d.variables), None
        )
        if number is None or not _same_slice(
            operand, number, loop, reader, writer.output.dims[number]
        ):
            what = f"{reader.name} reads more of {tensor} than the tile that this loop leaves"
            fix = f"hold {tensor} above it, or read it by the same variable"
            yield DataflowError(_at(where, above, at), what, fix)


def _same_slice(operand: Operand, number: int, loop: Loop, reader: Work, written: Dim) -> bool:
    """Whether a reader walks a dimension as the loop does: by one of its variables, plainly, or as
    it was written."""
    dim = operand.dims[number]
    if dim == written:
        return True
    terms = [(v, a) for v, a in dim.terms if reader.sizes[v] > 1]
    plain = len(terms) == 1 and terms[0][1] == 1 and not dim.offset and not dim.indirect
    return plain and terms[0][0] in loop.variables


def _early(above: Path, below: Path, operand: Operand, where: str) -> Iterator[DataflowError]:
    """A part of a split that runs before the one which makes what it reads.

    Parts that are in progress together, and what stands below no temporal loop of its own (it may
    alternate with its neighbours), have no order.
    """
    for depth, ((start, one, a), (_, other, b)) in enumerate(
        zip(above.splits, below.splits, strict=False)
    ):
        if above.group != below.group or one is not other or one.together:
            return
        if a == b:
            continue
        borders = all(
            any(isinstance(s.node, Loop) and s.node.fanout is None for s in path.steps[start:])
            for path in (above, below)
        )
        if a > b and borders and depth == len(above.splits) - 1 == len(below.splits) - 1:
            what = f"{below.compute.einsum} reads {operand.tensor}, which a later branch makes"
            fix = f"put the branch of {above.compute.einsum} before it"
            yield DataflowError(f"{where}: {below.place}", what, fix)
        return


def _circles(edges: list[tuple[Path, Path, str]], where: str) -> Iterator[DataflowError]:
    """Parts of a split of which each needs what the other makes.

    A part without temporal loops above its own split is no border: what is in it may alternate
    with its neighbours.
    """
    graphs: dict[str, dict[tuple[int, ...], set[tuple[int, ...]]]] = {}
    names: dict[tuple[str, tuple[int, ...]], str] = {}
    for above, below, _ in edges:
        if above.group != below.group:
            continue
        depth = 0
        pairs = zip(above.splits, below.splits, strict=False)
        for (_, one, a), (_, other, b) in pairs:
            if one is not other or a != b:
                break
            depth += 1
        if depth >= min(len(above.splits), len(below.splits)):
            continue
        tag = f"{above.group}:" + ".".join(str(p) for _, _, p in above.splits[:depth])
        left, right = _part(above, depth), _part(below, depth)
        graphs.setdefault(tag, {}).setdefault(left, set()).add(right)
        names.setdefault((tag, left), above.compute.einsum)
        names.setdefault((tag, right), below.compute.einsum)
    for tag, graph in graphs.items():
        found = _circle(graph)
        if found:
            texts = [names[tag, part] for part in found]
            what = f"the branches of {', '.join(texts)} need each other's results"
            fix = "split them at the same loops, or put them under temporal loops of their own last"
            yield DataflowError(f"{where}: groups[{tag.split(':')[0]}].nest", what, fix)


def _part(path: Path, depth: int) -> tuple[int, ...]:
    """The part of a split that a path takes, and those below it up to the next temporal loop."""
    found = [path.splits[depth][2]]
    for (start, _, _), (end, _, part) in zip(
        path.splits[depth:], path.splits[depth + 1 :], strict=False
    ):
        between = path.steps[start:end]
        if any(isinstance(s.node, Loop) and s.node.fanout is None for s in between):
            break
        found.append(part)
    return tuple(found)


def _circle(graph: dict[tuple[int, ...], set[tuple[int, ...]]]) -> list[tuple[int, ...]]:
    """Nodes of a circle, or none: what is left when nodes without successors are taken away."""
    left = {node: set(after) for node, after in graph.items()}
    changed = True
    while changed:
        changed = False
        for node in list(left):
            left[node] = {n for n in left[node] if n in left}
            if not left[node]:
                del left[node]
                changed = True
    return sorted(left)
