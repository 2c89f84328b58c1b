"""Random mappings: any nesting, whether it fits a machine or not."""

from __future__ import annotations

import random
from fractions import Fraction

from dataflow.mapping import Block, Branches, Compute, Group, Hold, Loop, Mapping, Nest, Node, paths


def random_mapping(rng: random.Random) -> Mapping:
    """A mapping of random shape; names and sizes are made up."""
    groups = []
    for number in range(rng.randint(1, 3)):
        nest = _nest(rng, 0)
        plain = Group(f"g{number}", nest)
        names = [p.compute.einsum for p in paths(Mapping((plain,)))]
        blocks = tuple(
            Block((name,), tuple(rng.sample(["rows", "cols"], rng.randint(0, 2)))) for name in names
        )
        groups.append(Group(f"g{number}", nest, blocks if rng.random() < 0.3 else ()))
    return Mapping(tuple(groups))


def _nest(rng: random.Random, depth: int) -> Nest:
    nodes: list[Node] = []
    for _ in range(rng.randint(0, 6)):
        if rng.random() < 0.5:
            variables = tuple(rng.sample(["m", "n", "k", "p2"], rng.choice([1, 1, 1, 2])))
            fanout = rng.choice([None, None, "rows", "cols"])
            pieces = tuple(rng.randint(1, 9) for _ in range(rng.randint(2, 4)))
            if fanout is None and rng.random() < 0.2:
                nodes.append(Loop(variables, max(pieces), None, pieces))
                continue
            nodes.append(Loop(variables, rng.choice([1, 2, 7, 10**12]), fanout))
        else:
            tensors = tuple(rng.sample(["A", "B", "C_1", "x", "x.2"], rng.randint(1, 3)))
            level, copies = rng.choice(["dram", "buf", "Reg0"]), rng.choice([1, 1, 2])
            in_place = len(tensors) > 1 and "x.2" not in tensors and rng.random() < 0.2
            nodes.append(Hold(level, tensors, copies, in_place, rng.random() < 0.2))
    if depth < 3 and rng.random() < 0.4:
        parts = tuple(_nest(rng, depth + 1) for _ in range(rng.randint(1, 3)))
        together = rng.random() < 0.5
        interval = Fraction(rng.randint(1, 99), rng.choice([1, 2, 3])) if together else None
        nodes.append(Branches(parts, together, interval if rng.random() < 0.5 else None))
    else:
        nodes.append(Compute(rng.choice(["Mm", "E_2"]), "MAC"))
    return tuple(nodes)
