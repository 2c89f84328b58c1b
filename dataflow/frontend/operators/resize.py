"""Resize and Upsample: index maps (nearest), or one banded contraction for each dimension."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from dataflow.frontend.codes.windows import MAX_OUT
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators import resample
from dataflow.frontend.operators.indexing import arrange
from dataflow.frontend.operators.moves import normalised
from dataflow.frontend.operators.resample import Axis, Band, Taps
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import F32, F64, DType
from dataflow.ir.expr import Expr, call
from dataflow.ir.ops import CAST_TO

Array = np.ndarray


def resize(ctx: Context, node: Node) -> None:
    """Resize. Y[.., o, ..] = X[.., i(o), ..] for the nearest element; else, dimension by
    dimension, Y[.., o, ..] = W[o, t] * X[.., i(o) + t, ..] :: add(t)."""
    low = Lowering(ctx, node)
    x = ctx.value(node, 0)
    axes = _axes(low, x.shape)
    mode = str(node.get("coordinate_transformation_mode", "half_pixel"))
    kind = str(node.get("mode", "nearest"))
    if kind not in ("nearest", "linear", "cubic"):
        raise UnsupportedError(f"its mode is {kind!r}", "use nearest, linear or cubic")
    outside = _outside(axes, x.shape) if mode == "tf_crop_and_resize" else {}
    if kind == "nearest" and not outside:
        rounding = str(node.get("nearest_mode", "round_prefer_floor"))
        maps = {d: resample.nearest(a, mode, rounding) for d, a in axes.items()}
        low.view(arrange(low, x, node.input(0), maps))
        return
    y = low.operand(0)
    dtype = y.dtype
    if kind == "nearest":
        rounding = str(node.get("nearest_mode", "round_prefer_floor"))
        maps = {d: resample.nearest(a, mode, rounding) for d, a in axes.items()}
        y = low.of(arrange(low, y.value, node.input(0), maps), node.input(0))
    else:
        found = {d: _taps(node, a, mode, kind, dtype) for d, a in axes.items()}
        # The dimensions that shrink come first: less work for the others.
        order = sorted(found, key=lambda d: (axes[d].out / axes[d].size, d))
        order = [d for d in order if not _identity(axes[d], found[d])]
        for position, dim in enumerate(order):
            last = position == len(order) - 1 and not outside
            y = _filtered(low, y, dim, axes[dim], found[dim], last)
    if outside:
        y = _extrapolated(low, y, outside)
    if y.dtype != dtype:
        names = low.variables(y)
        y = low.let("", names, call(CAST_TO[dtype], y.at(*names)), dtype=dtype)
    low.result(y)


def _axes(low: Lowering, shape: tuple[int, ...]) -> dict[int, Axis]:
    """The resized dimensions."""
    node, rank = low.node, len(shape)
    if low.ctx.graph.opset < 11 and node.op == "Upsample":
        given, sizes, roi = low.constant(1, "the scales"), None, None
    else:
        roi = low.constant(1, "the region of interest")
        given, sizes = low.constant(2, "the scales"), low.constant(3, "the sizes")
    named: Sequence[int] = node.get("axes", range(rank))
    dims = [normalised(int(a), rank) for a in named]
    crop = str(node.get("coordinate_transformation_mode", "")) == "tf_crop_and_resize"
    spans = [(0.0, 1.0)] * len(dims)
    if crop and roi is not None and roi.size == 2 * len(dims):
        spans = [(float(a), float(b)) for a, b in roi.reshape(2, -1).T]
    if given is not None and given.size:
        scales = [float(s) for s in given.reshape(-1)]
        if len(scales) != len(dims) or not all(np.isfinite(s) and s > 0 for s in scales):
            raise UnsupportedError(f"its scales are {scales}", "repair the model")
        outs = [
            int(np.floor(np.float32(shape[d] * (b - a if crop else 1.0)) * np.float32(s)))
            for d, s, (a, b) in zip(dims, scales, spans, strict=True)
        ]
    elif sizes is not None and sizes.size == len(dims):
        outs, scales = _fitted(node, [shape[d] for d in dims], [int(s) for s in sizes.reshape(-1)])
    else:
        raise UnsupportedError("it has neither scales nor sizes", "repair the model")
    if not all(1 <= o <= MAX_OUT for o in outs):
        raise UnsupportedError(f"its output has sizes {outs}", "repair the model")
    found = {}
    for dim, out, scale, (start, end) in zip(dims, outs, scales, spans, strict=True):
        if out != shape[dim] or scale != 1 or (start, end) != (0, 1):
            found[dim] = Axis(shape[dim], out, scale, start, end)
    return found


def _fitted(node: Node, old: list[int], wanted: list[int]) -> tuple[list[int], list[float]]:
    """Output sizes and scales for given sizes, by the policy for the aspect ratio."""
    policy = str(node.get("keep_aspect_ratio_policy", "stretch"))
    ratios = [w / max(o, 1) for w, o in zip(wanted, old, strict=True)]
    if policy == "stretch":
        return wanted, ratios
    if policy not in ("not_larger", "not_smaller"):
        raise UnsupportedError(f"its policy is {policy!r}", "use stretch")
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [int(np.floor(np.float32(scale) * np.float32(o) + np.float32(0.5))) for o in old], [
        scale
    ] * len(old)


def _taps(node: Node, axis: Axis, mode: str, kind: str, dtype: DType) -> Taps:
    cubic = float(node.get("cubic_coeff_a", -0.75)) if kind == "cubic" else None
    exclude = bool(node.get("exclude_outside", 0))
    antialias = bool(node.get("antialias", 0))
    real = np.float64 if dtype == F64 else np.float32
    return resample.taps(axis, mode, cubic=cubic, antialias=antialias, exclude=exclude, kind=real)


def _identity(axis: Axis, found: Taps) -> bool:
    """Whether each output is the input of the same coordinate."""
    if axis.out != axis.size:
        return False
    hit = found.places == np.arange(axis.size)[:, None]
    return bool((np.where(hit, found.weights, 0).sum(axis=1) == 1).all()) and not (
        found.weights[~hit].any()
    )


def _filtered(low: Lowering, x: Operand, dim: int, axis: Axis, found: Taps, last: bool) -> Operand:
    """One dimension filtered, in float32 (float64 for float64)."""
    kind = F64 if x.dtype == F64 else F32
    window = resample.band(axis, found)
    x = x if window is None else low.whole(x, [dim])
    names = low.variables(x)
    letter = names[dim][0].upper()
    out = list(names)
    read: list[Place] = list(names)
    write: list[Place]
    label = f"{low.node.outputs[0]}_{letter}"
    if window is None:
        out[dim] = low.rank(letter, axis.out)
        tap = low.rank("T", found.places.shape[1])
        ranks = [out[dim].upper(), tap.upper()]
        places = low.builder.weight(f"{label}_places", found.places, ranks)
        weights = low.builder.weight(f"{label}_weights", found.weights.astype(kind.numpy), ranks)
        at = (out[dim], tap)
        read[dim] = _read(low, places, at)
        factor, write = _read(low, weights, at), list(out)
    else:
        out[dim], tap = low.rank(letter, axis.out), low.rank("T", window.weights.shape[1])
        table = window.weights.astype(kind.numpy)
        weights = low.builder.weight(f"{label}_weights", table, [out[dim].upper(), tap.upper()])
        place = _moved(low, out[dim], letter, axis, window)
        read[dim] = place[1] + Affine.of(tap, window.first)
        factor, write = _read(low, weights, (place[0], tap)), list(out)
        write[dim] = place[0]
    value = x.at(*read)
    value = value if x.dtype == kind else call(CAST_TO[kind], value)
    tensor = low.tensor("" if last and x.dtype == kind else letter, out, kind)
    low.write(tensor, write, call("mul", value, factor), Reduction("add", (tap,)))
    return low.read(tensor)


def _moved(low: Lowering, out: str, letter: str, axis: Axis, window: Band) -> tuple[Affine, Affine]:
    """The output coordinate and the start of its window, over the digits of the radix."""
    if window.radix == 1:
        return Affine.of(out), Affine.of((out, window.slope))
    r = low.rank(letter, window.radix)
    if window.radix == axis.out:
        return Affine.of(r), Affine()
    q = low.rank(letter, axis.out // window.radix)
    return Affine.of((q, window.radix), r), Affine.of((q, window.slope))


def _read(low: Lowering, tensor: str, places: Sequence[Place]) -> Expr:
    return low.read(tensor).at(*places)


def _outside(axes: dict[int, Axis], shape: tuple[int, ...]) -> dict[int, Array]:
    """By dimension, the outputs that sample outside the tensor, where there are any."""
    found = {}
    for dim, axis in axes.items():
        x = resample.coordinates(axis, "tf_crop_and_resize")
        beyond = (x < 0) | (x > shape[dim] - 1)
        if beyond.any():
            found[dim] = beyond
    return found


def _extrapolated(low: Lowering, y: Operand, outside: dict[int, Array]) -> Operand:
    """The extrapolation value where any dimension samples outside."""
    names = low.variables(y)
    label = f"{low.node.outputs[0]}_outside"
    masks = [
        _read(low, low.builder.weight(label, mask, [names[d].upper()]), (names[d],))
        for d, mask in outside.items()
    ]
    beyond = reduce(lambda a, b: call("or", a, b), masks)
    value = float(np.float32(low.node.get("extrapolation_value", 0.0)))
    constant = literal(value if y.dtype.is_float else int(value), y.dtype)
    return low.let("", names, call("where", beyond, constant, y.at(*names)), dtype=y.dtype)


LOWERINGS = {("", "Resize"): resize, ("", "Upsample"): resize}
