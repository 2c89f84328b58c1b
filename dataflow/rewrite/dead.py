"""Dead code removal: Einsums and tensors that no output depends on. Exact."""

from __future__ import annotations

from dataclasses import replace

from dataflow.ir.cascade import Cascade
from dataflow.ir.expr import variables


def remove_dead(cascade: Cascade) -> Cascade:
    """The cascade without Einsums whose results are never used. Inputs stay."""
    needed, before = set(cascade.outputs), -1
    # Once is enough without loops, whose bodies also read what they write further down.
    while len(needed) != before:
        before = len(needed)
        for einsum in reversed(cascade.einsums):
            if einsum.output.tensor in needed:
                needed.update(a.tensor for a in einsum.inputs)
    kept = [e for e in cascade.einsums if e.output.tensor in needed]
    if len(kept) == len(cascade.einsums):
        return cascade
    outside = {n for n, t in cascade.tensors.items() if t.role in ("input", "host")}
    tensors = {n: t for n, t in cascade.tensors.items() if n in needed | outside}
    ranks = {r for t in tensors.values() for r in t.ranks}
    ranks |= {v.upper() for e in kept for v in (*e.variables, *variables(e.expr), *e.iterates)}
    running = {v for e in kept for v in e.iterates}
    return replace(
        cascade,
        rank_sizes={r: s for r, s in cascade.rank_sizes.items() if r in ranks},
        tensors=tensors,
        einsums=tuple(kept),
        iterations={v: i for v, i in cascade.iterations.items() if v in running},
        constants={n: d for n, d in cascade.constants.items() if n in tensors},
    )
