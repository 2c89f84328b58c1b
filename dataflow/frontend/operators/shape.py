"""Operators that read shapes only: their results are constants."""

from __future__ import annotations

from math import prod

import numpy as np

from dataflow.frontend.context import Context
from dataflow.frontend.lowering import Lowering
from dataflow.frontend.onnx.graph import Node


def shape(ctx: Context, node: Node) -> None:
    """Shape: the sizes of dimensions ``start`` to ``end``."""
    sizes = ctx.value(node, 0).shape
    rank = len(sizes)
    start, end = int(node.get("start", 0)), int(node.get("end", rank))
    data = np.array(sizes[slice(*(max(-rank, k) for k in (start, end)))], dtype=np.int64)
    Lowering(ctx, node).constant_result(data)


def size(ctx: Context, node: Node) -> None:
    """Size: the number of elements."""
    data = np.array(prod(ctx.value(node, 0).shape), dtype=np.int64)
    Lowering(ctx, node).constant_result(data)


LOWERINGS = {("", "Shape"): shape, ("", "Size"): size}
