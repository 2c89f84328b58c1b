"""GridSample, AffineGrid, RoiAlign: gathers around computed coordinates, weighted and summed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand, Place
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import cast
from dataflow.frontend.operators.generate import bounded
from dataflow.frontend.operators.indexing import apart
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import F32, F64, S64, DType
from dataflow.ir.expr import Expr, call, index

MODES = {"bilinear": "linear", "bicubic": "cubic"}
"""Names of the modes until opset 19."""

KEYS = -0.75
"""Coefficient of the cubic kernel that GridSample fixes."""


# GridSample


def grid_sample(ctx: Context, node: Node) -> None:
    """GridSample: P = grid in elements, I = floor(P), W[.., t] by P - I, and
    Y[n, c, o..] = X[n, c, I[n, o.., 0] + t, ..] * W[n, o.., 0, t] * .. :: add(t..).

    Elements outside count nothing (zeros), or are those at the border or reflected by it.
    """
    low = Lowering(ctx, node)
    x, grid = low.operand(0), low.operand(1)
    rank = len(x.shape) - 2
    mode = str(node.get("mode", "linear"))
    mode = MODES.get(mode, mode)
    padding = str(node.get("padding_mode", "zeros"))
    known = mode in ("nearest", "linear", "cubic") and padding in ("zeros", "border", "reflection")
    fits = rank >= 1 and len(grid.shape) == rank + 2 and grid.shape[-1] == rank
    if not known or not fits or grid.shape[0] != x.shape[0] or 0 in x.shape:
        raise UnsupportedError(
            f"mode {mode}, padding {padding}, shapes {list(x.shape)} and {list(grid.shape)}",
            "repair the model",
        )
    kind = F64 if F64 in (x.dtype, grid.dtype) else F32
    names = low.variables(grid)
    points = names[:-1]
    aligned = bool(node.get("align_corners", 0))
    base, weights = [], []
    for k in range(rank):
        size = x.shape[2 + k]
        # The grid names the innermost dimension first.
        place = cast(grid.at(*points, rank - 1 - k), grid.dtype, kind)
        position = low.let(f"p{k}", points, _elements(place, size, aligned, kind))
        at = position.at(*points)
        if mode == "nearest":
            base.append(low.let(f"i{k}", points, call("s64", call("round", at)), dtype=S64))
            continue
        floor = low.let(f"f{k}", points, call("floor", at))
        base.append(low.let(f"i{k}", points, call("s64", floor.at(*points)), dtype=S64))
        part = low.let(f"r{k}", points, call("sub", at, floor.at(*points))).at(*points)
        filters = _linear(part, kind) if mode == "linear" else _cubic(part, kind)
        weights.append(_weights(low, f"w{k}", points, filters, kind))
    _sampled(low, x, points, base, weights, mode, padding, aligned)


def _elements(place: Expr, size: int, aligned: bool, kind: DType) -> Expr:
    """A coordinate in -1..1 in units of elements."""
    shifted = call("add", place, literal(1, kind))
    if aligned:
        return call("mul", shifted, literal((size - 1) / 2, kind))
    scaled = call("mul", shifted, literal(size, kind))
    return call("mul", call("sub", scaled, literal(1, kind)), literal(0.5, kind))


def _linear(part: Expr, kind: DType) -> list[Expr]:
    return [call("sub", literal(1, kind), part), part]


def _cubic(part: Expr, kind: DType) -> list[Expr]:
    """Keys' kernel at distances 1 + r, r, 1 - r, 2 - r."""
    a = KEYS

    def near(d: Expr) -> Expr:
        inner = call("sub", call("mul", literal(a + 2, kind), d), literal(a + 3, kind))
        return call("add", call("mul", call("mul", inner, d), d), literal(1, kind))

    def far(d: Expr) -> Expr:
        inner = call("sub", call("mul", literal(a, kind), d), literal(5 * a, kind))
        inner = call("add", call("mul", inner, d), literal(8 * a, kind))
        return call("sub", call("mul", inner, d), literal(4 * a, kind))

    one, two = literal(1, kind), literal(2, kind)
    return [
        far(call("add", part, one)),
        near(part),
        near(call("sub", one, part)),
        far(call("sub", two, part)),
    ]


def _weights(
    low: Lowering, suffix: str, points: Sequence[str], filters: Sequence[Expr], kind: DType
) -> Operand:
    """One weight for each tap, in a tensor [points.., tap]."""
    tap = low.rank("T", len(filters))
    tensor = low.tensor(suffix, [*points, tap], kind)
    for k, expr in enumerate(filters):
        low.write(tensor, [*points, k], expr)
    return low.read(tensor)


def _sampled(
    low: Lowering,
    x: Operand,
    points: Sequence[str],
    base: Sequence[Operand],
    weights: Sequence[Operand],
    mode: str,
    padding: str,
    aligned: bool,
) -> None:
    """The sum over the taps of each dimension; the nearest element has one tap of weight 1."""
    rank = len(base)
    x = low.whole(x, range(2, 2 + rank))
    channel = apart(low, [*points, low.variables(x)[1]], [0] * len(points) + [x.shape[1]])[-1]
    count = {"nearest": 1, "linear": 2, "cubic": 4}[mode]
    taps = [low.rank("T", count) for _ in range(rank)]
    places: list[Place] = [points[0], channel]
    for k, (found, tap) in enumerate(zip(base, taps, strict=True)):
        size = x.shape[2 + k]
        offset = index(tap) if count < 4 else call("sub", index(tap), literal(1, S64))
        at: Expr = call("add", found.at(*points), offset)
        if padding == "border":
            at = call("clip", at, literal(0, S64), literal(size - 1, S64))
        elif padding == "reflection":
            at = _reflected_index(at, size, aligned)
        places.append(at)
    value = x.at(*places)
    kind = weights[0].dtype if weights else x.dtype
    value = cast(value, x.dtype, kind)
    for weight, tap in zip(weights, taps, strict=False):
        value = call("mul", value, weight.at(*points, tap))
    tensor = low.tensor("", [points[0], channel, *points[1:]], x.dtype)
    out = [points[0], channel, *points[1:]]
    low.write(tensor, out, value, Reduction("add", tuple(taps)))
    low.result(low.read(tensor))


def _reflected_index(at: Expr, size: int, aligned: bool) -> Expr:
    """An index reflected: at the border elements (aligned) or between them and the outside."""
    if size == 1:
        return literal(0, S64)
    if aligned:
        period = 2 * (size - 1)
        phase = call("mod", at, literal(period, S64))
        return call("min", phase, call("sub", literal(period, S64), phase))
    phase = call("mod", at, literal(2 * size, S64))
    return call("min", phase, call("sub", literal(2 * size - 1, S64), phase))


# AffineGrid


def affine_grid(ctx: Context, node: Node) -> None:
    """AffineGrid: Y[n, o.., k] = sum over j of T[n, k, j] * base[o.., j] + T[n, k, r], where the
    base grid is a vector for each dimension, innermost first."""
    low = Lowering(ctx, node)
    theta = low.operand(0)
    size = [int(s) for s in low.required(1, "size").reshape(-1)]
    rank = len(size) - 2
    if rank < 1 or theta.shape != (size[0], rank, rank + 1):
        raise UnsupportedError(f"theta {list(theta.shape)} for {size}", "repair the model")
    if not theta.dtype.is_float:
        raise UnsupportedError(f"theta is {theta.dtype}", "use floats")
    n, k, _ = low.variables(theta)
    points = [low.rank("DHW"[-rank:][d] if rank <= 3 else "D", s) for d, s in enumerate(size[2:])]
    aligned = bool(node.get("align_corners", 0))
    expr = theta.at(n, k, rank)
    for j in range(rank):
        dim = rank - 1 - j
        (extent,) = bounded((size[2 + dim],))
        steps = np.arange(extent)
        if aligned:
            line = np.linspace(-1, 1, extent) if extent > 1 else np.zeros(1)
        else:
            line = (2 * steps + 1) / extent - 1
        data = line.astype(theta.dtype.numpy)
        name = low.builder.weight(f"{node.outputs[0]}_line{dim}", data, [points[dim].upper()])
        term = call("mul", theta.at(n, k, j), low.read(name).at(points[dim]))
        expr = call("add", expr, term)
    low.result(low.let("", [n, *points, k], expr, dtype=theta.dtype))


# RoiAlign


def roi_align(ctx: Context, node: Node) -> None:
    """RoiAlign with a stated number of samples: for each region r, bin p and sample i a row
    coordinate, likewise for columns; Y[r, c, p, q] = sum over samples and taps of
    X[b[r], c, I[r, p, i, t], J[r, q, j, u]] * V[r, p, i, t] * W[r, q, j, u] / samples."""
    low = Lowering(ctx, node)
    x, rois, which = low.operand(0), low.operand(1), low.operand(2)
    mode = str(node.get("mode", "avg"))
    ratio = int(node.get("sampling_ratio", 0))
    if ratio < 1:
        raise UnsupportedError(
            "its number of samples depends on the regions", "give a positive sampling_ratio"
        )
    if (
        len(x.shape) != 4
        or len(which.shape) != 1
        or rois.shape != (*which.shape, 4)
        or mode not in ("avg", "max")
    ):
        raise UnsupportedError(f"mode {mode}, regions {list(rois.shape)}", "repair the model")
    if not x.dtype.is_float or x.dtype != rois.dtype:
        raise UnsupportedError(f"its inputs are {x.dtype} and {rois.dtype}", "use floats")
    names = [low.variables(rois)[0]]
    default = "half_pixel" if ctx.graph.opset >= 16 else "output_half_pixel"
    half = str(node.get("coordinate_transformation_mode", default)) == "half_pixel"
    rows = _bins(low, rois, names[0], 1, int(node.get("output_height", 1)), x.shape[2], ratio, half)
    columns = _bins(
        low, rois, names[0], 0, int(node.get("output_width", 1)), x.shape[3], ratio, half
    )
    channel = apart(low, [*names, low.variables(x)[1]], [0, x.shape[1]])[-1]
    (p, i, t, place_y, weight_y), (q, j, u, place_x, weight_x) = rows, columns
    image = which.at(names[0])
    value = x.at(image, channel, place_y, place_x)
    term = call("mul", value, call("mul", weight_y, weight_x))
    out = [names[0], channel, p, q]
    if mode == "max":
        # The maximum is over the weighted elements, not over the interpolated samples.
        low.result(low.let("", out, term, ("max", [i, j, t, u]), dtype=x.dtype))
        return
    total = low.let("total", out, term, ("add", [i, j, t, u]))
    mean = call("div", total.at(*out), literal(ratio * ratio, x.dtype))
    low.result(low.let("", out, mean, dtype=x.dtype))


def _bins(
    low: Lowering, rois: Operand, r: str, first: int, out: int, size: int, ratio: int, half: bool
) -> tuple[str, str, str, Expr, Expr]:
    """One dimension: variables of bin, sample and tap, the index and the weight of a tap."""
    kind = rois.dtype
    label = "xy"[first]
    (out,) = bounded((max(1, out),))
    scale = literal(float(low.node.get("spatial_scale", 1.0)), kind)
    shift = literal(0.5 if half else 0.0, kind)
    start: Expr = call("sub", call("mul", rois.at(r, first), scale), shift)
    end = call("sub", call("mul", rois.at(r, first + 2), scale), shift)
    start = low.let(f"{label}_start", [r], start).at(r)
    length = call("sub", end, start)
    if not half:
        length = call("max", length, literal(1, kind))
    step = low.let(f"{label}_bin", [r], call("div", length, literal(out, kind))).at(r)
    p, i, t = low.rank("P", out), low.rank("I", ratio), low.rank("T", 2)
    sample = call("add", cast(index(i), S64, kind), literal(0.5, kind))
    inner = call("div", call("mul", sample, step), literal(ratio, kind))
    at = call("add", call("add", start, call("mul", cast(index(p), S64, kind), step)), inner)
    position = low.let(f"{label}_at", [r, p, i], at).at(r, p, i)
    beyond = call(
        "or",
        call("less", position, literal(-1, kind)),
        call("less", literal(size, kind), position),
    )
    inside: Expr = call("clip", position, literal(0, kind), literal(size - 1, kind))
    inside = low.let(f"{label}_in", [r, p, i], inside).at(r, p, i)
    base = low.let(f"{label}_low", [r, p, i], call("floor", inside))
    part = call("sub", inside, base.at(r, p, i))
    weights = low.tensor(f"{label}_weight", [r, p, i, t], kind)
    for k, expr in enumerate(_linear(part, kind)):
        low.write(weights, [r, p, i, k], call("where", beyond, literal(0, kind), expr))
    place = call("add", call("s64", base.at(r, p, i)), index(t))
    place = call("min", place, literal(size - 1, S64))
    return p, i, t, place, low.read(weights).at(r, p, i, t)


LOWERINGS = {
    ("", "GridSample"): grid_sample,
    ("", "AffineGrid"): affine_grid,
    ("", "RoiAlign"): roi_align,
}
