"""Imported Cascade to legal Cascade: one whose meaning is fixed to the bit.

A Cascade is legal when each float reduction has an order and each operator is one that the
machine computes exactly as ``evaluate`` does. Fused multiply-add stands only where it is written;
subnormal numbers are honoured. For QOperator models each step is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Call, walk
from dataflow.ir.ops import OPS
from dataflow.ir.verify import verify
from dataflow.rewrite.accumulators import merge_parameters
from dataflow.rewrite.code_arithmetic import break_ties, cheapen_codes
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.fold_constants import fold_parameters
from dataflow.rewrite.integer_sums import integer_sums, integer_sums_near_ties
from dataflow.rewrite.order import order_reductions
from dataflow.rewrite.tabulate import tabulate


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        name: of the step.
        exact: whether the results are the same to the bit.
        changed: names of the Einsums that it changed or removed.
    """

    name: str
    exact: bool
    changed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Legalised:
    """A legal Cascade, the Cascades on the way, and what each step did."""

    cascade: Cascade
    steps: tuple[Step, ...]
    stages: tuple[Cascade, ...]

    @property
    def exact(self) -> bool:
        """Whether the legal Cascade equals the imported one to the bit."""
        return all(step.exact for step in self.steps)


def legalise(
    cascade: Cascade,
    *,
    dead_code: bool = True,
    reduction_order: str | None = "sequential",
    near_ties: bool = True,
) -> Cascade:
    """The legal form of a Cascade. Flags as in ``legalise_report``."""
    report = legalise_report(
        cascade, dead_code=dead_code, reduction_order=reduction_order, near_ties=near_ties
    )
    return report.cascade


def legalise_report(
    cascade: Cascade,
    *,
    dead_code: bool = True,
    reduction_order: str | None = "sequential",
    near_ties: bool = True,
) -> Legalised:
    """The legal form of a Cascade and what was done.

    Args:
        cascade: an imported or written Cascade.
        dead_code: remove what no output depends on (exact).
        reduction_order: order for float reductions that have none, ``sequential`` or ``tree(n)``;
            None leaves them, and the result may not be legal.
        near_ties: round to even where a function of codes comes so near to a tie that only the
            roundings of its written steps decide (one code, see `break_ties`).
    """
    passes: list[tuple[str, Callable[[Cascade], Cascade], bool]] = []
    if dead_code:
        passes.append(("dead-code", remove_dead, True))
    passes.append(("parameter-folding", fold_parameters, True))
    passes.append(("tabulate", tabulate, True))
    passes.append(("integer-sums", integer_sums, True))
    passes.append(("code-arithmetic", cheapen_codes, True))
    if near_ties:
        passes.append(("integer-sums-near-ties", integer_sums_near_ties, False))
        passes.append(("near-ties", break_ties, False))
        passes.append(("merge-parameters", merge_parameters, False))
    if reduction_order is not None:
        order = reduction_order
        passes.append(("reduction-order", lambda c: order_reductions(c, order), False))
    steps, stages = [], []
    for name, run, exact in passes:
        result = run(cascade)
        changed = _changed(cascade, result)
        verify(result)
        steps.append(Step(name, exact or not changed, changed))
        stages.append(result)
        cascade = result
    return Legalised(cascade, tuple(steps), tuple(stages))


def _changed(before: Cascade, after: Cascade) -> tuple[str, ...]:
    now = {e.name: e for e in after.einsums}
    return tuple(e.name for e in before.einsums if now.get(e.name) != e)


def inexact_operators(einsum: Einsum) -> tuple[str, ...]:
    """Operators of an Einsum whose result no algorithm fixes to the bit (``exp``, ...)."""
    names = (e.op for e in walk(einsum.expr) if isinstance(e, Call))
    return tuple(sorted({n for n in names if n in OPS and not OPS[n].exact}))


def require_legal(cascade: Cascade) -> None:
    """Raises DataflowError at the first Einsum that is not legal."""
    for einsum in cascade.einsums:
        where = f"{einsum.operator or 'einsum'} {einsum.source or einsum.name!r}"
        inexact = inexact_operators(einsum)
        if inexact:
            raise DataflowError(
                where,
                f"uses {', '.join(inexact)} in float32, which has no exact algorithm",
                "quantise the model so that it becomes a table, or leave it at the end",
            )
        if order_reductions_needed(cascade, einsum):
            raise DataflowError(where, "sums floats in no stated order", "legalise the cascade")


def order_reductions_needed(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether an Einsum reduces floats in no stated order."""
    single = Cascade("", cascade.rank_sizes, cascade.tensors, (einsum,))
    return order_reductions(single).einsums[0] != einsum
