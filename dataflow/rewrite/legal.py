"""Imported Cascade to legal Cascade: one whose meaning is fixed to the bit.

A Cascade is legal when each float reduction has an order and each operator is one that the
machine computes exactly as ``evaluate`` does. Fused multiply-add stands only where it is written;
subnormal numbers are honoured. For QOperator models each step is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Call, walk
from dataflow.ir.ops import OPS
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.order import order_reductions
from dataflow.rewrite.passes import Pass, Stage, run_passes

DEAD_CODE = Pass(
    "dead-code",
    remove_dead,
    True,
    "first, so that no later pass works on, or refuses, what no output needs",
)


def reduction_order(order: str) -> Pass:
    """The pass that gives float reductions without an order this one."""
    return Pass(
        "reduction-order",
        lambda cascade: order_reductions(cascade, order),
        False,
        "fixes the rounding of float sums: from here on every pass keeps all bits",
    )


LEGALISE = (DEAD_CODE, reduction_order("sequential"))
"""What makes an imported Cascade legal."""


@dataclass(frozen=True, eq=False)
class Legalised:
    """A legal Cascade, and what each pass made on the way."""

    cascade: Cascade
    steps: tuple[Stage, ...]

    @property
    def exact(self) -> bool:
        """Whether the legal Cascade equals the imported one to the bit."""
        return all(step.exact for step in self.steps)


def legalise(
    cascade: Cascade, *, dead_code: bool = True, reduction_order: str | None = "sequential"
) -> Cascade:
    """The legal form of a Cascade. Flags as in ``legalise_report``."""
    report = legalise_report(cascade, dead_code=dead_code, reduction_order=reduction_order)
    return report.cascade


def legalise_report(
    cascade: Cascade, *, dead_code: bool = True, reduction_order: str | None = "sequential"
) -> Legalised:
    """The legal form of a Cascade and what was done.

    Args:
        cascade: an imported or written Cascade.
        dead_code: remove what no output depends on (exact).
        reduction_order: order for float reductions that have none, ``sequential`` or ``tree(n)``;
            None leaves them, and the result may not be legal.
    """
    stages = run_passes(cascade, _passes(dead_code, reduction_order))
    return Legalised(stages[-1].cascade if stages else cascade, stages)


def _passes(dead_code: bool, order: str | None) -> tuple[Pass, ...]:
    first = (DEAD_CODE,) if dead_code else ()
    return first if order is None else (*first, reduction_order(order))


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
