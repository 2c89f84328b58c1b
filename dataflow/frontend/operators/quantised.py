"""The lowerings of all quantised operators."""

from __future__ import annotations

from dataflow.frontend.operators import integer_products, nbits, qdq, qlinear, qonnx

LOWERINGS = {
    **qdq.LOWERINGS,
    **integer_products.LOWERINGS,
    **nbits.LOWERINGS,
    **qlinear.LOWERINGS,
    **qonnx.LOWERINGS,
}
