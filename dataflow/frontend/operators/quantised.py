"""The lowerings of all quantised operators."""

from __future__ import annotations

from dataflow.frontend.operators import integer_products, qdq, qonnx

LOWERINGS = {**qdq.LOWERINGS, **integer_products.LOWERINGS, **qonnx.LOWERINGS}
