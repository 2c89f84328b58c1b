"""ScatterElements, ScatterND, TensorScatter, Col2Im, MaxUnpool: data-dependent output indices.

The output starts from a base tensor; points that meet in one element are folded by the reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from dataflow.frontend.codes.windows import Window
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.lowering import Lowering, Operand, Place, axis_of
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.indexing import apart, arrange, indices, wrapped
from dataflow.frontend.operators.pad import padded_end
from dataflow.frontend.views import reshaped
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import S64
from dataflow.ir.expr import Access, Expr, call, index

FOLDS = {"none": "last", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _fold(node: Node) -> str:
    name = str(node.get("reduction", "none"))
    if name not in FOLDS:
        raise UnsupportedError(f"its reduction is {name!r}", f"use one of {', '.join(FOLDS)}")
    return FOLDS[name]


def base_of(low: Lowering, x: Operand) -> str:
    """The tensor that holds exactly the operand; a copy where it is a view of another."""
    expr = x.value.expr
    if isinstance(expr, Access) and not expr.indirect:
        found = low.builder.tensors[expr.tensor]
        plain = tuple(i.variable for i in expr.indices)
        if found.shape == x.shape and plain == tuple(f"${k}" for k in range(len(x.shape))):
            return found.name
    names = low.variables(x)
    copy = low.let("base", names, x.at(*names), dtype=x.dtype)
    assert isinstance(copy.value.expr, Access)
    return copy.value.expr.tensor


def scattered(
    low: Lowering,
    base: Operand,
    places: Sequence[Place],
    expr: Expr,
    op: str,
    over: Sequence[str],
    suffix: str = "",
) -> Operand:
    """``Y[places] = expr :: op(over) from base``."""
    start = base_of(low, base)
    tensor = low.builder.tensors[start]
    label = low.node.outputs[0] or low.node.name
    name = low.builder.tensor(
        f"{label}_{suffix}" if suffix else label, list(tensor.ranks), tensor.dtype
    )
    low.write(name, places, expr, Reduction(op, tuple(over), base=start))
    return low.read(name)


def scatter_elements(ctx: Context, node: Node) -> None:
    """ScatterElements (Scatter): Y[I[i, j], j] = U[i, j] for axis 0, from X."""
    low = Lowering(ctx, node)
    x, updates = low.operand(0), low.operand(2)
    axis = axis_of(node, len(x.shape))
    which = indices(low, 1, x.shape[axis])
    if which.shape != updates.shape or len(which.shape) != len(x.shape):
        raise UnsupportedError("indices and updates differ in shape", "repair the model")
    if 0 in which.shape:
        low.result(x)
        return
    names = low.variables(which.operand)
    places: list[Place] = list(names)
    places[axis] = which.at(*names)
    op = _fold(node)
    low.result(scattered(low, x, places, updates.at(*names), op, [names[axis]]))


def scatter_nd(ctx: Context, node: Node) -> None:
    """ScatterND: Y[I[i.., 0], I[i.., 1], .., d..] = U[i.., d..], from X."""
    low = Lowering(ctx, node)
    x, which, updates = low.operand(0), low.operand(1), low.operand(2)
    depth = which.shape[-1] if which.shape else 0
    if not which.shape or not which.dtype.is_int or depth > len(x.shape):
        raise UnsupportedError(f"its indices are {which.dtype} of {depth}", "repair the model")
    if updates.shape != (*which.shape[:-1], *x.shape[depth:]):
        raise UnsupportedError("indices and updates differ in shape", "repair the model")
    if 0 in updates.shape:
        low.result(x)
        return
    own = low.variables(which)[:-1]
    out = apart(low, [*own, *low.variables(x)[depth:]], updates.shape)
    lead, rest = out[: len(own)], out[len(own) :]
    picked: list[Place] = [
        wrapped(which.at(*lead, k), which.dtype, x.shape[k]) for k in range(depth)
    ]
    expr = updates.at(*out)
    low.result(scattered(low, x, [*picked, *rest], expr, _fold(node), lead))


def tensor_scatter(ctx: Context, node: Node) -> None:
    """TensorScatter: Y[b, .., w[b] + s, ..] = U[b, .., s, ..], from the past cache."""
    low = Lowering(ctx, node)
    x, updates, start = low.operand(0), low.operand(1), low.optional(2)
    axis = axis_of(node, len(x.shape), -2)
    size = x.shape[axis]
    expected = (*x.shape[:axis], *x.shape[axis + 1 :])
    given = (*updates.shape[:axis], *updates.shape[axis + 1 :])
    fits = given == expected and updates.shape[axis] <= size
    if start is not None:
        fits = fits and start.shape == x.shape[:1] and start.dtype.is_int
    if not axis or not fits:
        raise UnsupportedError(
            f"an update {list(updates.shape)} of {list(x.shape)}", "repair the model"
        )
    names = low.variables(updates)
    at: Expr = index(names[axis])
    if start is not None:
        at = call("add", call("s64", start.at(names[0])), at)
    if str(node.get("mode", "linear")) == "circular":
        at = wrapped(at, S64, size)
    places: list[Place] = list(names)
    places[axis] = at
    low.result(scattered(low, x, places, updates.at(*names), "last", [names[axis]]))


def col2im(ctx: Context, node: Node) -> None:
    """Col2Im: Y[n, c, l*stride + k*dilation - pad] = X[n, (c, k), l] :: add(k, l)."""
    low = Lowering(ctx, node)
    x = low.operand(0)
    image = [int(s) for s in low.required(1, "image shape").reshape(-1)]
    block = [int(s) for s in low.required(2, "block shape").reshape(-1)]
    rank = len(image)
    strides = [int(s) for s in node.get("strides", [1] * rank)]
    dilations = [int(s) for s in node.get("dilations", [1] * rank)]
    pads = [int(s) for s in node.get("pads", [0] * 2 * rank)]
    if len(x.shape) != 3 or min(*image, *block, *strides, *dilations) < 1:
        raise UnsupportedError("its geometry is out of range", "repair the model")
    taps = []
    for k in range(rank):
        reach = (block[k] - 1) * dilations[k] + 1
        out = (image[k] + pads[k] + pads[k + rank] - reach) // strides[k] + 1
        taps.append(
            Window(image[k], block[k], strides[k], dilations[k], pads[k], pads[k + rank], out)
        )
    channels, rest = divmod(x.shape[1], prod(block))
    outs = [t.out for t in taps]
    if rest or min(outs) < 1 or prod(outs) != x.shape[2]:
        raise UnsupportedError(f"columns {list(x.shape)} do not fit the blocks", "repair the model")
    view = reshaped(ctx, node, x.value, (x.shape[0], channels, *block, *outs))
    columns = low.of(view, node.input(0))
    names = low.variables(columns)
    kernel, moves = names[2 : 2 + rank], names[2 + rank :]
    places: list[Place] = [*names[:2]]
    places += [index(t.index(p, r)) for t, p, r in zip(taps, moves, kernel, strict=True)]
    ranks = [n.upper() for n in names[:2]]
    ranks += [low.builder.rank(f, s) for f, s in zip("HWDEF" * rank, image, strict=False)]
    tensor = low.builder.tensor(node.outputs[0], ranks, x.dtype)
    reduction = Reduction("add", (*kernel, *moves))
    low.write(tensor, places, columns.at(*names), reduction)
    low.result(low.read(tensor))


def max_unpool(ctx: Context, node: Node) -> None:
    """MaxUnpool: Y[I[i]] = X[i] in a flat tensor of zeros; reshaped, padded at the end."""
    low = Lowering(ctx, node)
    x, which = low.operand(0), low.operand(1)
    kernel = [int(k) for k in node.get("kernel_shape", ())]
    rank = len(x.shape) - 2
    strides = [int(s) for s in node.get("strides", [1] * rank)]
    pads = [int(p) for p in node.get("pads", [0] * 2 * rank)]
    if len(kernel) != rank or which.shape != x.shape or len(strides) != rank:
        raise UnsupportedError("its geometry is out of range", "repair the model")
    space = [
        (x.shape[2 + k] - 1) * strides[k] - pads[k] - pads[rank + k] + kernel[k]
        for k in range(rank)
    ]
    shape = (*x.shape[:2], *space)
    wanted = low.constant(2, "the output shape")
    target = shape if wanted is None else tuple(int(s) for s in wanted.reshape(-1))
    if len(target) != len(shape) or any(t < s for s, t in zip(shape, target, strict=True)):
        raise UnsupportedError(f"{list(shape)} does not fit {list(target)}", "repair the model")
    names = low.variables(x)
    line = low.builder.rank("N", prod(shape))
    tensor = low.builder.tensor(f"{node.outputs[0]}_flat", [line], x.dtype)
    low.write(tensor, [which.at(*names)], x.at(*names), Reduction("last", tuple(names)))
    image = reshaped(ctx, node, low.read(tensor).value, shape)
    maps = {
        d: padded_end(s, t) for d, (s, t) in enumerate(zip(shape, target, strict=True)) if s < t
    }
    low.view(arrange(low, image, node.outputs[0], maps, literal(0, x.dtype)))


LOWERINGS = {
    ("", "Scatter"): scatter_elements,
    ("", "ScatterElements"): scatter_elements,
    ("", "ScatterND"): scatter_nd,
    ("", "TensorScatter"): tensor_scatter,
    ("", "Col2Im"): col2im,
    ("", "MaxUnpool"): max_unpool,
}
