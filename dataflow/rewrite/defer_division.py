"""Division deferral. Changes rounding.

A divisor that does not change with the reduced variables leaves the sum (FuseMax, arXiv
2406.10491, section 3)::

    A[m, p]  = SN[m, p] / SD[p]          SNV[f, p] = SN[m, p] * V[f, m]
    AV[f, p] = A[m, p] * V[f, m]    ->   AV[f, p]  = SNV[f, p] / SD[p]

Divisions drop from M*P to F*P, and the sum over m no longer waits for the divisor.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.ir.cascade import Access, Call, Cascade, Einsum, Expr, Reduction
from dataflow.ir.expr import variables
from dataflow.ir.verify import verify
from dataflow.rewrite.carried.draft import Draft
from dataflow.rewrite.carried.network import Network
from dataflow.rewrite.carried.terms import product
from dataflow.rewrite.dead import remove_dead


def defer_division(cascade: Cascade) -> Cascade:
    """The cascade with every divisor outside of the sums that it does not take part in."""
    network = Network(cascade)
    draft = Draft(cascade)
    einsums: list[Einsum] = []
    for number, einsum in enumerate(cascade.einsums):
        reduction = einsum.reduction
        if reduction is None or reduction.op != "add" or not network.folds(number):
            einsums.append(einsum)
            continue
        above, below = _factors(network, einsum.expr, reduction)
        out = [d for d in below if not _moves(d, reduction)]
        if not out or not above:
            einsums.append(einsum)
            continue
        inside = [d for d in below if _moves(d, reduction)]
        old = cascade.tensors[einsum.output.tensor]
        name = draft.name(f"{old.name}_sum")
        draft.tensors[name] = replace(old, name=name, label=name, role="intermediate", quant=None)
        draft.einsums.add(name)
        raw = Access(name, einsum.output.indices)
        summed = replace(einsum, name=name, output=raw, expr=product(above, tuple(inside)))
        einsums += [summed, replace(einsum, expr=product([raw], tuple(out)), reduction=None)]
    if len(einsums) == len(cascade.einsums):
        return cascade
    result = remove_dead(replace(cascade, tensors=draft.tensors, einsums=tuple(einsums)))
    verify(result)
    return result


def _moves(expr: Expr, reduction: Reduction) -> bool:
    """Whether an expression changes along the reduction."""
    return bool(set(variables(expr)) & set(reduction.variables))


def _factors(network: Network, expr: Expr, reduction: Reduction) -> tuple[list[Expr], list[Expr]]:
    """Factors above and below the line; a quotient stored before is opened when that frees one."""
    if isinstance(expr, Call) and expr.op in ("mul", "div"):
        left = _factors(network, expr.args[0], reduction)
        right = _factors(network, expr.args[1], reduction)
        right = right if expr.op == "mul" else right[::-1]
        return left[0] + right[0], left[1] + right[1]
    if isinstance(expr, Access):
        inner = network.inline(expr)
        if isinstance(inner, Call) and inner.op in ("mul", "div"):
            above, below = _factors(network, inner, reduction)
            if above and any(not _moves(d, reduction) for d in below):
                return above, below
    return [expr], []
