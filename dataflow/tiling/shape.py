"""What a layer's cost depends on: its geometry without names; equal layers are costed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.evaluate.functions import Function
from dataflow.layers.axis import Window
from dataflow.layers.layer import Dim, Layer, MicroOp, View


@dataclass(frozen=True)
class OperandShape:
    """An operand that is tiled like the output, or a stationary activation.

    Attributes:
        b, p, q, n, k: whether the operand varies along that dim.
        channel_bytes: bytes of a point when all its channels are taken.
        row_contiguous: the points of a row follow each other without gaps in DRAM.
    """

    b: bool
    p: bool
    q: bool
    n: bool
    k: bool
    channel_bytes: int
    row_contiguous: bool


@dataclass(frozen=True)
class LayerShape:
    """Geometry, addressing and vector work of a layer; fields as in `Layer` unless stated.

    Attributes:
        source_y, source_x: rows and columns of the source tensor.
        source_channels: bytes of a source point (all groups).
        x_bytes, y_bytes: bytes from column to column and from row to row in DRAM.
        offset: of the view in its tensor, bytes.
        lines: operations that a point costs the vector unit, window repetitions included.
        depends: those among them that wait for the operation before.
        functions: those among them with a function of the function stage.
        param_lines: parameter lines of a column block (0 to 2).
        zero_lines: weight zero points differ between channels: a line before each pass.
        second: the second operand, or None.
        stationary_view: the array's stationary operand is an activation; then it is `second`.
        stationary_columns: its lines are columns of the array (it is transposed), not rows.
        output_contiguous: rows of the output follow each other without gaps within a row.
        q_unit: elements of the layer's q in one q of this shape (lanes of a flat layer).
    """

    kind: str
    batch: int
    groups: int
    p: int
    q: int
    n: int
    taps_r: int
    taps_s: int
    c: int
    stride_p: int
    stride_q: int
    dilation_r: int
    dilation_s: int
    pad_p: int
    pad_q: int
    source_y: int
    source_x: int
    source_channels: int
    x_bytes: int
    y_bytes: int
    offset: int
    source_b: bool
    lines: int
    depends: int
    functions: int
    param_lines: int
    zero_lines: bool
    second: OperandShape | None
    stationary_view: bool
    stationary_columns: bool
    output_contiguous: bool
    q_unit: int = 1

    def window(self, dim: Dim) -> Window:
        """How output rows (dim p) or columns (q) reach source rows or columns."""
        if dim == "p":
            return Window(self.taps_r, self.stride_p, self.dilation_r, self.pad_p)
        return Window(self.taps_s, self.stride_q, self.dilation_s, self.pad_q)

    @property
    def depthwise(self) -> bool:
        """One input and one output channel for each group."""
        return self.groups > 1 and self.c == 1 and self.n == 1


def shape_of(layer: Layer, lanes: int) -> LayerShape:
    """The LayerShape of `layer` on a machine with `lanes` vector lanes.

    A flat layer's q counts bytes; its shape's q counts rows of lanes.
    """
    if layer.flat:
        return _flat_shape(layer, lanes)
    window = layer.taps_r * layer.taps_s if layer.kind == "vector" else 1
    micro = layer.micro
    ops = (micro.init, micro.body, micro.final)
    repeats = (1, window, 1)
    stationary = layer.stationary
    has_view = stationary is not None and stationary.view is not None
    zero = stationary.zero if stationary is not None and not has_view else ()
    view = layer.source
    return LayerShape(
        kind=layer.kind,
        batch=layer.batch,
        groups=layer.groups,
        p=layer.p,
        q=layer.q,
        n=layer.n,
        taps_r=layer.taps_r,
        taps_s=layer.taps_s,
        c=layer.c if layer.kind == "array" else 1,
        stride_p=layer.stride_p,
        stride_q=layer.stride_q,
        dilation_r=layer.dilation_r,
        dilation_s=layer.dilation_s,
        pad_p=layer.pad_p,
        pad_q=layer.pad_q,
        source_y=view.shape[1],
        source_x=view.shape[2],
        source_channels=view.shape[3],
        x_bytes=view.x_bytes,
        y_bytes=view.y_bytes,
        offset=view.offset,
        source_b=view.shape[0] > 1 and view.b_bytes != 0,
        lines=sum(len(part) * times for part, times in zip(ops, repeats, strict=True)),
        depends=sum(
            sum(op.depends for op in part) * times for part, times in zip(ops, repeats, strict=True)
        ),
        functions=sum(_functions(part) * times for part, times in zip(ops, repeats, strict=True)),
        param_lines=len(layer.params),
        zero_lines=len(set(zero)) > 1,
        second=_second(layer),
        stationary_view=has_view,
        stationary_columns=stationary is not None and stationary.transposed,
        output_contiguous=layer.output.x_bytes == layer.output.shape[3],
    )


def _functions(ops: Sequence[MicroOp]) -> int:
    return sum(op.function != Function.IDENTITY for op in ops)


def _flat_shape(layer: Layer, lanes: int) -> LayerShape:
    rows = -(-layer.q // lanes)
    ops = (*layer.micro.init, *layer.micro.body, *layer.micro.final)
    second = None
    if layer.second is not None:
        whole = not layer.second.splat and layer.second.x_bytes != 0
        second = OperandShape(
            b=False,
            p=False,
            q=whole,
            n=whole,
            k=False,
            channel_bytes=lanes if whole else 1,
            row_contiguous=True,
        )
    return LayerShape(
        kind="vector",
        batch=1,
        groups=1,
        p=1,
        q=rows,
        n=lanes,
        taps_r=1,
        taps_s=1,
        c=1,
        stride_p=1,
        stride_q=1,
        dilation_r=1,
        dilation_s=1,
        pad_p=0,
        pad_q=0,
        source_y=1,
        source_x=rows,
        source_channels=lanes,
        x_bytes=lanes,
        y_bytes=layer.q,
        offset=layer.source.offset,
        source_b=False,
        lines=len(ops),
        depends=sum(op.depends for op in ops),
        functions=_functions(ops),
        param_lines=0,
        zero_lines=False,
        second=second,
        stationary_view=False,
        stationary_columns=False,
        output_contiguous=True,
        q_unit=lanes,
    )


def _second(layer: Layer) -> OperandShape | None:
    stationary = layer.stationary
    if stationary is not None and stationary.view is not None:
        view = stationary.view
        return OperandShape(
            b=view.shape[0] > 1 and view.b_bytes != 0,
            p=False,
            q=False,
            n=True,
            k=True,
            channel_bytes=layer.n if not stationary.transposed else layer.c,
            row_contiguous=True,
        )
    if layer.second is None:
        return None
    view = layer.second
    size = _words(layer) if layer.second_words else 1 if view.splat else view.shape[3]
    return OperandShape(
        b=view.shape[0] > 1 and view.b_bytes != 0,
        p=view.shape[1] > 1 and view.y_bytes != 0,
        q=view.shape[2] > 1 and view.x_bytes != 0,
        n=not (layer.second_words or view.splat or view.shape[3] == 1),
        k=False,
        channel_bytes=size,
        row_contiguous=view.x_bytes == size,
    )


def _words(layer: Layer) -> int:
    """Bytes of a point's words: its uses stand `second_use` bytes apart, 4 bytes each."""
    view: View | None = layer.second
    assert view is not None, "asked for the words of a layer without a second operand"
    return max(4, view.x_bytes)
