"""Every partition of tiny workloads into groups, every mapping of each group, costed one by one.

Shares nothing with the search. Variables have the same names in all Einsums. The machine has a
root, one buffer and a unit. Parts of a group run one after another and use the same room, so that
the least of a group is that of each part with the others as small as they can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, pairwise, permutations, product
from math import prod
from typing import Any

from dataflow import mapping as mp
from dataflow.arch import Architecture, resolve
from dataflow.cost import cost
from dataflow.errors import DataflowError
from dataflow.ir.text import loads

FORMS = {
    "chain": ("C[m, n] = A[m, k] * B[k, n]", "E[m, p] = C[m, n] * D[n, p]"),
    "pointwise": ("C[m, n] = A[m, k] * B[k, n]", "E[m, n] = C[m, n] + D[m, n]"),
    "residual": (
        "C[m, n] = A[m, n] * A[m, n]",
        "E[m, n] = C[m, k] * B[k, n]",
        "F[m, n] = C[m, n] + E[m, n]",
    ),
    "softmax": ("C[m] = A[m, k] :: max(k)", "E[m, k] = sub_exp(A[m, k], C[m])", "F[m] = E[m, k]"),
}
DECLARED = {"A": "[M, K]", "B": "[K, N]", "D": "[N, P]"}


def workload(form: str, sizes: dict[str, int]) -> mp.Workload:
    """The workload of one of FORMS."""
    lines = FORMS[form]
    used = {v for line in lines for v in "MKNP" if f"{v.lower()}" in _indices(line)}
    declared = {t: r for t, r in DECLARED.items() if any(f" {t}[" in f" {x}" for x in lines)}
    if form == "pointwise":
        declared["D"] = "[M, N]"
    if form == "residual":
        declared["A"] = "[M, N]"
    made = [line[0] for line in lines]
    bits = dict.fromkeys((*declared, *made), 8)
    text = f"""einsum:
  name: tiny
  shapes: {{{", ".join(f"{v}: {sizes[v]}" for v in sorted(used))}}}
  declaration: {{{", ".join(f"{t}: {r}" for t, r in declared.items())}}}
  expressions: |
{"".join(f"    {line}" + chr(10) for line in lines)}
format: {{{", ".join(f"{t}: {{bits: {b}}}" for t, b in bits.items())}}}
"""
    return mp.workload_of(loads(text))


def _indices(line: str) -> str:
    return "".join(part.split("]")[0] for part in line.split("[")[1:])


def machine(bits: int, rate: int | str, read: float) -> Architecture:
    """Root, buffer of ``bits``, unit."""
    port = {"any": {"does": ["read", "write"], "bits_per_cycle": rate}}
    fast = {"any": {"does": ["read", "write"], "bits_per_cycle": "unbounded"}}
    every: dict[str, Any] = {"line_bits": 8, "may_hold": ["all"]}
    operation = {"operators": ["any"], "inputs": ["int8", "int8"], "output": "int8"}
    nodes: dict[str, Any] = {
        "root": {
            **every,
            "kind": "memory",
            "size_bytes": "unbounded",
            "must_hold": ["input", "weight", "output"],
            "ports": port,
            "energy_pj": {"read": read, "write": 9.0},
        },
        "buffer": {
            **every,
            "kind": "memory",
            "under": "root",
            "size_bits": bits,
            "ports": fast,
            "energy_pj": {"read": 1.0, "write": 1.5},
        },
        "u": {"kind": "compute", "under": "buffer", "executes": [operation], "energy_pj": 0.5},
    }
    return resolve({"version": 1, "name": "tiny", "clock_mhz": 100, "nodes": nodes}, "tiny.yaml")


def _divisors(size: int) -> list[int]:
    return [d for d in range(1, size + 1) if size % d == 0]


def _nests(
    work: mp.Work, left: dict[str, int], free: Sequence[str], every: bool
) -> Iterator[mp.Nest]:
    """All loops and buffer holds of ``free`` tensors below what leaves ``left``."""
    sets = chain.from_iterable(combinations(free, n) for n in range(len(free) + 1))
    for order in (o for s in sets for o in permutations(s)):
        rows = []
        for size in left.values():
            below: list[tuple[int, ...]] = [()]
            for _ in order:
                below = [
                    (*b, t)
                    for b in below
                    for t in range(1, (b[-1] if b else size) + 1)
                    if every or (b[-1] if b else size) % t == 0
                ]
            rows.append(below)
        for tiles in product(*rows):
            nodes: list[mp.Node] = []
            now = dict(left)
            for at, tensor in enumerate(order):
                for v, row in zip(left, tiles, strict=True):
                    if row[at] < now[v]:
                        now[v] = row[at]
                        nodes.append(mp.Loop.of(v, row[at]))
                nodes.append(mp.Hold("buffer", (tensor,)))
            nodes += [mp.Loop.of(v, 1) for v, n in now.items() if n > 1]
            yield (*nodes, mp.Compute(work.name, "u"))


class Brute:
    """The least of all partitions, for one objective."""

    def __init__(
        self, work: mp.Workload, bits: int, rate: int | str, read: float, objective: str
    ) -> None:
        self.workload, self.bits, self.rate, self.read = work, bits, rate, read
        self.objective = objective

    def least(self) -> float:
        works = self.workload.works
        made = {w.output.tensor: i for i, w in enumerate(works) if w.output.intermediate}
        last = {
            t: max(i for i, w in enumerate(works) for o in w.inputs if o.tensor == t) for t in made
        }
        best = float("inf")
        cuts = range(1, len(works))
        for inner in chain.from_iterable(combinations(cuts, n) for n in range(len(works))):
            edges = [0, *inner, len(works)]
            crossing = [t for t in made if any(made[t] < c <= last[t] for c in inner)]
            for whole in chain.from_iterable(
                combinations(crossing, n) for n in range(len(made) + 1)
            ):
                total = 0.0
                for a, b in pairwise(edges):
                    alive = [t for t in whole if made[t] < b and last[t] >= a]
                    total += self._group(a, b, alive, made, last)
                best = min(best, total)
        return best

    def _group(
        self, start: int, end: int, alive: list[str], made: dict[str, int], last: dict[str, int]
    ) -> float:
        works = self.workload.works[start:end]
        tensors = {o.tensor for w in works for o in w.operands}
        outputs = {w.output.tensor for w in works}
        read = {o.tensor for w in works for o in w.inputs}
        tiled = [] if len(works) == 1 else [t for t in sorted(outputs & read) if t not in alive]
        if len(works) > 1 and any(not set(tiled) & set(w.tensors) for w in works):
            return float("inf")
        size = {
            o.tensor: prod(w.sizes[v] for v in o.variables) * 8
            for w in self.workload.works
            for o in w.operands
        }
        arch = machine(
            max(1, self.bits - sum(size[t] for t in alive if t not in tensors)),
            self.rate,
            self.read,
        )
        whole = [t for t in alive if t in tensors]
        outside = [
            t for t in sorted(tensors) if t not in whole and (t not in tiled or last[t] >= end)
        ]
        once = [t for t in sorted(tensors - outputs) if sum(t in w.tensors for w in works) == 1]
        loops = set.intersection(*(set(w.sizes) for w in works)) if len(works) > 1 else set()
        best = float("inf")
        for tiles in product(*(_divisors(works[0].sizes[v]) for v in sorted(loops))):
            cut = dict(zip(sorted(loops), tiles, strict=True))
            walked = {v for v, t in cut.items() if t < works[0].sizes[v]}
            keepable = [t for t in once if t not in whole and walked] if len(works) > 1 else []
            for kept in chain.from_iterable(combinations(keepable, n) for n in range(3)):
                best = min(best, self._parts(works, arch, outside, whole, kept, cut, tiled))
        return best

    def _parts(
        self,
        works: Sequence[mp.Work],
        arch: Architecture,
        outside: Sequence[str],
        whole: Sequence[str],
        kept: Sequence[str],
        cut: dict[str, int],
        tiled: Sequence[str],
    ) -> float:
        top: list[mp.Node] = [mp.Hold("root", tuple(outside))] if outside else []
        if whole or kept:
            top.append(mp.Hold("buffer", (*whole, *kept)))
        top += [mp.Loop.of(v, t) for v, t in cut.items() if t < works[0].sizes[v]]
        if tiled:
            top.append(mp.Hold("buffer", tuple(tiled)))
        options = []
        for work in works:
            left = {v: min(n, cut.get(v, n)) for v, n in work.sizes.items()}
            free = [t for t in work.tensors if t not in (*whole, *kept, *tiled)]
            options.append(list(_nests(work, left, free, every=len(works) == 1)))
        least = [option[0] for option in options]
        base = self._cost(works, arch, top, least)
        if base is None:
            return float("inf")
        total = base
        for i, option in enumerate(options):
            values = [
                self._cost(works, arch, top, [*least[:i], o, *least[i + 1 :]]) for o in option
            ]
            total += min(v for v in values if v is not None) - base
        return total

    def _cost(
        self,
        works: Sequence[mp.Work],
        arch: Architecture,
        top: list[mp.Node],
        parts: Sequence[mp.Nest],
    ) -> float | None:
        below: mp.Nest = parts[0] if len(parts) == 1 else (mp.Branches(tuple(parts)),)
        mapping = mp.Mapping((mp.Group("g", (*top, *below)),))
        try:
            found = cost(mapping, mp.Workload("tiny", tuple(works)), arch)
        except DataflowError:
            return None
        return float(found.cycles if self.objective == "latency" else found.energy_pj)
