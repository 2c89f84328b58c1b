"""Whether a Mapping fits a Workload and an Architecture: one message for each fault.

A message carries the path of the node and what to do. `verify` raises the first fault; `faults`
gives all, capacities included.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from dataflow.arch import Architecture, Compute, FanOut, Memory
from dataflow.errors import DataflowError
from dataflow.mapping import tree
from dataflow.mapping.flow import flow_faults
from dataflow.mapping.holding import can_hold, may_hold, must_hold
from dataflow.mapping.occupancy import capacity_faults
from dataflow.mapping.text import node_text
from dataflow.mapping.tree import Branches, Hold, Loop, Mapping, Path, Step, paths
from dataflow.mapping.workload import Operand, Work, Workload


def verify(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str = "mapping"
) -> None:
    """Raises the first fault of the mapping as a DataflowError."""
    found = next(_faults(mapping, workload, arch, where), None)
    if found is not None:
        raise found


def faults(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str = "mapping"
) -> tuple[DataflowError, ...]:
    """All faults, in the order of the text; later kinds only where earlier ones are absent."""
    return tuple(_faults(mapping, workload, arch, where))


def _faults(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    clean = True
    for stage in (_names, _paths, _flow, _capacity):
        for fault in stage(mapping, workload, arch, where):
            clean = False
            yield fault
        if not clean:
            return


def _flow(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    del arch
    return flow_faults(mapping, workload, where)


def _capacity(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    return capacity_faults(mapping, workload, arch, where)


def _at(where: str, place: str, node: tree.Node | None = None) -> str:
    return f"{where}: {place}" + ("" if node is None else f" ({node_text(node)})")


def _known(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"{hint}use one of {listed}" if names else "there is none"


# ---------------------------------------------------------------------------------- names, sizes


def _names(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    einsums = [work.name for work in workload.works]
    seen: dict[str, str] = {}
    for path in paths(mapping):
        name, unit = path.compute.einsum, path.compute.unit
        at = _at(where, path.place, path.compute)
        if name not in workload:
            free = name in workload.free
            what = "costs nothing and is not mapped" if free else "is no Einsum of the workload"
            fix = "leave it out" if free else _known(name, einsums)
            yield DataflowError(at, f"{name} {what}", fix)
        elif name in seen:
            yield DataflowError(at, f"{name} is computed twice", f"it is at {seen[name]} already")
        seen.setdefault(name, path.place)
        if not isinstance(arch.find(unit), Compute):
            units = [node.name for node in arch.computes]
            yield DataflowError(at, f"{arch.name} has no unit {unit}", _known(unit, units))
    for name in einsums:
        if name not in seen:
            fix = f"add a path that ends in: compute {name} on UNIT"
            yield DataflowError(f"{where}: groups", f"{name} is not mapped", fix)
    for number, group in enumerate(mapping.groups):
        inside = [p.compute.einsum for p in tree.group_paths(group, number)]
        yield from _blocks(group, f"{where}: groups[{number}]", inside, arch)
        yield from _nodes(group.nest, f"groups[{number}].nest", workload, arch, where)


def _blocks(
    group: tree.Group, where: str, inside: list[str], arch: Architecture
) -> Iterator[DataflowError]:
    listed: list[str] = []
    for at, block in enumerate(group.blocks):
        place = f"{where}.blocks[{at}]"
        for name in block.einsums:
            if name not in inside:
                yield DataflowError(place, f"{name} is not in the group", _known(name, inside))
            elif name in listed:
                yield DataflowError(place, f"{name} is in two blocks", "remove one")
            listed.append(name)
        for name in block.drain:
            if not isinstance(arch.find(name), FanOut):
                yield DataflowError(place, f"{name} is no fan-out", _known(name, _fanouts(arch)))
    for name in inside:
        if group.blocks and name not in listed:
            yield DataflowError(f"{where}.blocks", f"{name} is in no block", "add it to one")


def _fanouts(arch: Architecture) -> list[str]:
    return [node.name for node in arch.nodes if isinstance(node, FanOut)]


def _nodes(
    nest: tree.Nest, place: str, workload: Workload, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    for number, node in enumerate(nest):
        here = f"{place}[{number}]"
        at = _at(where, here, node)
        if isinstance(node, Branches):
            for k, part in enumerate(node.parts):
                yield from _nodes(part, f"{here}.parts[{k}]", workload, arch, where)
        elif isinstance(node, Hold):
            if not can_hold(arch.find(node.level)):
                names = [m.name for m in arch.nodes if can_hold(m)]
                what = f"{arch.name} has no memory {node.level}"
                yield DataflowError(at, what, _known(node.level, names))
            known = sorted({t for work in workload.works for t in work.names})
            for tensor in node.tensors:
                whole, dot, _ = tensor.partition(".")
                if tensor not in known:
                    what = f"{tensor} is no tensor of the workload"
                    yield DataflowError(at, what, _known(tensor, known))
                elif node.tensors.count(tensor) > 1 or (dot and whole in node.tensors):
                    yield DataflowError(at, f"{tensor} is there twice", "remove one")
                    break
        elif isinstance(node, Loop):
            yield from _loop(node, at, workload, arch)


def _loop(loop: Loop, at: str, workload: Workload, arch: Architecture) -> Iterator[DataflowError]:
    sizes: dict[str, int] = {}
    for work in workload.works:
        sizes.update(work.sizes)
    for variable in loop.variables:
        if variable not in sizes:
            what = f"{variable} is no rank variable of the workload"
            yield DataflowError(at, what, _known(variable, sorted(sizes)))
    extents = {sizes[v] for v in loop.variables if v in sizes}
    if len(extents) > 1:
        what = f"the sizes of {', '.join(loop.variables)} differ"
        yield DataflowError(at, what, "join variables of equal size only")
    elif extents and loop.tile > max(extents):
        what = f"the tile {loop.tile} is above the {max(extents)} values of {loop.variables[0]}"
        yield DataflowError(at, what, f"use a tile of at most {max(extents)}")
    if loop.fanout is not None and not isinstance(arch.find(loop.fanout), FanOut):
        what = f"{arch.name} has no fan-out {loop.fanout}"
        yield DataflowError(at, what, _known(loop.fanout, _fanouts(arch)))


# ------------------------------------------------------------------------------------ one path


def _paths(
    mapping: Mapping, workload: Workload, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    # Nodes above a split are on several paths: each fault once.
    seen: set[str] = set()
    used: set[tuple[str, str]] = set()
    held: dict[tuple[str, str], Step] = {}
    for path in paths(mapping):
        work = workload.work(path.compute.einsum)
        for fault in _path(path, work, arch, where):
            if str(fault) not in seen:
                seen.add(str(fault))
                yield fault
        chain = [node.name for node in arch.path(path.compute.unit)]
        for step in path.steps:
            if isinstance(step.node, Hold):
                for tensor in step.node.tensors:
                    held[step.place, tensor] = step
                    if tensor in work.names and step.node.level in chain:
                        used.add((step.place, tensor))
    for (place, tensor), step in held.items():
        if (place, tensor) not in used:
            at = _at(where, place, step.node)
            yield DataflowError(at, f"no Einsum below it uses {tensor} there", f"remove {tensor}")


def _path(path: Path, work: Work, arch: Architecture, where: str) -> Iterator[DataflowError]:
    unit = arch.find(path.compute.unit)
    assert isinstance(unit, Compute)
    at = _at(where, path.place, path.compute)
    for operator, _ in work.operators:
        if unit.operation(operator) is None:
            others = [u.name for u in arch.computes if u.operation(operator) is not None]
            fix = f"compute it on {', '.join(others)}" if others else "use another architecture"
            yield DataflowError(at, f"{unit.name} does not execute {operator}", fix)
    chain = [node.name for node in arch.path(unit.name)]
    yield from _order(path, chain, unit.name, where)
    yield from _lanes(path, work, arch, where)
    yield from _extents(path, work, where)
    for operand in work.operands:
        yield from _holders(path, operand, arch, where)


def _order(path: Path, chain: list[str], unit: str, where: str) -> Iterator[DataflowError]:
    """A hold stands below the loops on fan-outs above its level.

    It should stand above those on fan-outs below, but lanes have no order in time: it may stand
    further inside, as long as their variables are not cut again before it. Memories with no
    fan-out between them may stand in any order, and so may fan-outs.
    """
    levels: dict[str, int] = {}
    for step in path.steps:
        node = step.node
        name = node.level if isinstance(node, Hold) else node.fanout
        if name is None or (name not in chain and isinstance(node, Hold)):
            continue  # a level of another branch's unit
        at = _at(where, step.place, node)
        if name not in chain:
            what = f"{name} is not on the way to {unit}"
            yield DataflowError(at, what, f"use one of {', '.join(chain)}")
            continue
        place = chain.index(name)
        if isinstance(node, Loop):
            below = [other for other, depth in levels.items() if depth > place]
            if below:
                what = f"{below[0]} stands below {name} and is held above this loop"
                yield DataflowError(at, what, f"move the loop above the holds of {below[0]}")
        else:
            lanes = _split_again(path, step, chain[place + 1 :])
            if lanes:
                what = f"{name} stands above {lanes}, whose loop is above this hold"
                yield DataflowError(at, what, f"move the hold above the loops on {lanes}")
            levels[name] = place


def _split_again(path: Path, hold: Step, below: list[str]) -> str:
    """A fan-out below a held level whose loop stands above the hold and whose variable is cut
    again between the two: its lanes then hold no one tile together."""
    lanes: dict[str, str] = {}
    for step in path.steps:
        if step is hold:
            return ""
        node = step.node
        if not isinstance(node, Loop):
            continue
        for variable in node.variables:
            if variable in lanes:
                return lanes[variable]
            if node.fanout in below and node.fanout is not None:
                lanes[variable] = node.fanout
    return ""


def _lanes(path: Path, work: Work, arch: Architecture, where: str) -> Iterator[DataflowError]:
    used: dict[str, int] = {}
    extents = dict(work.sizes)
    for step in path.steps:
        node = step.node
        if not isinstance(node, Loop):
            continue
        variable = next((v for v in node.variables if v in extents), None)
        if variable is None:
            if node.fanout is not None:
                what = f"{work.name} has no variable {' or '.join(node.variables)}"
                fix = "move the loop into the branch of an Einsum that has it"
                yield DataflowError(_at(where, step.place, node), what, fix)
            continue
        trips = -(-extents[variable] // node.tile)
        extents[variable] = min(extents[variable], node.tile)
        if node.fanout is None:
            continue
        fanout = arch.find(node.fanout)
        assert isinstance(fanout, FanOut)
        used[fanout.name] = used.get(fanout.name, 1) * trips
        if used[fanout.name] > fanout.size:
            what = f"uses {used[fanout.name]} of the {fanout.size} instances of {fanout.name}"
            fix = f"use a larger tile: at most {fanout.size} trips over {fanout.name} in all"
            yield DataflowError(_at(where, step.place, node), what, fix)
        for operand in work.operands:
            if operand.role in fanout.only_irrelevant_to and variable in operand.variables:
                what = f"{variable} indexes {operand.tensor}, the {operand.role} of {work.name}"
                fix = f"{fanout.name} takes only variables that do not index the {operand.role}"
                yield DataflowError(_at(where, step.place, node), what, fix)
    for above in arch.path(path.compute.unit):
        if not isinstance(above, FanOut) or above.least_use is None:
            continue
        if used.get(above.name, 1) < above.least_use:
            what = f"uses {used.get(above.name, 1)} instances of {above.name}"
            fix = f"the architecture asks for at least {above.least_use}"
            yield DataflowError(_at(where, path.place, path.compute), what, fix)


def _extents(path: Path, work: Work, where: str) -> Iterator[DataflowError]:
    for step in path.steps:
        if isinstance(step.node, Loop):
            own = [v for v in step.node.variables if v in work.sizes]
            if len(own) > 1:
                what = f"{work.name} has {' and '.join(own)}, which one loop cannot both walk"
                yield DataflowError(_at(where, step.place, step.node), what, "use two loops")
    extents = dict(work.sizes)
    for step in path.steps:
        if isinstance(step.node, Loop):
            for v in step.node.variables:
                if v in extents:
                    extents[v] = min(extents[v], step.node.tile)
    yield from _pieces(path, work, where)
    left = {v: n for v, n in extents.items() if n > 1}
    for variable, extent in left.items():
        what = f"{extent} values of {variable} are left for one point"
        fix = f"add: for {variable} tile 1"
        yield DataflowError(_at(where, path.place, path.compute), what, fix)


def _pieces(path: Path, work: Work, where: str) -> Iterator[DataflowError]:
    """Loops that name every tile: first ones of their variable, as long as its range."""
    cut: set[str] = set()
    for step in path.steps:
        node = step.node
        if not isinstance(node, Loop):
            continue
        for variable in (v for v in node.variables if v in work.sizes):
            size = work.sizes[variable]
            if node.pieces and variable in cut:
                what = f"names the tiles of {variable}, which a loop above cuts already"
                fix = "name them in the outermost loop, or use one size"
                yield DataflowError(_at(where, step.place, node), what, fix)
            elif node.pieces and sum(node.pieces) != size:
                what = f"has tiles of {sum(node.pieces)} values in all, and {variable} has {size}"
                yield DataflowError(_at(where, step.place, node), what, f"use {size} in all")
            cut.add(variable)


def _holders(
    path: Path, operand: Operand, arch: Architecture, where: str
) -> Iterator[DataflowError]:
    name = operand.name
    found = [s for s in path.steps if isinstance(s.node, Hold) and operand.among(s.node.tensors)]
    at = _at(where, path.place, path.compute)
    chain = [node for node in arch.path(path.compute.unit) if can_hold(node)]
    names = [memory.name for memory in chain]
    used = [s.node.level for s in found if isinstance(s.node, Hold) and s.node.level in names]
    if not used:
        fix = f"add: hold {names[0]}: {name}" if names else "use another unit"
        yield DataflowError(at, f"{name} is held by no memory above", fix)
        return
    previous = -1
    for step in found:
        node = step.node
        assert isinstance(node, Hold)
        if node.level not in names:
            continue
        place = names.index(node.level)
        here = _at(where, step.place, node)
        if place == previous:
            what = f"{node.level} holds {name} already"
            yield DataflowError(here, what, "hold it once at each level")
        elif place < previous:
            what = f"{node.level} stands above {names[previous]}, which holds {name} too"
            yield DataflowError(here, what, f"hold {name} at {node.level} first")
        previous = max(previous, place)
        memory = chain[place]
        if not may_hold(memory, operand):
            yield DataflowError(
                here,
                f"{node.level} may not hold {name}, the {operand.role}",
                f"leave {name} out, or allow it in {arch.source}: nodes.{node.level}",
            )
    if operand.resident and not isinstance(arch.find(operand.resident), Memory):
        memories = [m.name for m in arch.memories]
        what = f"the format of {operand.tensor} has it in {operand.resident}, which is no memory"
        yield DataflowError(at, what, _known(operand.resident, memories))
        return
    if operand.resident and operand.resident == used[0]:
        return  # it is there, and need not pass the levels above
    if not operand.intermediate and names and used[0] != names[0]:
        what = f"{name} enters or leaves the machine and is not held by {names[0]}"
        yield DataflowError(at, what, f"add: hold {names[0]}: {name}")
    for place, memory in enumerate(chain):
        if not isinstance(memory, Memory):
            continue
        if memory.name not in used and must_hold(memory, operand, root=place == 0):
            what = f"{memory.name} has to hold {name}, the {operand.role}"
            yield DataflowError(at, what, f"add: hold {memory.name}: {name}")
