"""Every mapping of a tiny mapspace, costed one by one with the cost model.

All orders and sets of holds, all integer tiles at every hold (not only where the search lets them
be free), all blocks and tiles at every fan-out. Shares nothing with the search.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import chain, combinations, islice, permutations, product
from typing import Any

from dataflow import mapping as mp
from dataflow.arch import Architecture, FanOut, Memory, resolve
from dataflow.cost import cost
from dataflow.errors import DataflowError
from dataflow.ir.text import loads

MOST = 700
ACCESSES = (
    "C[m, n] = A[{I[m]}, n]",
    "C[m] = A[{I[m]}, k] * B[k]",
    "C[m, n] = A[{I[m, n]}]",
    "C[m, n] = A[m] * A[n + 1]",
    "C[m] = A[m] * A[m + 1]",
    "C[m] = A[m, k] * A[m + 1, k]",
    "C[p] = A[p - r + 2] * B[r]",
)
"""By data, of one tensor in two roles, and backwards."""
FORMS = (
    "C[m] = A[m, k] * B[k]",
    "C[m, n] = A[m, k] * B[k, n]",
    "C[p] = A[p + r] * B[r]",
    "C[p] = A[p*2 + r - 1] * B[r]",
    "C[m, n] = A[m] * B[n]",
)


def case(seed: int, forms: Sequence[str] = FORMS) -> tuple[mp.Work, Architecture, list[mp.Mapping]]:
    """A random Einsum and machine with at most MOST mappings, and all of them."""
    for attempt in range(10_000):
        rng = random.Random(f"{seed} {attempt}")
        work, arch = _work(rng, forms), _machine(rng)
        found = list(islice(mappings(work, arch), MOST + 1))
        if 20 <= len(found) <= MOST:
            return work, arch, found
    raise AssertionError("no small case")


def _work(rng: random.Random, forms: Sequence[str]) -> mp.Work:
    form = rng.choice(forms)
    sizes = {v: rng.randint(1, 5) for v in "MKNPR"}
    used = {v for v in "MKNPR" if v.lower() in form.split("=")[0] + form.split("=")[1]}
    shape = {v: sizes[v] for v in sorted(used)}
    declared = {"A": "[M, K]", "B": "[K]", "C": "[M]"}
    types = {"A": "int8", "B": "int8", "C": "int32"}
    if forms is ACCESSES:
        shape["H"] = rng.randint(1, 6)
        if "p -" in form:
            shape["H"] = sizes["P"] + 2
            sizes["R"] = shape["R"] = min(3, sizes["R"])
        elif "A[m] * A[n" in form or "m + 1" in form:
            shape["H"] = max(sizes["M"], sizes["N"]) + 1
        index = form.split("A[", 1)[1]
        declared = {"A": "[H]"}
        if "I[" in form:
            declared["I"] = "[M, N]" if "I[m, n]" in form else "[M]"
            types["I"] = "int64"
        if ", k]" in index or (", n]" in index and "I[m, n]" not in form):
            declared["A"] = "[H, K]" if ", k]" in index else "[H, N]"
        if "B[" in form:
            declared["B"] = "[K]" if "B[k]" in form else "[R]"
    elif "k, n" in form:
        declared = {"A": "[M, K]", "B": "[K, N]"}
    elif "A[m]" in form:
        declared = {"A": "[M]", "B": "[N]"}
    elif "r" in form:
        stride = 2 if "*2" in form else 1
        pad = 1 if "- 1" in form else 0
        if pad and sizes["P"] == sizes["R"] == 1:  # one point, in the padding: refused
            sizes["R"] = shape["R"] = 2
        # without its last row of padding the index ends inside
        shape["H"] = max(1, (sizes["P"] - 1) * stride + sizes["R"] - pad - rng.randint(0, pad))
        declared = {"A": "[H]", "B": "[R]"}
    declared.pop("C", None)
    formats = dict.fromkeys(declared, "{bits: 8}")
    if "B" in formats:
        formats["B"] = "{bits: 8, role: weight}"
    formats["C"] = f"{{bits: {rng.choice([8, 8, 32])}}}"
    text = f"""einsum:
  name: tiny
  shapes: {{{", ".join(f"{v}: {n}" for v, n in shape.items())}}}
  declaration: {{{", ".join(f"{t}: {r}" for t, r in declared.items())}}}
  types: {{{", ".join(f"{t}: {x}" for t, x in types.items() if f"{t}[" in form)}}}
  expressions: |
    {form}
format: {{{", ".join(f"{t}: {f}" for t, f in formats.items())}}}
"""
    (work,) = mp.workload_of(loads(text)).works
    return work


def _machine(rng: random.Random) -> Architecture:
    nodes: dict[str, Any] = {}
    above = None
    kinds = ["memory", "memory", *rng.choice([(), ("fanout",), ("fanout", "memory"), ("memory",)])]
    for number, kind in enumerate(kinds):
        name = f"{kind[0]}{number}"
        under: dict[str, Any] = {} if above is None else {"under": above}
        if kind == "memory":
            roles = ["all"] if number < 2 else rng.sample(["input", "weight", "output"], 1)
            size: dict[str, Any] = {"size_bytes": "unbounded"}
            if number:
                size = {"size_bits": 8 * rng.randint(2, 30)}
            rates = rng.choice([(8, 8), (8, 32), ("unbounded", "unbounded")])
            ports: dict[str, Any] = {"any": {"does": ["read", "write"], "bits_per_cycle": rates[0]}}
            if rng.random() < 0.3:
                ports = {
                    "r": {"does": ["read"], "bits_per_cycle": rates[0]},
                    "w": {"does": ["write"], "bits_per_cycle": rates[1]},
                }
            nodes[name] = {
                "kind": "memory",
                "line_bits": 8,
                "may_hold": roles,
                "must_hold": rng.choice([[], roles]) if number > 1 else [],
                "ports": ports,
                "energy_pj": {"read": rng.choice([1.0, 7.5]), "write": rng.choice([1.0, 9.0])},
                "leakage_mw": rng.choice([0.0, 0.5]),
                **size,
                **under,
            }
        else:
            shares = rng.sample(["input", "weight", "output"], rng.randint(0, 3))
            barred = rng.sample(["input", "weight", "output"], rng.randint(0, 1))
            nodes[name] = {
                "kind": "fanout",
                "size": rng.choice([2, 3, 4]),
                "shares": shares,
                "only_irrelevant_to": barred,
                **under,
            }
        above = name
    output = rng.choice(["int8", "int32"])
    operation = {"operators": ["any"], "inputs": ["int8", "int8"], "output": output}
    nodes["u"] = {"kind": "compute", "executes": [operation], "energy_pj": 0.5, "under": above}
    return resolve({"version": 1, "name": "tiny", "clock_mhz": 100, "nodes": nodes}, "tiny.yaml")


def two_fan_outs(adding: tuple[str, ...]) -> tuple[mp.Work, Architecture]:
    """A vector times a matrix on 2 x 2 lanes with sums of their own; those of ``adding`` meet."""
    text = """einsum:
  name: tiny
  shapes: {M: 2, K: 3}
  declaration: {A: [M, K], B: [K]}
  types: {A: int8, B: int8, C: int32}
  expressions: |
    C[m] = A[m, k] * B[k]
format: {A: {bits: 8}, B: {bits: 8, role: weight}, C: {bits: 8}}
"""
    (work,) = mp.workload_of(loads(text)).works

    def memory(roles: list[str], price: float, under: str | None) -> dict[str, Any]:
        at: dict[str, Any] = {} if under is None else {"under": under}
        return {
            "kind": "memory",
            "line_bits": 8,
            "size_bytes": "unbounded",
            "may_hold": roles,
            "must_hold": roles,
            "ports": {"any": {"does": ["read", "write"], "bits_per_cycle": 8}},
            "energy_pj": {"read": price, "write": price + 0.5},
            **at,
        }

    def lanes(name: str, under: str) -> dict[str, Any]:
        shares = ["output"] if name in adding else []
        return {"kind": "fanout", "size": 2, "shares": shares, "under": under}

    unit = {"operators": ["any"], "inputs": ["int8", "int8"], "output": "int8"}
    nodes: dict[str, Any] = {
        "m0": memory(["all"], 9.0, None),
        "m1": memory(["output"], 5.0, "m0"),
        "y": lanes("y", "m1"),
        "x": lanes("x", "y"),
        "m4": memory(["output"], 1.0, "x"),
        "u": {"kind": "compute", "executes": [unit], "energy_pj": 0.5, "under": "m4"},
    }
    return work, resolve({"version": 1, "name": "tiny", "clock_mhz": 100, "nodes": nodes}, "t.yaml")


def mappings(work: mp.Work, arch: Architecture) -> Iterator[mp.Mapping]:
    """All mappings whose holds are legal; capacities are not looked at."""
    root, *rest = arch.path("u")[:-1]
    options: list[list[tuple[mp.Hold | FanOut, ...]]] = []
    for node in rest:
        if isinstance(node, FanOut):
            options.append([(node,)])
            continue
        assert isinstance(node, Memory)
        may = [o.name for o in work.operands if mp.may_hold(node, o)]
        must = {o.name for o in work.operands if mp.must_hold(node, o, root=False)}
        sets = chain.from_iterable(combinations(may, n) for n in range(len(may) + 1))
        orders = [o for s in sets if must <= set(s) for o in permutations(s)]
        options.append([tuple(mp.Hold(node.name, (t,)) for t in order) for order in orders])
    for parts in product(*options):
        nodes: list[mp.Hold | FanOut] = [item for part in parts for item in part]
        choices = [list(_tiles(work, v, size, nodes)) for v, size in work.sizes.items()]
        for tiles in product(*choices):
            nest: list[mp.Node] = [mp.Hold(root.name, work.tensors)]
            left = dict(work.sizes)
            for at, step in enumerate(nodes):
                for v, row in zip(work.sizes, tiles, strict=True):
                    if row[at][0] < left[v]:
                        nest.append(mp.Loop.of(v, row[at][0]))
                        left[v] = row[at][0]
                if isinstance(step, FanOut):
                    for v, row in zip(work.sizes, tiles, strict=True):
                        if row[at][1] < left[v]:
                            nest.append(mp.Loop.of(v, row[at][1], step.name))
                            left[v] = row[at][1]
                else:
                    nest.append(step)
            nest += [mp.Loop.of(v, 1) for v, size in left.items() if size > 1]
            yield mp.Mapping((mp.Group("g", (*nest, mp.Compute(work.name, "u"))),))


def _tiles(
    work: mp.Work, variable: str, size: int, nodes: list[mp.Hold | FanOut]
) -> Iterator[tuple[tuple[int, int], ...]]:
    """(tile before, tile after) each node."""
    if not nodes:
        yield ()
        return
    node = nodes[0]
    if isinstance(node, FanOut):
        barred = any(
            o.role in node.only_irrelevant_to and variable in o.variables for o in work.operands
        )
        steps = [
            (block, tile)
            for block in range(1, size + 1)
            for tile in ([block] if barred else range(1, block + 1))
            if -(-block // tile) <= node.size
        ]
    else:
        steps = [(tile, tile) for tile in range(1, size + 1)]
    for before, after in steps:
        for below in _tiles(work, variable, after, nodes[1:]):
            yield ((before, after), *below)


def values(work: mp.Work, arch: Architecture, found: list[mp.Mapping]) -> list[tuple[float, float]]:
    """(energy, latency) of those that are legal."""
    workload = mp.Workload("tiny", (work,))
    result = []
    for mapping in found:
        try:
            counted = cost(mapping, workload, arch)
        except DataflowError:
            continue
        result.append((float(counted.energy_pj), float(counted.cycles)))
    return result
