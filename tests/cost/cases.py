"""Random small workloads, architectures and legal mappings of one on the other."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from dataflow.arch import Architecture, resolve
from dataflow.arch.tree import Node as ArchNode
from dataflow.ir.text import loads
from dataflow.mapping import (
    Branches,
    Compute,
    Group,
    Hold,
    Loop,
    Mapping,
    Node,
    Work,
    Workload,
    may_hold,
    workload_of,
)
from dataflow.mapping.holding import can_hold
from dataflow.mapping.workload import Operand


@dataclass(frozen=True)
class Case:
    """A workload, an architecture, a mapping; ``padded``: an index leaves its tensor."""

    kind: str
    workload: Workload
    arch: Architecture
    mapping: Mapping
    padded: bool


def random_case(seed: int) -> Case:
    """The case of a seed."""
    rng = random.Random(seed)
    kind = rng.choice(
        ["matmul", "matmul", "conv", "conv", "reduce", "gather", "chain", "state", "twice", "twice"]
    )
    text = _text(rng, kind)
    workload = workload_of(loads(text))
    arch = _architecture(rng)
    return Case(kind, workload, arch, _mapping(rng, workload, arch), "*" in text and " - " in text)


def _text(rng: random.Random, kind: str) -> str:
    size = {v: rng.randint(1, 6) for v in "MKNC"}
    lines: list[str]
    if kind == "matmul":
        lines, declared = ["C[m, n] = A[m, k] * B[k, n]"], "A: [M, K], B: [K, N]"
    elif kind == "reduce":
        lines, declared = ["C[m] = A[m, k] :: max(k)"], "A: [M, K]"
    elif kind == "gather":
        size["T"] = rng.randint(1, 6)
        lines, declared = ["C[m, n] = A[{I[m]}, n]"], "A: [T, N], I: [M]"
    elif kind == "twice":  # one tensor in two roles, some of it in both
        shift = rng.randint(0, 3)
        size["H"] = size["M"] + size["N"] + shift
        lines, declared = [f"C[m, n] = A[m, k] * A[n + {shift}, k]"], "A: [H, K]"
    elif kind == "chain":
        lines = ["C[m, n] = A[m, k] * B[k, n]", "E[m, p] = C[m, n] * D[n, p]"]
        size["P"] = rng.randint(1, 5)
        declared = "A: [M, K], B: [K, N], D: [N, P]"
    elif kind == "state":
        size = {"T": rng.randint(1, 4), "M": rng.randint(1, 4)}
        return f"""\
einsum:
  name: state
  shapes: {{T: {size["T"]}, M: {size["M"]}}}
  declaration: {{X: [T, M], S: [M]}}
  init: |
    R[0, m] = 0
  iterate: {{variable: t, from: 0, until: t >= T}}
  expressions: |
    R[t+1, m] = R[t, m] + X[t, m]
  finally: |
    S[m] = R[T, m]
"""
    else:
        stride, dilation, pad = (
            rng.choice([1, 1, 2]),
            rng.choice([1, 1, 2]),
            rng.choice([0, 0, 1, 2]),
        )
        p, r = rng.randint(1, 6), rng.randint(1, 3)
        size = {"P": p, "R": r, "C": rng.randint(1, 3), "M": rng.randint(1, 3)}
        size["H"] = max(1, (p - 1) * stride + (r - 1) * dilation + 1 - pad)
        index = f"p*{stride} + r*{dilation}" + (f" - {pad}" if pad else "")
        lines, declared = (
            [f"O[m, p] = I[c, {index}] * F[m, c, r] :: add(c, r)"],
            "I: [C, H], F: [M, C, R]",
        )
    shapes = ", ".join(f"{v}: {n}" for v, n in size.items())
    types = ", types: {I: int64}" if kind == "gather" else ""
    head = f"einsum:\n  name: {kind}\n  shapes: {{{shapes}}}\n  declaration: {{{declared}}}\n"
    head += "  types: {I: int64}\n" if types else ""
    text = head + "  expressions: |\n" + "".join(f"    {line}\n" for line in lines)
    return text + _sections(rng, kind)


def _sections(rng: random.Random, kind: str) -> str:
    """Sometimes tensors stored in lines and used several times, and variables walked as one."""
    stored = {"matmul": "AB", "conv": "IF", "chain": "ABD"}.get(kind, "A")
    text = ""
    if rng.random() < 0.4:
        tensor = rng.choice(stored)
        form = [f"uses: {rng.randint(0, 3)}"]
        if rng.random() < 0.6:
            form.append(f"line: {rng.randint(1, 4)}")
            form += [f"block: {rng.randint(1, 5)}"] * (rng.random() < 0.5)
        text += f"format:\n  {tensor}: {{{', '.join(form)}}}\n"
    if kind == "conv" and rng.random() < 0.5:
        members = rng.choice(["c, r", "r, c"])
        text += f"flatten:\n  u: [{members}]\n"
    return text


def _architecture(rng: random.Random) -> Architecture:
    nodes: dict[str, Any] = {}
    above = None
    kinds = ["memory"] + [rng.choice(["memory", "fanout"]) for _ in range(rng.randint(1, 4))]
    roles = ["input", "weight", "output"]
    for number, kind in enumerate(kinds):
        under: dict[str, Any] = {} if above is None else {"under": above}
        name = f"{kind[0]}{number}"
        if kind == "memory":
            holds = ["all"] if number < 2 else rng.sample(roles, rng.randint(1, 3))
            port = {"does": ["read", "write"], "bits_per_cycle": 32}
            nodes[name] = {
                "kind": "memory",
                "size_bytes": "unbounded",
                "line_bits": rng.choice([8, 32, 64, 96]),
                "may_hold": holds,
                "reads_padding": rng.random() < 0.3,
                "ports": {"any": port},
                "energy_pj": {"read": 1.0, "write": 2.0},
                **under,
            }
            if number == 0 and rng.random() < 0.4:
                nodes[name]["bus"] = {
                    "max_burst_beats": 4,
                    "outstanding_reads": 4,
                    "read_latency_cycles": 1,
                    "write_latency_cycles": 1,
                }
        else:
            shares = rng.sample(roles, rng.randint(0, 3))
            shifts = rng.choice([[], ["input"], ["input", "weight"]])
            nodes[name] = {"kind": "fanout", "size": 4, "shares": shares, "shifts": shifts, **under}
        above = name
    operation = {"operators": ["any"], "inputs": ["int8"], "output": "int32"}
    nodes["u"] = {
        "kind": "compute",
        "executes": [operation],
        "energy_pj": 1.0,
        "under": above,
        "keeps": rng.choice([[], ["output"], ["input", "output"]]),
    }
    return resolve({"version": 1, "name": "random", "clock_mhz": 100, "nodes": nodes}, "r.yaml")


def _mapping(rng: random.Random, workload: Workload, arch: Architecture) -> Mapping:
    if len(workload.works) == 2 and workload.name == "chain" and rng.random() < 0.8:
        return Mapping((Group("g", _fused(rng, workload, arch)),))
    groups = [
        Group(f"g{k}", tuple(_nest(rng, work, arch, dict(work.sizes), set(), True)))
        for k, work in enumerate(workload.works)
    ]
    return Mapping(tuple(groups))


def _fused(rng: random.Random, workload: Workload, arch: Architecture) -> tuple[Node, ...]:
    """Two matrix products that share loops over m, sometimes over p too (which recomputes)."""
    first, second = workload.works
    memories = [m.name for m in arch.memories]
    shared: list[Node] = [Hold(memories[0], ("A", "B", "D", "E"))]
    left = {**first.sizes, **second.sizes}
    for variable in rng.choice([["m"], ["m", "m"], ["p"], ["m", "p"], []]):
        left[variable] = rng.randint(1, left[variable])
        shared.append(Loop.of(variable, left[variable]))
    # The intermediate is held where both can hold it: no fan-out stands above these.
    level = memories[0]
    if len(arch.nodes) > 2 and arch.nodes[1].name in memories and rng.random() < 0.7:
        level = memories[1]
    shared.append(Hold(level, ("C",)))
    held = {(memories[0], t) for t in "ABDE"} | {(level, "C"), (memories[0], "C")}
    parts = tuple(
        tuple(_nest(rng, w, arch, {v: left[v] for v in w.sizes}, held, False))
        for w in (first, second)
    )
    return (*shared, Branches(parts, rng.random() < 0.3))


def _nest(
    rng: random.Random,
    work: Work,
    arch: Architecture,
    left: dict[str, int],
    held: set[tuple[str, str]],
    root: bool,
) -> list[Node]:
    """Holds in the order of the machine, loops anywhere, spatial ones at their fan-out."""
    nodes: list[Node] = []
    operands: dict[str, list[Operand]] = {}
    apart = not root or rng.random() < 0.8  # holds of each access, or of a tensor for all
    for operand in work.operands:
        operands.setdefault(operand.name if apart else operand.tensor, []).append(operand)
    reducing_allowed = not root
    reads = {t for t, found in operands.items() if found[0].role != "output"}

    cut = {v for v, n in left.items() if n != work.sizes[v]}
    plain = bool(cut)

    def temporal() -> None:
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            free = [
                v
                for v in left
                if (reducing_allowed or v not in work.reduced) and v not in work.output.state
            ]
            if free:
                v = rng.choice(free)
                nodes.append(_cut(rng, v, left, left[v] == work.sizes[v] and not plain))
                left[v] = nodes[-1].tile  # type: ignore[union-attr]

    lanes: dict[str, int] = {}
    first = True
    for node in arch.path("u"):
        if node.name.startswith("m"):
            memory = arch.find(node.name)
            wanted = [
                t
                for t, found in operands.items()
                if (node.name, t) not in held
                and all(may_hold(memory, o) for o in found)  # type: ignore[arg-type]
                and (first or rng.random() < 0.6)
            ]
            rng.shuffle(wanted)
            while wanted:
                if not (first and root):
                    temporal()
                count = rng.randint(1, len(wanted)) if not (first and root) else len(wanted)
                whole = rng.random() < 0.2 and reads.issuperset(wanted[:count])
                nodes.append(Hold(node.name, tuple(wanted[:count]), whole=whole))
                wanted = wanted[count:]
            first = False
            reducing_allowed = True
        elif node.name.startswith("f"):
            temporal()
            nodes += _kept(rng, node, operands, held)
            for _ in range(rng.choice([0, 1, 1, 2])):
                free = [v for v in left if v not in work.output.state and v != "t"]
                if not free:
                    continue
                v = rng.choice(free)
                most = 4 // lanes.get(node.name, 1)
                least = -(-left[v] // most)
                tile = rng.randint(least, left[v])
                lanes[node.name] = lanes.get(node.name, 1) * -(-left[v] // tile)
                left[v] = tile
                nodes.append(Loop.of(v, tile, node.name))
    temporal()
    nodes += _kept(rng, arch.nodes[-1], operands, held)
    names = [v for v, n in left.items() if n > 1]
    rng.shuffle(names)
    nodes += [Loop.of(v, 1) for v in names]
    nodes.append(Compute(work.name, "u"))
    return nodes


def _cut(rng: random.Random, v: str, left: dict[str, int], whole: bool) -> Loop:
    """A temporal loop over what is left of a variable; sometimes one that names all its tiles."""
    if not whole or left[v] < 3 or rng.random() < 0.7:
        return Loop.of(v, rng.randint(1, left[v]))
    ends = sorted(rng.sample(range(1, left[v]), rng.randint(1, left[v] - 1)))
    pieces = tuple(b - a for a, b in zip([0, *ends], [*ends, left[v]], strict=True))
    return Loop.of_pieces(v, pieces)


def _kept(
    rng: random.Random,
    node: ArchNode,
    operands: dict[str, list[Operand]],
    held: set[tuple[str, str]],
) -> list[Node]:
    """Sometimes a hold of one tensor by lanes that shift, or by a unit's registers."""
    kept = [
        t
        for t, found in operands.items()
        if can_hold(node) and all(may_hold(node, o) for o in found) and (node.name, t) not in held
    ]
    if not kept or rng.random() < 0.5:
        return []
    return [Hold(node.name, (rng.choice(kept),))]
