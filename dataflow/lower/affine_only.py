"""What no engine of the machine executes: loops, data-dependent indices, selections."""

from __future__ import annotations

from dataclasses import replace

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Index, walk
from dataflow.ir.ops import SELECTORS
from dataflow.lower.refusal import CannotFuse


def affine_part(cascade: Cascade) -> Cascade:
    """The Cascade without the Einsums outside the affine subset; the same where there are none.

    What those make and others read becomes an input, so that all else can be judged too. The
    result stands for the network only when nothing was left out.
    """
    left_out = {e.output.tensor for e in cascade.einsums if obstacle(cascade, e) is not None}
    if not left_out:
        return cascade
    einsums = tuple(e for e in cascade.einsums if e.output.tensor not in left_out)
    read = {a.tensor for e in einsums for a in e.inputs}
    tensors = {
        n: replace(t, role="input") if n in left_out else t
        for n, t in cascade.tensors.items()
        if n not in left_out or n in read
    }
    host = tuple(op for op in cascade.host if op.input in tensors and op.input not in left_out)
    outputs = tuple(n for n in cascade.outputs if n not in left_out)
    ends = {op.output for op in host} | set(outputs) | set(cascade.inputs)
    return replace(
        cascade,
        einsums=einsums,
        tensors=tensors,
        host=host,
        iterations={},
        inputs=(*cascade.inputs, *(n for n in tensors if n in left_out)),
        outputs=outputs,
        graph_outputs=tuple(n for n in cascade.graph_outputs if n in ends),
    )


def obstacle(cascade: Cascade, einsum: Einsum) -> CannotFuse | None:
    """Why the machine cannot execute an Einsum, or None."""
    used = (einsum.output.tensor, *(a.tensor for a in einsum.inputs))
    empty = next((n for n in used if not cascade.tensors[n].elements), None)
    if empty is not None:
        return CannotFuse(f"{empty} has no elements", "drop the part of the model that is empty")
    if einsum.iterates:
        return CannotFuse(
            "is inside a loop over an iterative rank",
            "unroll the loop when exporting, or run this part of the network on the host",
        )
    if einsum.output.indirect:
        return CannotFuse("scatters to data-dependent elements", "export it with constant indices")
    parts = list(walk(einsum.expr))
    if any(isinstance(p, Access) and p.indirect for p in parts):
        return CannotFuse(
            "gathers data-dependent elements",
            "look the elements up on the host and give the model the result as its input",
        )
    for part in parts:
        table = isinstance(part, Access) and not part.indices and cascade.tensors[part.tensor].ranks
        if table and isinstance(part, Access) and part.tensor not in cascade.constants:
            return CannotFuse("looks up a table computed at run time", "make the table a constant")
    if any(isinstance(p, Index) for p in parts):
        return CannotFuse(
            "computes with the value of an index", "give the positions as a constant tensor"
        )
    reduction = einsum.reduction
    if reduction is not None and reduction.op in SELECTORS:
        return CannotFuse(
            f"selects with {reduction.op}", "end the model before it and select on the host"
        )
    if reduction is not None and reduction.base:
        return CannotFuse(
            f"reduces with {reduction.op} from a base", "add the base after the reduction"
        )
    return None
