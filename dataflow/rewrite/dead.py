"""Dead code removal: Einsums and tensors that no output depends on. Exact."""

from __future__ import annotations

from dataclasses import replace

from dataflow.ir.cascade import Cascade


def remove_dead(cascade: Cascade) -> Cascade:
    """The cascade without Einsums whose results are never used. Inputs stay."""
    if cascade.iteration is not None:
        return cascade
    needed = set(cascade.outputs)
    kept = []
    for einsum in reversed(cascade.einsums):
        if einsum.output.tensor in needed:
            kept.append(einsum)
            needed.update(a.tensor for a in einsum.inputs)
    if len(kept) == len(cascade.einsums):
        return cascade
    outside = {n for n, t in cascade.tensors.items() if t.role in ("input", "host")}
    tensors = {n: t for n, t in cascade.tensors.items() if n in needed | outside}
    ranks = {r for t in tensors.values() for r in t.ranks}
    ranks |= {v.upper() for e in kept for v in e.variables}
    return replace(
        cascade,
        rank_sizes={r: s for r, s in cascade.rank_sizes.items() if r in ranks},
        tensors=tensors,
        einsums=tuple(reversed(kept)),
        constants={n: d for n, d in cascade.constants.items() if n in tensors},
    )
