"""RotaryEmbedding: pairs of channels are rotated by an angle that grows with the position."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.heads import Heads
from dataflow.frontend.operators.ranks import Variables
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Index
from dataflow.ir.expr import Expr, call
from dataflow.ir.ops import CAST_TO


@dataclass(frozen=True)
class Angles:
    """The tables of cosines and sines.

    Attributes:
        cos, sin: over [position, pair], or [batch, position, pair] without ``ids``.
        ids: the position of each query over [batch, position], or [1]: that of the first one.
    """

    cos: Operand
    sin: Operand
    ids: Operand | None

    def at(self, table: Operand, b: str, t: str, pair: str) -> Expr:
        """The element of a table for a query."""
        if self.ids is None:
            return table.broadcast([b, t, pair])
        if len(self.ids.shape) == 1:
            return table.at(call("add", self.ids.at(0), Index(Affine.of(t))), pair)
        return table.at(self.ids.broadcast([b, t]), pair)


def rotated(
    low: Lowering, suffix: str, x: Heads, angles: Angles, width: int, interleaved: bool
) -> Operand:
    """The operand with the first ``width`` channels of each head rotated.

    With i = 0 the first and i = 1 the second of a pair j: Y[i] = cos[j] * X[i] + (2i - 1) *
    sin[j] * X[1 - i]; the pair's channels are i*W/2 + j, or 2j + i where interleaved.

    Returns:
        a tensor over [batch, position, head, channel] when the operand is flat, else over
        [batch, head, position, channel].
    """
    half = width // 2
    if width % 2 or not 0 < width <= x.width or angles.cos.shape[-1] != half:
        raise UnsupportedError(
            f"it rotates {width} of {x.width} channels by {angles.cos.shape[-1]} angles",
            "rotate twice as many channels as there are angles",
        )
    if angles.cos.shape != angles.sin.shape or len({x.dtype, angles.cos.dtype}) != 1:
        raise UnsupportedError("its tables differ in shape or type", "repair the model")
    own = Variables(low)
    b = own.take("B", x.operand.shape[0], x.place("B"))
    t = own.take("T", x.length, x.place("T"))
    h, n = low.rank("H", x.count), low.rank("E", x.width)
    name = low.tensor(suffix, [b, t, h, n] if x.flat else [b, h, t, n], x.dtype)
    i, j = low.rank("I", 2), low.rank("E", half)
    first = Affine.of((j, 2), i) if interleaved else Affine.of((i, half), j)
    other = Affine.of((j, 2), (i, -1), 1) if interleaved else Affine.of((i, -half), j, half)
    sign = call(CAST_TO[x.dtype], Index(Affine.of((i, 2), -1)))
    along = call("mul", angles.at(angles.cos, b, t, j), x.at(b, Affine.of(h), t, first))
    across = call("mul", angles.at(angles.sin, b, t, j), x.at(b, Affine.of(h), t, other))

    def place(channel: Affine) -> list[Place]:
        return [b, t, h, channel] if x.flat else [b, h, t, channel]

    low.write(name, place(first), call("add", along, call("mul", sign, across)))
    if width < x.width:
        kept = Affine.of(low.rank("E", x.width - width), width)
        low.write(name, place(kept), x.at(b, Affine.of(h), t, kept))
    return low.read(name)


def rotary_embedding(ctx: Context, node: Node) -> None:
    """RotaryEmbedding of opset 23 and of com.microsoft."""
    low = Lowering(ctx, node)
    foreign = bool(node.domain and node.domain != "ai.onnx")
    x = low.operand(0)
    ids = low.optional(1 if foreign else 3)
    cos, sin = (low.operand(k) for k in ((2, 3) if foreign else (1, 2)))
    width = int(node.get("rotary_embedding_dim", 0))
    count = int(node.get("num_heads", 0))
    if foreign and node.get("scale", 1.0) != 1.0:
        raise UnsupportedError("it scales its positions", "scale the tables")
    if len(x.shape) == 4:
        heads = Heads(x, x.shape[1], x.shape[2], x.shape[3])
    elif len(x.shape) == 3:
        size = 2 * cos.shape[-1]
        count = count or (x.shape[2] // size if foreign and not width and size else 0)
        if count < 1 or x.shape[2] % count:
            raise UnsupportedError(f"{x.shape[2]} channels in {count} heads", "repair it")
        heads = Heads(x, count, x.shape[1], x.shape[2] // count)
    else:
        raise UnsupportedError(f"its input has shape {list(x.shape)}", "use 3 or 4 dimensions")
    batch = x.shape[0]
    shapes = ((heads.length,), (1, heads.length), (batch, heads.length))
    if ids is None and cos.shape[:-1] not in shapes[1:]:
        raise UnsupportedError(f"its tables have shape {list(cos.shape)}", "give position_ids")
    if ids is not None and ((ids.shape != (1,) and ids.shape not in shapes) or len(cos.shape) != 2):
        raise UnsupportedError(f"position_ids has shape {list(ids.shape)}", "repair the model")
    if ids is not None and ids.shape == (heads.length,) and heads.length > 1:
        raise UnsupportedError("position_ids lacks the batch", "repair the model")
    interleaved = bool(node.get("interleaved", 0))
    result = rotated(low, "", heads, Angles(cos, sin, ids), width or heads.width, interleaved)
    value = result.value
    if heads.flat:
        value = replace(value, dims=(*value.dims[:2], (*value.dims[2], *value.dims[3])))
    low.view(value)


LOWERINGS = {
    ("", "RotaryEmbedding"): rotary_embedding,
    ("com.microsoft", "RotaryEmbedding"): rotary_embedding,
}
