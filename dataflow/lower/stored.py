"""What a layer reads and writes must stand in memory as 8-bit codes; where it cannot, why."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.lower.context import Context
from dataflow.lower.groups import Group, is_code
from dataflow.lower.refusal import CannotFuse

INSIDE = {
    "BatchNormalization": "fold it into the product before or behind it (export in eval mode)",
    "InstanceNormalization": "use batch normalisation, which folds into a product",
    "LayerNormalization": "run it on the host, or use batch normalisation",
    "GroupNormalization": "use batch normalisation, which can be folded",
    "Softmax": "leave it to the end of the model, behind the last dequantiser",
    "LogSoftmax": "leave it to the end of the model, on the host",
    "Resize": "use nearest neighbours, or integer factors",
}
"""Fixes for operators that take several steps in float."""


def require_stored(ctx: Context, group: Group, legal: Cascade) -> None:
    """Raises CannotFuse for the result, else for the first operand, that is no tensor of codes.

    ``legal`` is the whole network, for the readers and makers that the message names.
    """
    if not is_code(ctx.cascade, group.output.tensor):
        raise _result(ctx.cascade.tensors[group.output.tensor], legal)
    for access in group.reads:
        if access.tensor not in ctx.storage and access.tensor not in ctx.cascade.constants:
            raise not_stored(ctx.cascade.tensors[access.tensor], legal)


def _result(tensor: Tensor, legal: Cascade) -> CannotFuse:
    """Why a result cannot be stored."""
    what = f"its result {tensor.name} is {tensor.dtype}"
    if tensor.dtype.is_int:
        return _wide(tensor, what)
    if tensor.dtype.is_float and tensor.dtype.bits != 32:
        return CannotFuse(
            f"{what}; between codes the machine computes in float32",
            "export the model in float32 before it is quantised",
        )
    if not tensor.dtype.is_float:
        return CannotFuse(f"{what}, which no engine computes", "compute it on the host")
    readers = legal.readers.get(tensor.name, ())
    if tensor.name in legal.outputs or not readers:
        return CannotFuse(
            f"{what} and leaves the network without a quantiser",
            "quantise the output: QuantizeLinear behind it, and DequantizeLinear if floats are "
            "wanted",
        )
    maker = next(iter(legal.writers.get(tensor.name, ())), None)
    if maker is not None and all(_node(e) == _node(maker) for e in readers):
        return CannotFuse(
            f"works in several steps, and {tensor.name} between them is {tensor.dtype}, which "
            "cannot wait in memory",
            INSIDE.get(
                maker.operator,
                "replace it by operators that read and make 8-bit codes, each quantised",
            ),
        )
    return CannotFuse(
        f"{what}, which {_readers(readers)} cannot take over in registers",
        "put QuantizeLinear and DequantizeLinear between the two",
    )


def _wide(tensor: Tensor, what: str) -> CannotFuse:
    if tensor.dtype.bits <= 16:
        return CannotFuse(
            f"{what}; the memory holds 8-bit codes",
            "quantise this activation to int8 or uint8",
        )
    return CannotFuse(
        f"{what}, wider than the 8-bit codes that the memory holds",
        "requantise it to 8 bit where it is made",
    )


def not_stored(tensor: Tensor, legal: Cascade) -> CannotFuse:
    """Why an operand cannot be read."""
    maker = next(iter(legal.writers.get(tensor.name, ())), None)
    if maker is not None:
        return CannotFuse(
            f"{tensor.name} is {tensor.dtype}, and {_named(maker)} cannot deliver it",
            f"mend {_named(maker)} first",
            tensor.name,
        )
    if tensor.dtype.is_float:
        return CannotFuse(
            f"the input {tensor.label or tensor.name} is {tensor.dtype} and is not quantised",
            "begin the model with QuantizeLinear of this input, one scale for the whole tensor",
        )
    return CannotFuse(
        f"the input {tensor.label or tensor.name} is {tensor.dtype}; the machine reads 8-bit codes",
        "do on the host what uses this input, and give the model the result",
    )


def _node(einsum: Einsum) -> tuple[str, str]:
    return einsum.source or einsum.name, einsum.operator


def _named(einsum: Einsum) -> str:
    return f"{einsum.operator or 'Einsum'} {einsum.source or einsum.name!r}"


def _readers(einsums: Sequence[Einsum]) -> str:
    names = list(dict.fromkeys(_named(e) for e in einsums))
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
