"""From a solution of the search to loops and holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow import mapping as mp
from dataflow.search.problem import Fan, Level, Problem
from dataflow.search.single import Solution
from dataflow.search.skeleton import places


def nest(problem: Problem, solution: Solution, einsum: str) -> mp.Nest:
    """The loop nest of a solution, the holds of the outermost level first."""
    above, below = split_nest(problem, solution, einsum)
    return above + below


def joined(nodes: mp.Nest, work: mp.Work) -> mp.Nest:
    """The nest with a tensor's name where all accesses of it are in one hold."""
    accesses: dict[str, list[str]] = {}
    for operand in work.operands:
        if operand.access:
            accesses.setdefault(operand.tensor, []).append(operand.access)
    if not accesses:
        return nodes
    whole = {a: t for t, names in accesses.items() for a in names}

    def short(node: mp.Node) -> mp.Node:
        if not isinstance(node, mp.Hold):
            return node
        names = [
            whole[t] if t in whole and {*accesses[whole[t]]} <= {*node.tensors} else t
            for t in node.tensors
        ]
        return replace(node, tensors=tuple(dict.fromkeys(names)))

    return tuple(map(short, nodes))


def split_nest(problem: Problem, solution: Solution, einsum: str) -> tuple[mp.Nest, mp.Nest]:
    """The nest down to the holds of the frontier, these included, and what is below."""
    operands = {operand.name: operand for operand in problem.operands}
    spots = {v: places(problem, operands, solution.skeleton, v) for v in problem.sizes}
    left = dict(problem.sizes)
    root = problem.path[0]
    assert isinstance(root, Level)
    nodes: list[mp.Node] = []
    border = 0
    first = tuple(o.name for o in problem.operands if not o.resident)
    if first:
        nodes.append(mp.Hold(root.name, first))

    def descend(variable: str, tile: int) -> None:
        if left[variable] > tile:
            nodes.append(mp.Loop.of(variable, tile))
            left[variable] = tile

    for number, node in enumerate(solution.skeleton):
        part = problem.path[node.at]
        if isinstance(part, Fan):
            on = [v for v in problem.sizes if node.at in spots[v].fans]
            for v in on:
                descend(v, solution.chains[v].above[spots[v].fans.index(node.at)])
            for v in on:
                tile = solution.chains[v].below[spots[v].fans.index(node.at)]
                if left[v] > tile:
                    nodes.append(mp.Loop.of(v, tile, part.name))
                    left[v] = tile
            continue
        for v in problem.sizes:
            own, above = spots[v].own[number], spots[v].above[number]
            if own is not None:
                if own >= 0:
                    descend(v, solution.chains[v].below[own])
            elif above < len(spots[v].free):
                descend(v, solution.chains[v].above[above])
            else:
                descend(v, 1)
        last = nodes[-1] if nodes and len(nodes) != border else None
        if isinstance(last, mp.Hold) and last.level == part.name:
            nodes[-1] = mp.Hold(part.name, (*last.tensors, node.tensor))
        else:
            nodes.append(mp.Hold(part.name, (node.tensor,)))
        if problem.frontier and node.at == problem.frontier_at and node.tensor in problem.frontier:
            border = len(nodes)
    for v in problem.sizes:
        descend(v, 1)
    nodes.append(mp.Compute(einsum, problem.unit.name))
    return tuple(nodes[:border]), tuple(nodes[border:])


def renamed(
    nodes: mp.Nest, variables: Mapping[str, str], tensors: Mapping[str, str], einsum: str
) -> mp.Nest:
    """The nest of one Einsum for an equal one with other names."""
    found: list[mp.Node] = []
    for node in nodes:
        match node:
            case mp.Loop(own, tile, fanout):
                found.append(mp.Loop(tuple(variables[v] for v in own), tile, fanout))
            case mp.Hold(level, held, copies):
                names = tuple(mp.renamed_access(t, tensors) for t in held)
                found.append(mp.Hold(level, names, copies))
            case mp.Compute(_, unit):
                found.append(mp.Compute(einsum, unit))
            case _:
                raise AssertionError("one Einsum has no branches")
    return tuple(found)
