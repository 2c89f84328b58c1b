"""Lowerings of the operators in general form: any element type and number of dimensions.

Each module lowers one family and lists its operators in ``LOWERINGS``. Modules of the same names in
``dataflow.frontend.codes`` lower quantised models to integer Einsums; where both know an operator,
the importer tries these second.
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.frontend.context import Context
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators import (
    activations,
    attention,
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
    flex_attention,
    gather,
    generate,
    grouped_attention,
    linear,
    linear_attention,
    losses,
    moves,
    normalise,
    packed_attention,
    pad,
    pooling,
    quantised,
    recurrent,
    reductions,
    resize,
    rotary,
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
    **attention.LOWERINGS,
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
    **flex_attention.LOWERINGS,
    **gather.LOWERINGS,
    **generate.LOWERINGS,
    **grouped_attention.LOWERINGS,
    **linear.LOWERINGS,
    **linear_attention.LOWERINGS,
    **losses.LOWERINGS,
    **moves.LOWERINGS,
    **normalise.LOWERINGS,
    **packed_attention.LOWERINGS,
    **pad.LOWERINGS,
    **pooling.LOWERINGS,
    **quantised.LOWERINGS,
    **recurrent.LOWERINGS,
    **reductions.LOWERINGS,
    **resize.LOWERINGS,
    **rotary.LOWERINGS,
    **sampling.LOWERINGS,
    **scans.LOWERINGS,
    **scatter.LOWERINGS,
    **selections.LOWERINGS,
    **shape.LOWERINGS,
    **softmax.LOWERINGS,
    **spectral.LOWERINGS,
}
"""By (domain, operator); the default domain is empty."""
