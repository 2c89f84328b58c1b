"""Lowerings of the operators in general form: any element type and number of dimensions.

Each module lowers one family and lists its operators in ``LOWERINGS``. For the operators that the
integer forms of ``dataflow.frontend`` know too, these are tried second.
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.frontend.context import Context
from dataflow.frontend.graph import Node
from dataflow.frontend.operators import (
    activations,
    batch_norm,
    bits,
    casts,
    choice,
    control,
    conv,
    conv_transpose,
    deform_conv,
    dropout,
    einsum,
    elementwise,
    gather,
    generate,
    linear,
    losses,
    moves,
    normalise,
    pad,
    pooling,
    quantised,
    reductions,
    resize,
    sampling,
    scans,
    scatter,
    selections,
    shape,
    softmax,
    spectral,
)

Lower = Callable[[Context, Node], None]

GENERAL: dict[tuple[str, str], Lower] = {
    **activations.LOWERINGS,
    **batch_norm.LOWERINGS,
    **bits.LOWERINGS,
    **casts.LOWERINGS,
    **choice.LOWERINGS,
    **control.LOWERINGS,
    **conv.LOWERINGS,
    **conv_transpose.LOWERINGS,
    **deform_conv.LOWERINGS,
    **dropout.LOWERINGS,
    **einsum.LOWERINGS,
    **elementwise.LOWERINGS,
    **gather.LOWERINGS,
    **generate.LOWERINGS,
    **linear.LOWERINGS,
    **losses.LOWERINGS,
    **moves.LOWERINGS,
    **normalise.LOWERINGS,
    **pad.LOWERINGS,
    **pooling.LOWERINGS,
    **quantised.LOWERINGS,
    **reductions.LOWERINGS,
    **resize.LOWERINGS,
    **sampling.LOWERINGS,
    **scans.LOWERINGS,
    **scatter.LOWERINGS,
    **selections.LOWERINGS,
    **shape.LOWERINGS,
    **softmax.LOWERINGS,
    **spectral.LOWERINGS,
}
"""By (domain, operator); the default domain is empty."""
